"""Which lane has its turn: those that may start something take turns, the others are shut until they may."""

from __future__ import annotations

import heapq
from collections import deque
from math import inf
from typing import TYPE_CHECKING

from jqcli.core.lane import Lane, LaneKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jqcli.core.breaker import Breaker


class Rota:
    """All lanes with jobs in them; `breaker_of` returns the breaker of a new one. Moments are monotonic seconds."""

    def __init__(self, breaker_of: Callable[[str | None], Breaker | None]) -> None:
        self._breaker_of = breaker_of
        self._lanes: dict[LaneKey, Lane] = {}
        self._ready: deque[Lane] = deque()
        self._shut: list[tuple[float, int, Lane]] = []
        self._tickets = 0

    def __len__(self) -> int:
        return len(self._lanes)

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def of(self, key: LaneKey) -> Lane:
        """Return the lane of a key; a new one may have its turn."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, self._breaker_of(key.breaker))
            self._ready.append(lane)
        return lane

    @property
    def is_idle(self) -> bool:
        """Whether no lane may have its turn."""
        return not self._ready

    @property
    def opens_at(self) -> float | None:
        """The moment at which the next lane may have its turn that is shut now."""
        return self._shut[0][0] if self._shut else None

    def open(self, now: float) -> None:
        """Let the lanes take their turns whose moment has come."""
        while self._shut and self._shut[0][0] <= now:
            self._add(heapq.heappop(self._shut)[2])

    def next(self) -> Lane | None:
        """Return the lane whose turn it is; lanes without jobs are forgotten."""
        while self._ready:
            lane = self._ready[0]
            if lane:
                return lane
            self._ready.popleft()
            del self._lanes[lane.key]
        return None

    def turn(self) -> None:
        """Let the next lane have its turn."""
        self._ready.rotate(-1)

    def shut(self, moment: float) -> None:
        """Let the lane whose turn it is have none before that moment."""
        lane = self._ready.popleft()
        lane.shut_until = moment
        self._tickets += 1
        heapq.heappush(self._shut, (moment, self._tickets, lane))

    def wake(self, breaker: Breaker) -> None:
        """Let the lanes that wait for a breaker have their turns again."""
        if any(lane.breaker is breaker for _, _, lane in self._shut):
            for _, _, lane in self._shut:
                if lane.breaker is breaker:
                    self._add(lane)
            self._shut = [entry for entry in self._shut if entry[2].breaker is not breaker]
            heapq.heapify(self._shut)

    def _add(self, lane: Lane) -> None:
        lane.shut_until = -inf
        self._ready.append(lane)
