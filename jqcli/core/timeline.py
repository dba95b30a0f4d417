"""Amounts over time in bounded memory: a fixed number of buckets, which merge by two when time outgrows them."""

from __future__ import annotations

from dataclasses import dataclass
from operator import add
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BUCKETS = 240  # as many as a chart can show on a page; an even number
_WIDTH = 0.025  # seconds at first: 6 s in all, then 12, 24 …


@dataclass(slots=True, eq=False)
class Row:
    """A number for each bucket; `join` makes one of two."""

    values: list[float]
    join: Callable[[float, float], float]


class Timeline:
    """Rows of numbers that share their buckets, each of `width` seconds; moments are seconds since the beginning.

    >>> timeline = Timeline(buckets=4, width=1.0)
    >>> jobs, most = timeline.add_row(), timeline.add_row(max)
    >>> timeline.spread(jobs, 0.5, 2.5, 8.0)
    >>> timeline.put(most, 3.0, 5.0)
    >>> jobs.values, most.values
    ([2.0, 4.0, 2.0, 0.0], [0.0, 0.0, 0.0, 5.0])
    >>> timeline.put(jobs, 4.0, 1.0)
    >>> timeline.width, jobs.values, most.values
    (2.0, [6.0, 2.0, 1.0, 0.0], [0.0, 5.0, 0.0, 0.0])
    """

    def __init__(self, buckets: int = BUCKETS, width: float = _WIDTH) -> None:
        self.width = width
        self._buckets = buckets
        self._rows: list[Row] = []

    def add_row(self, join: Callable[[float, float], float] = add) -> Row:
        """Return a new row of zeros, of sums or, with `max`, of highest values."""
        row = Row([0.0] * self._buckets, join)
        self._rows.append(row)
        return row

    def reach(self, at: float) -> int:
        """Return the bucket of a moment, merging until there is one."""
        while at >= self.width * self._buckets:
            self.width *= 2
            for row in self._rows:
                merged = map(row.join, row.values[::2], row.values[1::2])
                row.values = [*merged, *[0.0] * (self._buckets // 2)]
        return min(int(max(at, 0.0) / self.width), self._buckets - 1)

    def put(self, row: Row, at: float, amount: float) -> None:
        """Join an amount to the bucket of a moment."""
        place = self.reach(at)
        row.values[place] = row.join(row.values[place], amount)

    def hold(self, row: Row, begin: float, end: float, amount: float) -> None:
        """Join what was seen at `end` to all buckets behind that of `begin`, the moment of the look before."""
        last = self.reach(end)
        for place in range(min(self.reach(begin) + 1, last), last + 1):
            row.values[place] = row.join(row.values[place], amount)

    def spread(self, row: Row, begin: float, end: float, amount: float) -> None:
        """Spread an amount evenly over the time from `begin` to `end`; the row is one of sums."""
        last = self.reach(end)
        begin = max(begin, 0.0)
        first, values = self.reach(begin), row.values
        if first >= last or end <= begin:
            values[last] += amount
            return
        width, pace = self.width, amount / (end - begin)
        values[first] += ((first + 1) * width - begin) * pace
        for place in range(first + 1, last):
            values[place] += width * pace
        values[last] += (end - last * width) * pace
