"""Gives the jobs of dead letters to a run as the lines that they were, so that their ids come out as they did.

A job with an id of its own may stand anywhere. One whose id was made up, `<stem>:<line>`, stands at that line of an
input with that stem; the lines between two such jobs are blank where they are few, and blank lines are no jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from jqcli.edge.cutter import Block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MOST_BLANKS = 64


class Row(NamedTuple):
    """The line of one job: the number of its input, its line there, and its bytes without the newline."""

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
        first = self._peek()
        if first is None:
            return None
        lines, size, number = [first.data], len(first.data), first.number
        self._advance()
        while (row := self._peek()) is not None and row.source == first.source:
            blanks = row.number - number - 1
            size += blanks + len(row.data) + 1
            if not 0 <= blanks <= _MOST_BLANKS or len(lines) + blanks >= max_lines or size > max_bytes:
                break
            lines += [b""] * blanks
            lines.append(row.data)
            number = row.number
            self._advance()
        self._release()
        return Block(first.source, first.number, len(lines), b"\n".join(lines) + b"\n", 0)

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

    def _advance(self) -> None:
        self.bytes_read += 1
        self._next = next(self._rows, None)
