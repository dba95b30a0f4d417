"""How many jobs may run at once, where that is to be found out: additive increase, multiplicative decrease.

Latency is judged by windows, never by one call: each window's mean is held against the best that was seen. A window
that is slower, or that was told twice to slow down, cuts the level once; one that used the level up raises it.
"""

from __future__ import annotations

from math import inf

_WINDOW = 0.5  # seconds, at least
_CALLS = 8  # of a window, at least
_SLOWER = 1.2  # times the best mean
_CUT = 0.8
_LIMITED = 2  # answers of "slow down" in one window


class Level:
    """The level of jobs in flight, between 1 and `most`; doubles until the first cut, then grows by one.

    >>> Level(8).now
    1
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._level = 1.0
        self._is_young = True
        self._best = inf
        self._began_at: float | None = None
        self._calls = self._limited = self._peak = 0
        self._seconds = 0.0

    @property
    def now(self) -> int:
        """Jobs that may run at once."""
        return int(self._level)

    def note(self, seconds: float, in_flight: int, now: float, *, is_limited: bool = False) -> None:
        """Take an attempt that took so long while so many were running; `now` is monotonic seconds."""
        if self._began_at is None:
            self._began_at = now
        self._limited += is_limited
        if not is_limited:
            self._calls += 1
            self._seconds += seconds
        self._peak = max(self._peak, in_flight)
        if now - self._began_at >= _WINDOW and self._calls + self._limited >= _CALLS:
            self._judge()
            self._began_at = now
            self._clear()

    def _judge(self) -> None:
        mean = self._seconds / self._calls if self._calls else self._best
        if self._level < 2:
            self._best = mean  # nothing is faster than alone; so it learns of a server that has become slower
        is_slow = mean > self._best * _SLOWER
        self._best = min(self._best, mean)
        if is_slow or self._limited >= _LIMITED:
            self._level = max(1.0, self._level * _CUT)
            self._is_young = False
        elif self._peak >= self.now:
            grown = self._level * 2 if self._is_young else self._level + 1
            self._level = min(grown, float(self._most))

    def _clear(self) -> None:
        self._calls = self._limited = self._peak = 0
        self._seconds = 0.0
