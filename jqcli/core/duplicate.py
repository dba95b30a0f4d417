"""Jobs that do not run because another one of their identity does, did, or may: here, or in another run.

A duplicate waits for the first of its identity and shares its fate; where that is set aside, it is so too. One whose
identity is in flight in another run waits until it is done there, or free again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from jqcli.core.aside import HELPING, HELPING_BYTES, Chain
from jqcli.core.elsewhere import Elsewhere
from jqcli.core.fate import contradict, follow, follow_remembered
from jqcli.core.recall import ELSEWHERE, REMEMBERED, split_keys
from jqcli.model import First

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jqcli.core.aside import Aside
    from jqcli.core.batch import Batch, Pending
    from jqcli.core.dedupe import Identities
    from jqcli.core.effect import Effect
    from jqcli.core.first import Firsts
    from jqcli.core.queue import Queue
    from jqcli.model import Job


class Duplicates:
    """The followers of each first job, in memory and set aside, and the jobs that wait for another run."""

    def __init__(self, queue: Queue, identities: Identities, firsts: Firsts, aside: Aside) -> None:
        self._queue = queue
        self._aside = aside
        self._identities = identities
        self._firsts = firsts
        self._followers: dict[bytes, list[Pending]] = {}
        self._chains: dict[bytes, Chain] = {}
        self._due: deque[tuple[Chain, First]] = deque()
        self.elsewhere = Elsewhere()

    @property
    def following(self) -> int:
        """Jobs in the queue that wait for the first of their identity in this run."""
        return sum(map(len, self._followers.values()))

    @property
    def is_due(self) -> bool:
        """Whether the fate of some is known that are set aside."""
        return bool(self._due)

    def take(self, pending: Pending, kind: str) -> list[Effect]:
        """Deal with a job that a ruling called a duplicate, a conflict, remembered or elsewhere."""
        if kind == ELSEWHERE:
            self.elsewhere.add(pending)
            self._queue.bytes += pending.size
            return []
        if kind == REMEMBERED:
            self._queue.lines -= 1
            return [follow_remembered(pending, self._firsts.find_remembered(pending.job))]
        return self._follow_first(pending, is_conflict=kind == "conflict")

    def _follow_first(self, pending: Pending, *, is_conflict: bool) -> list[Effect]:
        """Let a job share the fate of the first of its identity, or contradict it."""
        job, queue = pending.job, self._queue
        if is_conflict:
            queue.lines -= 1
            first = self._firsts.of(job._replace(payload_hash=self._identities.owner_of(job.key)))
            return [contradict(pending, None if first is None else first.id)]
        first = self._firsts.of(job)
        if first is None or first.status == "running":
            queue.bytes += pending.size
            if not self._set_aside(pending):
                self._followers.setdefault(job.key, []).append(pending)
            return []
        queue.lines -= 1
        return [follow(pending, first)]

    def _set_aside(self, pending: Pending) -> bool:
        """Set a job aside where the first of its identity is so; tell whether it was."""
        key = pending.job.key
        chain = self._chains.get(key)
        if chain is None and not self._firsts.is_aside(pending.job):
            return False
        chain = chain or Chain()
        if not self._aside.put(chain, pending):
            return False
        self._chains[key] = chain
        return True

    def take_news(self, known: Mapping[bytes, str]) -> tuple[list[Effect], list[Pending]]:
        """Go on with what waited for another run, as far as it is not `known` to be there still.

        Returns also the jobs that may run here now.
        """
        queue = self._queue
        remembered, free = self.elsewhere.take(known)
        queue.lines -= len(remembered)
        queue.bytes -= sum(pending.size for pending in remembered)
        effects: list[Effect] = [follow_remembered(each, self._firsts.find_remembered(each.job)) for each in remembered]
        for first, *others in free:
            key, payload_hash = first.job.key, first.job.payload_hash
            self._identities.adopt(key, payload_hash, first.origin, first.index)
            queue.jobs[key] = first
            queue.bytes -= sum(pending.size for pending in others)
            for other in others:
                effects += self._follow_first(other, is_conflict=other.job.payload_hash != payload_hash)
        return effects, [jobs[0] for jobs in free]

    def release(self, batch: Batch, indexes: Sequence[int]) -> list[Effect]:
        """Return the records of those that waited for jobs which are done."""
        if not self._followers and not self._chains:
            return []
        effects: list[Effect] = []
        for key in split_keys(batch.identities(indexes)[0]):
            job = self._some_follower(key)
            if job is not None:
                effects += self.settle(key, self._firsts.look_up(job) or First(None, "completed"))
        return effects

    def _some_follower(self, key: bytes) -> Job | None:
        if key in self._followers:
            return self._followers[key][0].job
        return self._aside.peek(self._chains[key]).job if key in self._chains else None

    def settle(self, key: bytes, first: First) -> list[Effect]:
        """Return the records of those that waited for a first job, now that its fate is known.

        Those that are set aside have theirs from `settle_due`.
        """
        effects: list[Effect] = []
        if key in self._chains:
            self._due.append((self._chains.pop(key), first))
        for pending in self._followers.pop(key, ()):
            self._queue.lines -= 1
            self._queue.bytes -= pending.size
            effects.append(follow(pending, first))
        return effects

    def settle_due(self) -> list[Effect]:
        """Return the records of some that are set aside and whose fate is known."""
        effects: list[Effect] = []
        size = 0
        while self._due and len(effects) < HELPING and size < HELPING_BYTES:
            chain, first = self._due[0]
            pending = self._aside.take(chain)
            self._aside.drop(pending)
            effects.append(follow(pending, first))
            size += len(pending.line.data)
            if not chain.count:
                self._due.popleft()
        return effects
