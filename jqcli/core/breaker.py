"""Whether what the jobs call is there. While it is not, jobs wait and no attempt of theirs is spent.

Closed: every job may start. When a share of the calls of the last seconds failed, it opens: none may start. After a
pause it is half open: one job may start, the probe. Its success closes, its failure opens again, and where it says
nothing in time, another one is sent.

A job that fails while others succeed is at fault itself: its further failures say nothing of what it calls.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from math import inf, log
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

_KEPT = 10_000
_SLICES = 10
_CHANCE = 1e-6
LEAST_CALLS = 10  # fewer say nothing


class State(Enum):
    """What a breaker lets through: all, nothing, or one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Trip(NamedTuple):
    """When to open: at this share (0 to 1) of failures in so many seconds, which is also how long it stays open."""

    share: float
    window: float
    least: int = LEAST_CALLS

    @property
    def in_a_row(self) -> float:
        """As many failures in a row as would come up once in a million calls at a share just below this one.

        They are an outage, however many good calls the window holds from before.

        >>> [round(Trip(share, 30.0).in_a_row) for share in (0.1, 0.5, 0.9)]
        [10, 20, 131]
        """
        if self.share >= 1:
            return inf
        return max(self.least, log(_CHANCE) / log(self.share))


class Breaker:
    """The breaker of one key; `now` is monotonic seconds, `probes` how many were sent."""

    def __init__(self, trip: Trip) -> None:
        self._trip = trip
        self._in_a_row = trip.in_a_row
        self.state = State.CLOSED
        self._free_at = -inf
        self._succeeded_at = -inf
        self._slices: deque[list[float]] = deque()  # [begin, calls, failures]
        self._streak = 0  # failures one after the other
        self.probes = 0

    @property
    def is_open(self) -> bool:
        """Whether it lets nothing through, or one probe."""
        return self.state is not State.CLOSED

    @property
    def is_suspect(self) -> bool:
        """Whether the last calls have failed, so that it may open soon."""
        return self._streak > 1

    def free_at(self) -> float:
        """Return the moment from which one more job may start."""
        return self._free_at

    def start(self, now: float) -> int:
        """Let a job start; return the number of the probe that it is, 0 where it is none."""
        if self.state is State.CLOSED:
            return 0
        self.state = State.HALF_OPEN
        self.probes += 1
        self._free_at = now + self._trip.window  # the probe's deadline
        return self.probes

    def speaks(self, failed_at: float | None) -> bool:
        """Tell whether another failure of a job that first failed at `failed_at` says anything of what it calls."""
        return failed_at is None or failed_at >= self._succeeded_at

    def succeed(self, probe: int, now: float) -> None:
        """Take an answer of what is called."""
        if self._is_heard(probe):
            self._succeeded_at = now
            if self.state is not State.CLOSED:
                self._close()
            self._count(now, failed=False)

    def fail(self, probe: int, now: float) -> bool:
        """Take a failure that speaks against what is called; tell whether that opened it."""
        if not self._is_heard(probe):
            return False
        was_closed = self.state is State.CLOSED
        if was_closed:
            self._count(now, failed=True)
            if not self._is_too_much:
                return False
        self.state = State.OPEN
        self._free_at = now + self._trip.window
        return was_closed

    def ignore(self, probe: int, now: float) -> None:
        """Take the end of a call that says nothing; where it was the probe, the next job may be one."""
        if probe and self._is_heard(probe):
            self.state = State.OPEN
            self._free_at = now

    def _is_heard(self, probe: int) -> bool:
        """Tell whether a call counts: all while it is closed, else only the probe that is out."""
        if self.state is State.CLOSED:
            return True
        return self.state is State.HALF_OPEN and probe == self.probes

    @property
    def _is_too_much(self) -> bool:
        """Whether a share of the calls of the window failed, or so many of them in a row; of slow calls, the least."""
        if self._streak >= self._in_a_row:
            return True
        calls = sum(part[1] for part in self._slices)
        failures = sum(part[2] for part in self._slices)
        if calls < self._trip.least:
            return self._streak >= self._trip.least
        return failures >= self._trip.share * calls

    def _close(self) -> None:
        self.state = State.CLOSED
        self._free_at = -inf
        self._streak = 0
        self._slices.clear()

    def _count(self, now: float, *, failed: bool) -> None:
        self._streak = self._streak + 1 if failed else 0
        slices, width = self._slices, self._trip.window / _SLICES
        if not slices or now - slices[-1][0] >= width:
            slices.append([now, 0.0, 0.0])
        while now - slices[0][0] >= self._trip.window:
            slices.popleft()
        slices[-1][1] += 1
        slices[-1][2] += failed


class Breakers:
    """A breaker for each of many keys; `in_use` names those that jobs wait for or run behind.

    Of the others those that are closed are forgotten now and then.
    """

    def __init__(self, trip: Trip, in_use: Callable[[], AbstractSet[str | None]]) -> None:
        self._trip = trip
        self._in_use = in_use
        self._by_key: dict[str | None, Breaker] = {}
        self._sweep_at = _KEPT

    def of(self, key: str | None) -> Breaker:
        """Return the breaker of a key."""
        breaker = self._by_key.get(key)
        if breaker is None:
            if len(self._by_key) >= self._sweep_at:
                used = self._in_use()
                self._by_key = {name: one for name, one in self._by_key.items() if one.is_open or name in used}
                self._sweep_at = max(_KEPT, 2 * len(self._by_key))
            breaker = self._by_key[key] = Breaker(self._trip)
        return breaker

    def all(self) -> list[tuple[str | None, Breaker]]:
        """Return those that are not forgotten, with their keys."""
        return [*self._by_key.items()]

    def open(self) -> list[tuple[str | None, Breaker]]:
        """Return those that let nothing through, or one probe, with their keys."""
        return [(key, breaker) for key, breaker in self._by_key.items() if breaker.is_open]
