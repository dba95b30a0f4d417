"""Reads dead letters back, each member as the very bytes that stand in the file.

A letter is one line: a JSON object with `id`, `key`, `reason` and one of `job`, `raw`, `raw_base64`. A later
letter of one job (same id and key) supersedes an earlier one, over all files in the order given.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from os import SEEK_END
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from jqcli.errors import FileError, ForeignFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# A string without an end goes to the end of the line: looked for anew at each of its quotes, it would take for ever.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[{}\[\],:]', re.DOTALL)
_OPENING, _CLOSING = frozenset((b"{", b"[")), frozenset((b"}", b"]"))
_NEEDED = frozenset((b"id", b"key", b"reason"))
_BODIES = (b"job", b"raw", b"raw_base64")


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter: a hash of its id and key, and the line of its job (None for an unusable line)."""

    identity: bytes
    job: bytes | None


def find_members(line: bytes) -> dict[bytes, bytes] | None:
    """Return the members of a JSON object by name, values as they stand; None for what is no object.

    Only brackets and strings are looked at, so numbers of any size and values of any depth keep their bytes.

    >>> find_members(b'{"id": "a,}", "job": {"n": 1.0}}')
    {b'id': b'"a,}"', b'job': b'{"n": 1.0}'}
    """
    body = line.strip()
    members: dict[bytes, bytes] = {}
    depth, begin, name = 0, 1, None
    for token in _TOKEN.finditer(body):
        sign = token[0]
        if sign in _OPENING:
            depth += 1
        if depth == 1 and sign == b":" and name is None:
            name, begin = body[begin : token.start()].strip().strip(b'"'), token.end()
        elif depth == 1 and name is not None and sign in (b",", b"}"):
            members[name] = body[begin : token.start()].strip()
            name, begin = None, token.end()
        if sign in _CLOSING:
            depth -= 1
            if depth <= 0:
                is_whole = depth == 0 and token.end() == len(body) and body.startswith(b"{")
                return members if is_whole else None
    return None


def parse_letter(line: bytes) -> Letter | None:
    """Return the letter of a line, or None where it is none."""
    members = find_members(line)
    if members is None or not members.keys() >= _NEEDED or not any(body in members for body in _BODIES):
        return None
    identity = blake2b(members[b"key"] + b"\n" + members[b"id"], digest_size=16).digest()
    return Letter(identity, members.get(b"job"))


class LetterFiles:
    """Some DLQ files, open for reading twice; a missing one is empty. `torn` names those cut off in a line.

    Memory is bounded by the number of jobs, not by their size: the first pass keeps a hash and a number each.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.torn: list[str] = []
        self._paths = paths
        self._stack = ExitStack()
        self._files: list[tuple[str, BinaryIO, int]] = []

    def __enter__(self) -> Self:
        for path in dict.fromkeys(self._paths):
            try:
                file = self._stack.enter_context(Path(path).open("rb"))
                # A run may append meanwhile: both passes end where the file ends now.
                self._files.append((path, file, file.seek(0, SEEK_END)))
            except FileNotFoundError:
                continue
            except OSError as error:
                self._stack.close()
                raise FileError(f"{path}: cannot be read: {error.strerror}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read_last(self) -> Iterator[Letter]:
        """Yield the last letter of each job, in the order of the files.

        Raises ForeignFileError for a line that is no letter, before anything is yielded.
        """
        last = {letter.identity: number for number, letter in enumerate(self._read_all())}
        self.torn.clear()
        for number, letter in enumerate(self._read_all()):
            if last[letter.identity] == number:
                yield letter

    def _read_all(self) -> Iterator[Letter]:
        for path, file, end in self._files:
            for number, line in enumerate(_read_lines(path, file, end), 1):
                letter = parse_letter(line) if line.endswith(b"\n") else None
                if letter is not None:
                    yield letter
                elif not line.endswith(b"\n"):
                    self.torn.append(path)
                elif line.strip():
                    raise ForeignFileError(f"{path}:{number}: not a dead letter; is this file a DLQ of jq-run?")


def _read_lines(path: str, file: BinaryIO, end: int) -> Iterator[bytes]:
    try:
        file.seek(0)
        while (left := end - file.tell()) > 0:
            yield file.readline(left)
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror or error}") from None
