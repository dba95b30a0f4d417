"""Ruled jobs that wait: for a moment, for a worker, or in front of the gate."""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jqcli.core.batch import Pending, Sizer
    from jqcli.core.gate import Gate
    from jqcli.core.rules import Moment

_JOBS_BYTES = 1 << 20


class Backlog:
    """The jobs that the parent keeps as objects. `waiting` of them wait for a moment; moments are monotonic."""

    def __init__(self, gate: Gate, sizer: Sizer) -> None:
        self._gate = gate
        self._sizer = sizer
        self._tickets = 0  # keep the heap in order where two jobs are due at one moment
        self._waiting: list[tuple[float, int, Pending]] = []
        self._ready: deque[Pending] = deque()

    @property
    def waiting(self) -> int:
        """Jobs that wait for a moment: a retry, a snooze, a `not_before`."""
        return len(self._waiting)

    @property
    def ready(self) -> int:
        """Jobs that wait for a worker, or for the gate."""
        return len(self._ready) + self._gate.waiting

    @property
    def due_at(self) -> float | None:
        """The moment at which the next job may start that has to wait for one."""
        due_at = self._waiting[0][0] if self._waiting else None
        gated = self._gate.due_at if self._gate.is_on else None
        if due_at is None or gated is None:
            return gated if due_at is None else due_at
        return min(due_at, gated)

    def wait(self, pending: Pending, due_at: float) -> None:
        """Let a job wait for a moment."""
        pending.due_at = due_at
        self._tickets += 1
        heapq.heappush(self._waiting, (due_at, self._tickets, pending))

    def give_back(self, pendings: list[Pending]) -> None:
        """Take back jobs that did not begin: they go before anything new."""
        if self._gate.is_on:
            self._gate.give_back(pendings)
        else:
            self._ready.extendleft(reversed(pendings))

    def take(self, now: Moment, workers: int) -> tuple[list[list[Pending]], list[Pending]]:
        """Return jobs that start now, batch by batch, and those that may not start any more.

        `workers` are all of them; where the gate is on, those that would start a job at once.
        """
        while self._waiting and self._waiting[0][0] <= now.monotonic:
            self._ready.append(heapq.heappop(self._waiting)[2])
        if not self._gate.is_on:
            found, expired = self._take_ready(-(-len(self._ready) // workers), now.unix)
            return [found] if found else [], expired
        for pending in self._ready:
            self._gate.put(pending, is_first=not pending.attempts)
        self._ready.clear()
        size = self._gate.handful
        found, expired = self._gate.take(now, workers * size)
        return [found[at : at + size] for at in range(0, len(found), size)], expired

    def _take_ready(self, share: int, unix: float) -> tuple[list[Pending], list[Pending]]:
        most, size = min(self._sizer.size, share), 0
        found: list[Pending] = []
        expired: list[Pending] = []
        while self._ready and len(found) < most and size < _JOBS_BYTES:
            pending = self._ready.popleft()
            if pending.has_expired(unix):
                expired.append(pending)
                continue
            found.append(pending)
            size += len(pending.line.data)
        return found, expired
