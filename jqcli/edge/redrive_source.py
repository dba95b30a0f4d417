"""Gives the jobs of dead letters to a run as the lines that they were, so that their ids come out as they did.

A job whose id was made up, `<stem>:<line>`, stands at that line of an input with that stem; the lines between two such
jobs are blank where they are few, and blank lines are no jobs. A job with an id of its own may stand anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from jqcli.edge.cutter import Block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MOST_BLANKS = 128  # each costs some 2 µs, and another batch 300
ANYWHERE = 0  # the number of the input of jobs with ids of their own


class Row(NamedTuple):
    """The line of one job: the number of its input, or ANYWHERE; its line there; its bytes without the newline."""

    source: int
    number: int
    data: bytes


class RedriveSource:
    """A `Feed` of rows. `total` says how many there are, `release` is called before a block is given out."""

    def __init__(
        self,
        names: tuple[str, ...],
        stems: tuple[str, ...],
        total: int,
        rows: Iterator[Row],
        release: Callable[[], None],
    ) -> None:
        self.names = names
        self.stems = stems
        self.bytes_total = total
        self.bytes_read = 0
        self._rows = rows
        self._release = release
        self._next: Row | None = None
        self._is_begun = False

    @property
    def ended(self) -> bool:
        """Whether every row was cut."""
        return self._peek() is None

    def cut(self, max_lines: int, max_bytes: int, now: float) -> Block | None:  # noqa: ARG002 - the protocol's
        """Return the next rows that may stand in one block."""
        block = _Block(max_lines, max_bytes)
        while (row := self._peek()) is not None and block.takes(row):
            self.bytes_read += 1
            self._next = next(self._rows, None)
        if not block.lines:
            return None
        self._release()
        first = block.first or self.bytes_read - len(block.lines) + 1
        return Block(block.source, first, len(block.lines), b"\n".join(block.lines) + b"\n", 0)

    def is_lasting(self, source: int) -> bool:  # noqa: ARG002 - the protocol's
        """Return False: what a letter becomes stands nowhere."""
        return False

    def read_again(self, source: int, offset: int, size: int) -> bytes:
        """Refuse, for the same reason."""
        raise NotImplementedError

    def wait_fd(self) -> None:
        """Return None: rows are there or are not."""

    def ready_at(self) -> None:
        """Return None, for the same reason."""

    def close(self) -> None:
        """Do nothing: the files are the redrive's."""

    def _peek(self) -> Row | None:
        if not self._is_begun:
            self._is_begun = True
            self._next = next(self._rows, None)
        return self._next


class _Block:
    """Lines that are being put together; `first` is 0 until a line has its place."""

    def __init__(self, max_lines: int, max_bytes: int) -> None:
        self.source = ANYWHERE
        self.first = 0
        self.lines: list[bytes] = []
        self._size = 0
        self._max_lines = max_lines
        self._max_bytes = max_bytes

    def takes(self, row: Row) -> bool:
        """Put a row behind the others, if that is where it may stand, and if there is room."""
        blanks = 0
        if row.source != ANYWHERE:
            first = self.first or row.number - len(self.lines)
            blanks = row.number - first - len(self.lines)
            is_here = self.source in (ANYWHERE, row.source) and first > 0 and 0 <= blanks <= _MOST_BLANKS
            if not is_here:
                return False
        count, size = len(self.lines) + blanks + 1, self._size + blanks + len(row.data) + 1
        if self.lines and (count > self._max_lines or size > self._max_bytes):
            return False
        if row.source != ANYWHERE and not self.first:
            self.source, self.first = row.source, row.number - len(self.lines)
        self.lines += [*[b""] * blanks, row.data]
        self._size = size
        return True
