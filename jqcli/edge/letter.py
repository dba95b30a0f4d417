"""Reads files of dead letters: of each job the last letter, in the order of the files.

Memory is bounded by the number of letters, some 50 bytes each, and not by their size.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO, Self

from jqcli.core.letter import letter_of
from jqcli.core.lookup import Lookup, entry
from jqcli.errors import FileError, ForeignFileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jqcli.core.choice import Choice
    from jqcli.core.letter import Letter, Verdict

_FILE_BITS = 48  # of a place: the offset below, the number of the file above
_OFFSET = (1 << _FILE_BITS) - 1


class LetterFile:
    """One DLQ, open for reading up to where it ends now; a run may append meanwhile. A missing one is empty.

    After reading, `whole_end` is where its last whole line ends.
    """

    def __init__(self, path: str, end: int | None = None) -> None:
        self.path = path
        self.is_torn = False
        self.whole_end = 0
        self._file: BinaryIO | None = None
        self.end = 0
        try:
            self._file = open(path, "rb")  # noqa: SIM115 - closed by `close`
            size = self._file.seek(0, os.SEEK_END)
            self.end = size if end is None else min(size, end)
        except FileNotFoundError:
            return
        except OSError as error:
            raise FileError(f"{path}: cannot be read: {error.strerror}") from None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def letters(self) -> Iterator[Letter]:
        """Yield every letter; raises ForeignFileError for a line that is none. A last line without end is left out."""
        for number, (offset, line) in enumerate(self.lines(), 1):
            letter = letter_of(line, self.path, offset)
            if letter is None:
                raise ForeignFileError(f"{self.path}:{number}: not a dead letter; is this file a DLQ of jq-run?")
            yield letter

    def lines(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield every whole line from an offset on, with its own."""
        file = self._file
        if file is None:
            return
        try:
            offset = start
            file.seek(start)
            while offset < self.end:
                line = file.readline(self.end - offset)
                if not line.endswith(b"\n"):
                    self.is_torn = True
                    return
                yield offset, line
                offset += len(line)
                self.whole_end = offset
        except OSError as error:
            raise self._unreadable(error) from None

    def read_at(self, offset: int) -> bytes:
        """Return the line that starts at an offset."""
        assert self._file is not None  # noqa: S101 - an offset comes from `lines`
        try:
            size, line = 1 << 13, b""
            while not line.endswith(b"\n"):
                line = os.pread(self._file.fileno(), size, offset)
                whole, newline, _ = line.partition(b"\n")
                if newline or len(line) < size:
                    return whole + newline
                size *= 8
        except OSError as error:
            raise self._unreadable(error) from None
        return line

    def _unreadable(self, error: OSError) -> FileError:
        return FileError(f"{self.path}: cannot be read: {error.strerror or error}")


class LetterFiles:
    """Some DLQ files, read as one: a later letter of one job supersedes an earlier one.

    Raises ForeignFileError for a line that is no letter, before anything is yielded.
    """

    def __init__(self, files: Sequence[LetterFile]) -> None:
        self._files = files
        self._last = Lookup()
        self._followed: set[int] = set()
        self._firsts: dict[int, int] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self._close)
            self._last = Lookup(self._index())
            if self._followed:
                self._firsts = self._find_firsts()
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        for file in self._files:
            file.close()

    @property
    def count(self) -> int:
        """How many letters there are, superseded ones too."""
        return len(self._last)

    @property
    def torn(self) -> list[str]:
        """The files that end in an unfinished line."""
        return [file.path for file in self._files if file.is_torn]

    def read_last(self) -> Iterator[Letter]:
        """Yield the last letter of each job."""
        for place, letter in self._read_all():
            if self._last.last(letter.spot) == place:
                yield letter

    def choose(self, choice: Choice) -> Iterator[tuple[Letter, Verdict]]:
        """Yield the last letters that are asked for, and why each is dead: a duplicate, of what its first died of."""
        left = choice.limit
        for letter in self.read_last():
            if left is not None and left <= 0:
                return
            verdict = self._judge(letter)
            if choice.accepts(letter, verdict):
                left = None if left is None else left - 1
                yield letter, verdict

    def _index(self) -> Iterator[int]:
        for place, letter in self._read_all():
            followed = letter.follows
            if followed is not None:
                self._followed.add(followed)
            yield entry(letter.spot, place)

    def _find_firsts(self) -> dict[int, int]:
        """Return where the firsts of all duplicates stand, by the number of their key."""
        firsts = {}
        for place, letter in self._read_all():
            if letter.follows is None and letter.identity in self._followed:
                firsts[letter.identity] = place
        return firsts

    def _judge(self, letter: Letter) -> Verdict:
        followed = letter.follows
        place = None if followed is None else self._firsts.get(followed)
        if place is None:
            return letter.verdict
        file = self._files[place >> _FILE_BITS]
        first = letter_of(file.read_at(place & _OFFSET))
        return letter.verdict if first is None else first.verdict

    def _read_all(self) -> Iterator[tuple[int, Letter]]:
        for number, file in enumerate(self._files):
            for letter in file.letters():
                yield number << _FILE_BITS | letter.offset, letter


def open_letters(paths: Iterable[str]) -> LetterFiles:
    """Return these files for reading; one that is named twice is read once."""
    return LetterFiles([LetterFile(path) for path in dict.fromkeys(paths)])
