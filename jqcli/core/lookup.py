"""Finds places in a file by a number of 80 bits, at some 50 bytes of memory each; a dict takes three times that."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PLACE_BITS = 64
_PLACE_MASK = (1 << _PLACE_BITS) - 1


def entry(number: int, place: int) -> int:
    """Return a number and a place of it as one; what a `Lookup` is made of."""
    return number << _PLACE_BITS | place


class Lookup:
    """Numbers and their places, one number possibly at several.

    >>> lookup = Lookup([entry(7, 100), entry(9, 40), entry(7, 20)])
    >>> lookup.last(7), lookup.last(8)
    (100, None)
    >>> [lookup.take(7) for _ in range(3)], lookup.take(9)
    ([20, 100, None], 40)
    """

    def __init__(self, entries: Iterable[int] = ()) -> None:
        self._entries = sorted(entries)
        self._is_taken = bytearray(len(self._entries))
        self._counts: dict[int, int] = {}

    def __len__(self) -> int:
        """Return how many places there are."""
        return len(self._entries)

    def __contains__(self, number: int) -> bool:
        """Tell whether a number has a place."""
        return self.last(number) is not None

    def last(self, number: int) -> int | None:
        """Return the last place of a number, None where it has none."""
        at = bisect_left(self._entries, (number + 1) << _PLACE_BITS) - 1
        return self._place(at, number)

    def take(self, number: int) -> int | None:
        """Return the first place of a number that was not taken, and take it."""
        first = bisect_left(self._entries, number << _PLACE_BITS)
        if self._place(first, number) is None:
            return None
        # Nearly every number has one place; only for the others a count is kept.
        done = self._counts.get(number, 1) if self._is_taken[first] else 0
        place = self._place(first + done, number)
        if place is not None:
            self._is_taken[first + done] = 1
            if done:
                self._counts[number] = done + 1
        return place

    def untaken(self) -> Iterator[int]:
        """Yield the places that were not taken, in the order of the numbers."""
        for at, entry in enumerate(self._entries):
            if not self._is_taken[at]:
                yield entry & _PLACE_MASK

    def _place(self, at: int, number: int) -> int | None:
        is_there = 0 <= at < len(self._entries) and self._entries[at] >> _PLACE_BITS == number
        return self._entries[at] & _PLACE_MASK if is_there else None
