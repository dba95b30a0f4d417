"""Keeps records until all before them are there: `--keep-order` within one run.

Law: a record leaves when every line before it has its record or will have none here (a dead letter, a blank line,
a line of an earlier run). What is held counts towards the queue.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Slots:
    batch: int
    records: list[bytes | None]
    next: int = 0


@dataclass(slots=True)
class Window:
    """The records of the batches that were ruled and are not wholly released, in input order.

    >>> window = Window()
    >>> window.open(1, 2)
    >>> window.put(1, 1, b"second")
    >>> window.release(), window.held
    ([], 1)
    >>> window.put(1, 0, b"first")
    >>> window.release(), window.held
    ([(1, [b'first', b'second'])], 0)
    """

    held: int = 0
    _queue: deque[_Slots] = field(default_factory=deque)
    _by_batch: dict[int, _Slots] = field(default_factory=dict)

    def open(self, batch: int, lines: int) -> None:
        """Give the lines of a batch their place behind all others."""
        slots = _Slots(batch, [None] * lines)
        self._queue.append(slots)
        self._by_batch[batch] = slots

    def put(self, batch: int, index: int, record: bytes) -> None:
        """Put the record of a line; an empty one where there will be none."""
        self._by_batch[batch].records[index] = record
        self.held += bool(record)

    def peek(self, batch: int) -> bytes:
        """Return the records of a batch that are held."""
        slots = self._by_batch.get(batch)
        return b"" if slots is None else b"".join(record for record in slots.records if record)

    def release(self) -> list[tuple[int, list[bytes]]]:
        """Return the records whose turn has come, by batch."""
        released: list[tuple[int, list[bytes]]] = []
        while self._queue:
            slots = self._queue[0]
            out: list[bytes] = []
            while slots.next < len(slots.records) and (record := slots.records[slots.next]) is not None:
                if record:
                    out.append(record)
                    slots.records[slots.next] = b""
                slots.next += 1
            if out:
                self.held -= len(out)
                released.append((slots.batch, out))
            if slots.next < len(slots.records):
                break
            del self._by_batch[self._queue.popleft().batch]
        return released

    def release_all(self) -> list[tuple[int, list[bytes]]]:
        """Return all records, in order, past the lines that have none: the run is over."""
        released = [(slots.batch, [r for r in slots.records[slots.next :] if r]) for slots in self._queue]
        self._queue.clear()
        self._by_batch.clear()
        self.held = 0
        return released
