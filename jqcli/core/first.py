"""Who is the first job of an identity, and what became of it: what its duplicates have to know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jqcli.core.codec import read_line
from jqcli.core.grave import Graves
from jqcli.model import First, Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from jqcli.core.aside import Aside
    from jqcli.core.queue import Queue


class Firsts:
    """The first jobs of this run's identities: waiting as objects or set aside, dead, with a worker, or settled.

    `find` looks for a settled one where records are.
    """

    def __init__(
        self, queue: Queue, aside: Aside, find: Callable[[tuple[int, float] | None, Job], First | None]
    ) -> None:
        self._queue = queue
        self._taken = queue.taken
        self._find = find
        self._aside = aside
        self.dead = Graves()

    def look_up(self, job: Job) -> First | None:
        """Return the settled first of a job's identity."""
        return self._look_up(self._taken.find(job.key), job)

    def find_remembered(self, job: Job) -> First | None:
        """Return the first of an identity that another run did."""
        return self._find(None, job)

    def is_aside(self, job: Job) -> bool:
        """Tell whether the first job of an identity is set aside."""
        if not self._aside.count or job.key in self._queue.jobs:
            return False
        spot = self._taken.find(job.key)
        return spot is not None and self._aside.has(*spot)

    def of(self, job: Job) -> First | None:
        """Return the first job of an identity: running, dead, or done with its record."""
        if (dead := self.dead.find(job.key)) is not None:
            return dead
        pending = self._queue.jobs.get(job.key)
        if pending is not None:
            return First(pending.job.id, "running")
        spot = self._taken.find(job.key)
        if spot is not None and (owned := self._aside.find(*spot)):
            return First(owned.id, "running")
        batch = None if spot is None else self._queue.batches.get(spot[0])
        if spot is None or batch is None or batch.told:
            found = self._look_up(spot, job)
            if found is not None or spot is None or batch is None:
                return found or First(None, "completed")
        owner = read_line(batch.line(spot[1]), self._queue.scheme) if batch.jobs is None else batch.jobs[spot[1]].job
        return First(owner.id if isinstance(owner, Job) else None, "running")

    def _look_up(self, spot: tuple[int, int] | None, job: Job) -> First | None:
        return self._find(None if spot is None else (spot[0], spot[1] / self._queue.sizes[spot[0]]), job)
