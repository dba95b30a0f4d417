"""A worker's memory that outlives it: a small file that parent and worker share.

The worker puts each finished record there before its next attempt begins. Records fill two pages in turn; a page is
written again only when the parent has taken all that was on it. Positions are bytes, counted as if the pages went on
for ever: page `n` holds the positions from `n * PAGE_SIZE` on, and may end before it is full.

Each word has one writer, so neither side needs a lock. The parent reads records after the worker has told of them, has
been silent about them for long, or is dead, and live words only as hints. Nothing is written when an attempt begins
(that was a twentieth of a small job): which one runs follows from how many records there are.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE_SIZE = 1 << 19
# Written by the worker: the position behind the last whole record; where the records of the other page end; the number
# of the batch that runs, plus one; of the one that is read, plus one; a position of the run, see `Writer.mark`.
# By the parent: the position up to which it has taken records; not 0 when it wants work back.
HEAD, FILLED, RUNNING, READING, MARK, TAKEN, REVOKED = range(7)

_WORDS = 8
_PAGES_AT = mmap.ALLOCATIONGRANULARITY
_FILE_SIZE = _PAGES_AT + 2 * PAGE_SIZE
_LOW_BITS = 40
_LOW = (1 << _LOW_BITS) - 1


class Memory:
    """The parent's side: takes records."""

    def __init__(self, fd: int) -> None:
        # The views keep the mapping alive, so records that were taken can be written from where they are.
        view = memoryview(mmap.mmap(fd, _FILE_SIZE))
        self.words = view[: 8 * _WORDS].cast("Q")
        self._pages = [view[at : at + PAGE_SIZE] for at in (_PAGES_AT, _PAGES_AT + PAGE_SIZE)]
        self._tail = 0

    def take(self, until: int) -> list[memoryview]:
        """Return the records up to a position; they stand until `free` is called."""
        pieces = self._pieces(self._tail, until)
        self._tail = until
        return pieces

    @property
    def has_more(self) -> bool:
        """Whether there are records that were not taken."""
        return self.words[HEAD] > self._tail

    def peek(self) -> bytes:
        """Return all records that were not taken."""
        return b"".join(self._pieces(self._tail, self.words[HEAD]))

    def free(self) -> None:
        """Let the worker write over what was taken."""
        self.words[TAKEN] = self._tail

    def spot(self) -> int:
        """Return how many jobs of the run were dealt with: the place in its order of the one that is running."""
        mark, head = self.words[MARK], self.words[HEAD]
        start = head - ((head - mark) & _LOW)
        return (mark >> _LOW_BITS) + b"".join(self._pieces(start, head)).count(b"\n")

    def _pieces(self, start: int, until: int) -> list[memoryview]:
        """Return what stands between two positions of which the second is in the current page."""
        if start == until:
            return []
        number = (until - 1) // PAGE_SIZE
        first = number * PAGE_SIZE
        pieces = [self._pages[number % 2][max(0, start - first) : until - first]]
        before, filled = first - PAGE_SIZE, self.words[FILLED]
        if start < filled <= first:  # else the worker is a page further on, and has made sure that this one was taken
            pieces.insert(0, self._pages[(number - 1) % 2][max(0, start - before) : filled - before])
        return pieces


class Writer:
    """The worker's side: puts records. `write` takes one that fits on the page and raises ValueError for another."""

    def __init__(self, fd: int) -> None:
        self._words_map = mmap.mmap(fd, _PAGES_AT)
        self.words = memoryview(self._words_map)[: 8 * _WORDS].cast("Q")
        self._pages = [mmap.mmap(fd, PAGE_SIZE, offset=_PAGES_AT + at) for at in (0, PAGE_SIZE)]
        self._number = 0
        self.head = 0
        self.write: Callable[[bytes], int] = self._pages[0].write

    def put(self, record: bytes) -> None:
        """Put a record; its last byte is there before `HEAD` says so. Raises ValueError where it does not fit."""
        self.head += self.write(record)
        self.words[HEAD] = self.head

    def mark(self, spot: int) -> None:
        """Say that so many jobs of the run were dealt with; each record from here on is one more.

        Spot and position share a word, so that a death cannot part them.
        """
        self.words[MARK] = spot << _LOW_BITS | self.words[HEAD] & _LOW

    @property
    def can_turn(self) -> bool:
        """Whether the parent has taken all of the other page."""
        return self.words[TAKEN] >= self.words[FILLED]

    def turn(self) -> None:
        """Go on on the other page."""
        self.words[FILLED] = self.words[HEAD]
        self._number += 1
        page = self._pages[self._number % 2]
        page.seek(0)
        self.head = self._number * PAGE_SIZE
        self.write = page.write

    def forbid_forks(self) -> None:
        """Keep what a handler forks, and lets return into our loop, from writing here: it dies at its first record."""
        if hasattr(mmap, "MADV_DONTFORK"):
            for mapped in (self._words_map, *self._pages):
                mapped.madvise(mmap.MADV_DONTFORK)


def create_file() -> int:
    """Return the descriptor of a new shared memory file that has no name, so nothing can be left behind."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("jq-run", os.MFD_CLOEXEC)
    else:
        import tempfile  # noqa: PLC0415 - not on Linux

        fd, path = tempfile.mkstemp(prefix="jq-run-")
        os.unlink(path)
    os.ftruncate(fd, _FILE_SIZE)
    return fd
