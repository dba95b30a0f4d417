"""What is read and not settled: lines, bytes, the batches they travel in, and the jobs that are kept as objects.

Law 3: lines read and not settled never exceed the queue. A batch's lines are counted when it is admitted, and each
is taken off when its record is written, or while its job is set aside.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from jqcli.core.batch import Batch, Pending

if TYPE_CHECKING:
    from jqcli.core.codec import Scheme
    from jqcli.core.taken import Taken


class Queue:
    """The counts, the batches by number with their `sizes`, and by key the `jobs` that wait as objects."""

    def __init__(self, scheme: Scheme, taken: Taken) -> None:
        self.scheme = scheme
        self.taken = taken
        self.lines = 0
        self.bytes = 0
        self.batches: dict[int, Batch] = {}
        self.sizes = array("I", [1])
        self.jobs: dict[bytes, Pending] = {}

    def number(self, lines: int) -> int:
        """Return the number of a new batch of so many lines."""
        self.sizes.append(lines)
        return len(self.sizes) - 1

    def release(self, batch: Batch) -> None:
        """Forget a batch all of whose jobs were dealt with."""
        self.bytes -= len(batch.data)
        del self.batches[batch.number]

    def take_out(self, batch: Batch, index: int) -> Pending:
        """Return a job of a batch as an object, which is kept on its own from here on."""
        pending = self.read(batch, index)
        self.jobs[pending.job.key] = pending
        self.bytes += pending.size
        return pending

    def read(self, batch: Batch, index: int) -> Pending:
        """Return a job of a batch as an object."""
        job = batch.job(index, self.scheme)
        return Pending(batch.line(index), job, batch.source, batch.number, index, offset=batch.offset_of(index))

    def enter(self, pending: Pending) -> None:
        """Count a job that was set aside into the queue again."""
        self.lines += 1
        self.bytes += pending.size
        self.jobs[pending.job.key] = pending

    def leave(self, pending: Pending) -> None:
        """Count a job out that is settled, or set aside."""
        self.lines -= 1
        self.bytes -= pending.size
        if self.jobs.get(pending.job.key) is pending:  # and not a duplicate
            del self.jobs[pending.job.key]
