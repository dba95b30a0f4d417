"""Lets the user change the jobs of dead letters in an editor: `jq-run dlq retry --edit`."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from typing import TYPE_CHECKING

from jqcli.core.letter import text_of
from jqcli.edge.text import safe
from jqcli.errors import FileError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jqcli.core.letter import Letter

MOST = 1000  # letters that somebody may want to edit at once
_HEAD = """\
# The jobs of dead letters, each behind the line that says which it is. Change them, then save and leave the editor.
# A job that is taken out, or that is emptied, is left as before. A job is one line.
"""
_MARK = re.compile(rb"#(\d+) ")


def edit_letters(letters: Sequence[Letter]) -> dict[int, bytes]:
    """Show the jobs in `$VISUAL` or `$EDITOR`, and return the lines that came of them by the letters' spots.

    Raises UsageError where the editor fails, or where it leaves what cannot be read.
    """
    fd, path = tempfile.mkstemp(prefix="jq-run-", suffix=".jsonl")
    try:
        with open(fd, "wb") as file:
            file.write(_HEAD.encode())
            for number, letter in enumerate(letters, 1):
                verdict = letter.verdict
                said = safe(f"{letter.id} {verdict.reason} {verdict.type}: {verdict.message}")
                file.write(f"\n#{number} {said}\n".encode() + text_of(letter) + b"\n")
        _run_editor(path)
        with open(path, "rb") as file:
            lines = file.read().split(b"\n")
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error
    finally:
        os.unlink(path)
    return {letters[number].spot: line for number, line in _read_edited(lines, len(letters)).items()}


def _run_editor(path: str) -> None:
    words = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    try:
        code = subprocess.run([*words, path], check=False).returncode  # noqa: S603 - the user's own editor
    except OSError as error:
        raise UsageError(f"--edit: {words[0]}: {error.strerror}; set VISUAL or EDITOR") from None
    if code:
        raise UsageError(f"--edit: {words[0]} ended with {code}; nothing was retried")


def _read_edited(lines: Sequence[bytes], count: int) -> dict[int, bytes]:
    """Return the lines by the number of their letter, from 0."""
    found: dict[int, bytes] = {}
    current: int | None = None
    for line in lines:
        match = _MARK.match(line)
        if match:
            current = int(match[1]) - 1
            if current >= count:
                raise UsageError(f"--edit: there is no letter {current + 1}; nothing was retried")
        elif line.strip() and not line.startswith(b"#"):
            if current is None or current in found:
                raise UsageError("--edit: a job is one line, behind the line with its number; nothing was retried")
            found[current] = line.strip()
    return found
