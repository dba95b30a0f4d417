"""Batches from their reading to their ruling: each is prepared by a worker, and they are ruled in input order."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from jqcli.core.batch import Batch
from jqcli.core.codec import hash_unusable
from jqcli.core.effect import Prepare, Work
from jqcli.core.event import Answer

if TYPE_CHECKING:
    from jqcli.core.queue import Queue
    from jqcli.core.settled import Settled


class Turns:
    """The batches that are not ruled yet, in input order."""

    def __init__(self, queue: Queue, settled: Settled) -> None:
        self._queue = queue
        self._settled = settled
        self._batches: deque[Batch] = deque()

    @property
    def lines(self) -> int:
        """Lines that are not ruled yet."""
        return sum(batch.lines for batch in self._batches)

    def admit(
        self, source: int, name: str, stem: str, first_line: int, data: bytes, lines: int, offset: int
    ) -> Prepare:
        """Take a block of lines; they are to be prepared."""
        queue = self._queue
        data, buried = self._settled.blank_unread(data)
        batch = Batch(queue.number(lines), source, name, stem, first_line, data, lines, buried, offset)
        queue.lines += lines
        queue.bytes += len(data)
        self._batches.append(batch)
        return self._prepare(batch)

    def take(self, answer: Answer) -> list[Batch]:
        """Take what a worker says of a batch; return all whose turn it is."""
        self._queue.batches[answer.batch].answer = answer
        found: list[Batch] = []
        while self._batches and self._batches[0].answer is not None:
            found.append(self._batches.popleft())
        return found

    def split(self, number: int, message: str, max_crashes: int) -> list[Prepare] | Answer:
        """Halve a batch whose preparing ended its worker; a single line that does so again and again has its answer."""
        queue = self._queue
        batch = queue.batches.pop(number)
        if batch.lines > 1:
            place = self._batches.index(batch)
            halves = batch.halves(len(queue.sizes))
            queue.sizes.extend(half.lines for half in halves)
            del self._batches[place]
            for half in reversed(halves):
                self._batches.insert(place, half)
            return [self._prepare(half) for half in halves]
        batch.crashes += 1
        if batch.crashes < max_crashes:
            return [self._prepare(batch)]
        queue.batches[number] = batch
        note = {"reason": "worker_crash", "message": message}
        return Answer(number, hash_unusable(batch.line(0).data), b"", bytes(8), [(0, note)])

    def _prepare(self, batch: Batch) -> Prepare:
        self._queue.batches[batch.number] = batch
        with_ids = bool(self._settled.records)
        return Prepare(Work(batch.number, batch.source, batch.first_line, batch.lines, batch.data, with_ids))
