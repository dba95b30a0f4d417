"""How many retries there may be beside first attempts, so that an outage is not multiplied.

Retries are limited like starts, only that the clock is the number of first attempts: in no window of n first attempts
and t seconds are there more than share x (100 + n) + 1 + floor x t retries. One above that waits; it never dies of it.
"""

from __future__ import annotations

from jqcli.core.limit import Bucket, Rate

FREE_JOBS = 100  # as many first attempts are thought to have been before
FLOOR = Rate(10.0, 1.0)  # retries a second in any case; what is left at the end of the input drains at this


class Budget:
    """The budget of a run: retries at most this share (0 to 1) of first attempts."""

    def __init__(self, share: float) -> None:
        self._share = Bucket(Rate(share, max(1.0, share * FREE_JOBS)))
        self._floor = Bucket(FLOOR)
        self._firsts = 0

    def free_at(self, now: float) -> float:
        """Return the moment from which a retry may start, as things stand."""
        return now if self._share.free_at() <= self._firsts else self._floor.free_at()

    def left(self, now: float) -> float:
        """Return how many retries may start at this moment."""
        return max(0.0, self._share.left(self._firsts)) + max(0.0, self._floor.left(now))

    def note_first(self) -> None:
        """Count a first attempt."""
        self._firsts += 1

    def take(self, now: float) -> None:
        """Start a retry now."""
        if self._share.free_at() <= self._firsts:
            self._share.take(self._firsts)
        else:
            self._floor.take(now)
