"""How many jobs may start in a time. Law 3: in no window of t seconds start more than burst + rate x t.

This is GCRA: a bucket keeps one moment, and no amount that rounding could wear away. The moment is the one at which
the bucket would be full again; a start moves it on by the time that one start is worth, and is allowed as long as it
stays within a burst of now.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

_BURST_SECONDS = 0.1  # of starts at once, where nothing is said: a loop that wakes up a little late loses none of them
_KEPT = 10_000


class Rate(NamedTuple):
    """Starts a second, and how many of them at once after a pause; None: a tenth of a second's, at least one."""

    per_second: float
    burst: float | None = None


class Bucket:
    """One limit. Moments are seconds of any one clock.

    >>> bucket = Bucket(Rate(10.0, 2))
    >>> for now in (5.0, 5.0):
    ...     bucket.take(now)
    >>> round(bucket.free_at(), 3)
    5.1
    """

    __slots__ = ("_burst", "_each", "_full_at")

    def __init__(self, rate: Rate | None = None) -> None:
        """Without a rate nothing limits but a pause."""
        self._each = 0.0 if rate is None else 1.0 / rate.per_second
        self._burst = 1.0
        if rate is not None:
            self._burst = float(rate.burst or max(1.0, rate.per_second * _BURST_SECONDS))
        self._full_at = -inf

    def free_at(self, cost: float = 1.0) -> float:
        """Return the moment from which a job of this cost may start; one above the burst waits for a full bucket."""
        return self._full_at - (self._burst - min(cost, self._burst)) * self._each

    def take(self, now: float, cost: float = 1.0) -> None:
        """Start a job now."""
        self._full_at = max(self._full_at, now) + cost * self._each

    def pause(self, until: float) -> None:
        """Let nothing start before that moment, and no burst at it."""
        self._full_at = max(self._full_at, until + (self._burst - 1.0) * self._each)

    def left(self, now: float) -> float:
        """Return how many starts there are at this moment; below 1 there is none."""
        return self._burst - max(0.0, self._full_at - now) / self._each if self._each else inf

    def is_full(self, now: float) -> bool:
        """Tell whether it is as good as new."""
        return self._full_at <= now


class Buckets:
    """A bucket for each of many keys; those that are full again are forgotten now and then."""

    def __init__(self, rate_of: Callable[[Hashable], Rate | None]) -> None:
        self._rate_of = rate_of
        self._by_key: dict[Hashable, Bucket] = {}
        self._sweep_at = _KEPT

    def of(self, key: Hashable, now: float) -> Bucket:
        """Return the bucket of a key. It is asked for anew at every start, as a full one may be another object."""
        bucket = self._by_key.get(key)
        if bucket is None:
            if len(self._by_key) >= self._sweep_at:
                self._by_key = {name: one for name, one in self._by_key.items() if not one.is_full(now)}
                self._sweep_at = max(_KEPT, 2 * len(self._by_key))
            bucket = self._by_key[key] = Bucket(self._rate_of(key))
        return bucket
