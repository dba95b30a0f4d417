"""How a command ends: the one place that turns an exception into a message and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from typer import TyperException

from jqcli.edge.level import ERROR, INFO, add_level
from jqcli.edge.text import safe
from jqcli.errors import JqcliError, ReaderGoneError

INTERRUPTED = 130
BUG = 70
_FRAMES = 5
_LINE = 2000


def end(command: Callable[[], object]) -> int:
    """Call `command` and return the exit code: its own, or that of the error it raised (said on stderr)."""
    try:
        code = command()
    except (BrokenPipeError, ReaderGoneError):
        _hush_stdout()
        return ReaderGoneError.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except JqcliError as error:
        say(str(error), ERROR)
        return error.exit_code
    except TyperException as error:
        say(_first_small(error.format_message().rstrip(".")), ERROR)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - whatever it is, it is ours, and 70 is its code
        say(_describe_bug(error), ERROR)
        return BUG
    return code if isinstance(code, int) else 0


def say(message: str, level: int = INFO) -> None:
    """Tell people something, on stderr; control bytes are shown, not sent to the terminal."""
    lines = [safe(line, _LINE) for line in message.split("\n")]
    stream: TextIO | None = sys.stderr  # None where fd 2 is closed, and then print would take stdout
    if stream is not None:
        with suppress(OSError):
            print(add_level("jq-run: " + "\n".join(lines), level), file=stream, flush=True)


def _first_small(text: str) -> str:
    return text[:1].lower() + text[1:]


def _describe_bug(error: Exception) -> str:
    """Return the error's type, message and last frames; no local variables, for they hold payloads."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    lines = [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    head = f"a bug in jqcli: {type(error).__name__}: {str(error)[:500]}"
    return "\n".join([head, *lines, "Please report it, with these lines and the command line."])


def _hush_stdout() -> None:
    """Let the interpreter's last flush go nowhere; it would complain about the closed pipe once more."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return
