"""Counts by name where there may be very many names: the first so many have a number of their own, others share one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMED = 20
REST = "rest"


@dataclass(frozen=True, slots=True)
class Share:
    """How many fall to a name, and of which kind that is; to all others together the kind is `rest`."""

    kind: str
    name: str
    count: int


class Census:
    """Who has a number: whoever is counted first keeps it, so that what is drawn over time is one line.

    >>> census = Census(named=2)
    >>> census.count([(("tenant", "a"), 3)])
    (Share(kind='tenant', name='a', count=3),)
    >>> for share in census.count([(("tenant", "b"), 1), (("tenant", "c"), 5), (("tenant", "d"), 2)]):
    ...     share
    Share(kind='tenant', name='a', count=0)
    Share(kind='tenant', name='b', count=1)
    Share(kind='rest', name='', count=7)
    """

    def __init__(self, named: int = NAMED) -> None:
        self._room = named
        self._named: dict[tuple[str, str | None], int] = {}
        self._has_rest = False

    def count(self, found: Iterable[tuple[tuple[str, str | None], int]]) -> tuple[Share, ...]:
        """Return the shares of what was found now; several counts of one name are added up."""
        counts, rest = dict.fromkeys(self._named, 0), 0
        for who, count in found:
            if who in counts:
                counts[who] += count
            elif len(counts) < self._room:
                counts[who] = count
            else:
                rest += count
                self._has_rest = True
        self._named = counts
        shares = tuple(Share(kind, name or "", count) for (kind, name), count in counts.items())
        return (*shares, Share(REST, "", rest)) if self._has_rest else shares
