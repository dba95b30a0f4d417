"""Ruled jobs that wait: for a moment, for a worker, or in front of the gate."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING

from jqcli.core.aside import HELPING, HELPING_BYTES
from jqcli.core.later import Later

if TYPE_CHECKING:
    from jqcli.core.aside import Aside
    from jqcli.core.batch import Pending, Sizer
    from jqcli.core.gate import Gate
    from jqcli.core.rules import Moment


class Backlog:
    """The jobs that the parent keeps on their own. Moments are monotonic seconds."""

    def __init__(self, gate: Gate, sizer: Sizer, aside: Aside) -> None:
        self._gate = gate
        self._sizer = sizer
        self._later = Later(aside)
        self._ready: deque[Pending] = deque()

    @property
    def waiting(self) -> int:
        """Jobs in the queue that wait for a moment."""
        return self._later.near

    @property
    def far(self) -> int:
        """Jobs that are set aside and wait for a moment, which has not come."""
        return self._later.far

    @property
    def ready(self) -> int:
        """Jobs in the queue that wait for a worker, or for the gate."""
        return len(self._ready) + self._gate.waiting

    @property
    def due_at(self) -> float | None:
        """The moment at which the next job may start that has to wait for one."""
        due_at = self._later.due_at
        if not self._gate.is_on:
            return -inf if self._later.due else due_at
        if self._later.due and self._gate.has_room:
            return -inf
        moments = [moment for moment in (due_at, self._gate.due_at) if moment is not None]
        return min(moments, default=None)

    def wait(self, pending: Pending, due_at: float, now: Moment, *, is_retry: bool) -> None:
        """Let a job wait for a moment, set aside where that is far and it did not fail."""
        self._later.wait(pending, due_at, now, is_retry=is_retry)

    def give_back(self, pendings: list[Pending]) -> None:
        """Take back jobs that did not begin: they go before anything new."""
        if self._gate.is_on:
            self._gate.give_back(pendings)
        else:
            self._ready.extendleft(reversed(pendings))

    def take(self, now: Moment, workers: int) -> tuple[list[list[Pending]], list[Pending]]:
        """Return jobs that start now, batch by batch, and some of those that may not start any more.

        `workers` are all of them; where the gate is on, those that would start a job at once.
        """
        self._ready += self._later.wake(now.monotonic)
        if not self._gate.is_on:
            found, expired = self._take_ready(-(-(len(self._ready) + self._later.due) // workers), now.unix)
            return [found] if found else [], expired
        self._move(now.monotonic)
        size = self._gate.handful
        found, expired = self._gate.take(now, workers * size)
        return [found[at : at + size] for at in range(0, len(found), size)], expired

    def _move(self, now: float) -> None:
        """Let those that are due wait in front of the gate."""
        for pending in self._ready:
            self._gate.put(pending, now, is_first=not pending.attempts)
        self._ready.clear()
        for _ in range(HELPING):
            pending_or_none = self._later.take() if self._gate.has_room else None
            if pending_or_none is None:
                return
            self._gate.put(pending_or_none, now, is_back=True)

    def _take_ready(self, share: int, unix: float) -> tuple[list[Pending], list[Pending]]:
        most, size = min(self._sizer.size, share), 0
        found: list[Pending] = []
        expired: list[Pending] = []
        while len(found) < most and len(expired) < HELPING and size < HELPING_BYTES:
            pending = self._ready.popleft() if self._ready else self._later.take()
            if pending is None:
                break
            (expired if pending.has_expired(unix) else found).append(pending)
            size += len(pending.line.data)
        return found, expired
