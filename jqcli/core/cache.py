"""The results of first jobs that duplicates asked for: the least recently used go first, bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jqcli.model import First

_ENTRY = 400  # bytes that an entry takes beside its result: key, First, id, slots


class Cache:
    """Firsts by identity, each until a moment (Unix seconds). A size of 0 keeps nothing.

    >>> from jqcli.model import First
    >>> cache = Cache(1000)
    >>> for key in (b"a", b"b", b"c"):
    ...     cache.put(key, First(key.decode(), "completed", b"1"), 60.0)
    >>> cache.get(b"a", 0.0), cache.get(b"c", 0.0).id, cache.get(b"c", 60.0)
    (None, 'c', None)
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._entries: OrderedDict[bytes, tuple[First, float]] = OrderedDict()

    def get(self, key: bytes, now: float) -> First | None:
        """Return the first of an identity, while it is kept and its time is not over."""
        found = self._entries.get(key)
        if found is None:
            return None
        if now >= found[1]:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return found[0]

    def put(self, key: bytes, first: First, until: float) -> None:
        """Keep a first, in place of those that were not asked for the longest."""
        if key in self._entries:
            self._drop(key)
        self._entries[key] = (first, until)
        self._free -= _size_of(first)
        while self._free < 0:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: bytes) -> None:
        self._free += _size_of(self._entries.pop(key)[0])


def _size_of(first: First) -> int:
    return _ENTRY + len(first.result or b"")
