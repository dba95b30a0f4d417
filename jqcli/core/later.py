"""Jobs that wait for a moment: a retry, a snooze, a `not_before`. The latter two are set aside where that is far.

Retries are not: where everything fails, the queue is to fill up with them, so that the rest of the input is not tried.

What is set aside is kept by slots of time, each a chain. The jobs of a slot are due at its end, so that they come back
one by one when they are wanted: a million of them that wait for the same moment take no more memory then than before.
A slot takes some 150 bytes, and is short where its job might expire in a longer one.
"""

from __future__ import annotations

import heapq
from collections import deque
from math import ceil, inf
from typing import TYPE_CHECKING

from jqcli.core.aside import PATIENCE, Chain

if TYPE_CHECKING:
    from jqcli.core.aside import Aside
    from jqcli.core.batch import Pending
    from jqcli.core.rules import Moment

_SLOT = 0.25  # seconds; so much later a job may start that was set aside
_SHORT = 2**-10  # seconds, where it expires soon after it is due; both divide a moment without a rest


class Later:
    """The waiting jobs. Moments are monotonic seconds."""

    def __init__(self, aside: Aside) -> None:
        self._aside = aside
        self._tickets = 0  # keep the heap in order where two jobs are due at one moment
        self._near: list[tuple[float, int, Pending]] = []
        self._slots: list[float] = []  # their ends
        self._chains: dict[float, Chain] = {}
        self._due: deque[Chain] = deque()
        self.far = 0  # jobs that are set aside, and whose moment has not come
        self.due = 0  # jobs that are so still, and whose moment has come

    @property
    def near(self) -> int:
        """Jobs that wait as objects, and count towards the queue."""
        return len(self._near)

    @property
    def due_at(self) -> float | None:
        """The moment at which the next one may start, those that are due already not looked at."""
        moments = [self._near[0][0]] if self._near else []
        if self._slots:
            moments.append(self._slots[0])
        return min(moments, default=None)

    def wait(self, pending: Pending, due_at: float, now: Moment, *, is_retry: bool) -> None:
        """Let a job wait for a moment."""
        if not is_retry and due_at - now.monotonic > PATIENCE and due_at / _SHORT < inf:
            expires = pending.job.asks.expires
            is_short = expires is not None and now.monotonic + expires - now.unix < due_at + 2 * _SLOT
            length = _SHORT if is_short else _SLOT
            slot = ceil(due_at / length) * length
            chain = self._chains.get(slot) or Chain()
            if self._aside.put(chain, pending):
                self.far += 1
                if slot not in self._chains:
                    self._chains[slot] = chain
                    heapq.heappush(self._slots, slot)
                return
        self._tickets += 1
        heapq.heappush(self._near, (due_at, self._tickets, pending))

    def wake(self, now: float) -> list[Pending]:
        """Return the jobs that were kept as objects and are due; `take` returns the others."""
        found: list[Pending] = []
        while self._near and self._near[0][0] <= now:
            found.append(heapq.heappop(self._near)[2])
        while self._slots and self._slots[0] <= now:
            chain = self._chains.pop(heapq.heappop(self._slots))
            self._due.append(chain)
            self.due += chain.count
            self.far -= chain.count
        return found

    def take(self) -> Pending | None:
        """Return the next job that was set aside and is due, which counts towards the queue again."""
        while self._due and not self._due[0].count:
            self._due.popleft()
        if not self._due:
            return None
        pending = self._aside.take(self._due[0])
        self._aside.forget(pending)
        self.due -= 1
        return pending
