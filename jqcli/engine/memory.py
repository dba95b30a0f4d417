"""A worker's memory that outlives it: a small file that parent and worker share.

The worker puts each finished record into a ring before its next attempt begins, and writes which job it starts and
when. Counters only grow and each has one writer, so neither side needs a lock: `head` is how many bytes of records
were ever put, `tail` how many of them the parent has taken.

The parent reads records after the worker has told of them or is dead, and live words only as hints.
"""

from __future__ import annotations

import mmap
import os
from typing import NamedTuple

RING_SIZE = 1 << 20
_WORDS = 8
_OFFSET = _WORDS * 8

HEAD, TAIL, STARTED, SINCE, BATCH, REVOKED = range(6)
PREPARING = (1 << 32) - 1  # in STARTED: not an attempt, but the reading of a batch


class Memory(NamedTuple):
    """The shared words and the ring.

    `words[STARTED]` is the position of the running job plus one, 0 when none runs; `words[SINCE]` the monotonic
    nanosecond at which it began; `words[BATCH]` the number of the batch it belongs to; `words[REVOKED]` is not 0
    when the parent wants the rest of the batch back.
    """

    words: memoryview
    ring: memoryview
    map: mmap.mmap

    @classmethod
    def create(cls) -> Memory:
        """Return a memory of this process alone."""
        fd = create_file()
        try:
            return cls.attach(fd)
        finally:
            os.close(fd)

    @classmethod
    def attach(cls, fd: int) -> Memory:
        """Map the memory behind a file descriptor."""
        mapped = mmap.mmap(fd, _OFFSET + RING_SIZE)
        view = memoryview(mapped)
        return cls(view[:_OFFSET].cast("Q"), view[_OFFSET:], mapped)

    @property
    def tail(self) -> int:
        """How many bytes of records the parent has taken."""
        return self.words[TAIL]

    def room(self) -> tuple[int, int, int]:
        """Return where the next record goes, the head at the ring's start, and the spot it may not pass.

        The spot is a lower bound: the parent only ever makes more room.
        """
        head, tail = self.words[HEAD], self.words[TAIL]
        spot = head % RING_SIZE
        return spot, head - spot, min(RING_SIZE, spot + RING_SIZE - (head - tail))

    def has_room(self, size: int) -> bool:
        """Tell whether a record of `size` bytes fits, wrapped around or not."""
        return self.words[HEAD] - self.words[TAIL] + size <= RING_SIZE

    def put(self, record: bytes) -> None:
        """Put a record that has room; its last byte is there before `head` says so."""
        head = self.words[HEAD]
        spot = head % RING_SIZE
        first = min(len(record), RING_SIZE - spot)
        self.ring[spot : spot + first] = record[:first]
        self.ring[: len(record) - first] = record[first:]
        self.words[HEAD] = head + len(record)

    def take(self, until: int) -> list[bytes]:
        """Return the bytes of the ring up to head position `until` and give their room back."""
        pieces = self.peek(until)
        self.words[TAIL] = until
        return pieces

    def peek(self, until: int) -> list[bytes]:
        """Return the bytes of the ring up to head position `until`."""
        tail = self.words[TAIL]
        if until == tail:
            return []
        start, end = tail % RING_SIZE, until % RING_SIZE
        if start < end:
            return [bytes(self.ring[start:end])]
        return [bytes(self.ring[start:]), bytes(self.ring[:end])]

    def close(self) -> None:
        """Unmap."""
        self.words.release()
        self.ring.release()
        self.map.close()


def create_file() -> int:
    """Return the descriptor of a new shared memory file that has no name, so nothing can be left behind."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("jq-run", os.MFD_CLOEXEC)
    else:
        import tempfile  # noqa: PLC0415 - not on Linux

        fd, path = tempfile.mkstemp(prefix="jq-run-")
        os.unlink(path)
    os.ftruncate(fd, _OFFSET + RING_SIZE)
    return fd
