"""Finds the record of the first job of an identity for its duplicates: held, in the results, or in the store."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING

from jqcli.core.settled import claim_key
from jqcli.edge.sink import search_records

if TYPE_CHECKING:
    from jqcli.claimer import Claimer
    from jqcli.core.cache import Cache
    from jqcli.core.settled import Settled
    from jqcli.core.window import Window
    from jqcli.edge.sink import Results
    from jqcli.model import First, Job


class Finder:
    """Looks where a record can be, nearest first."""

    def __init__(
        self,
        tag: str,
        results: Results,
        settled: Settled,
        window: Window | None,
        cache: Cache,
        claimer: Claimer | None,
    ) -> None:
        self._tag = tag
        self._cache = cache
        self._claimer = claimer
        self._results = results
        self._settled = settled
        self._window = window

    def find(self, spot: tuple[int, float] | None, job: Job) -> First | None:
        """Return the completed or skipped first of a job's identity: of the cache, the results, or the store.

        `spot` is the batch that took the identity, and how far down in it the line stands.
        """
        first = self._cache.get(job.key, time.time())
        if first is not None:
            return first
        first, until = self._search(spot, job), inf
        if first is None and self._claimer is not None:
            first, until = self._claimer.find(spot, job)
        if first is not None:
            self._cache.put(job.key, first, until)
        return first

    def _search(self, spot: tuple[int, float] | None, job: Job) -> First | None:
        key_text = f"{self._tag}:{job.key_text}"
        if spot is not None:
            held = b"" if self._window is None else self._window.peek(spot[0])
            found = search_records(held, key_text) or self._results.find(*spot, key_text)
            if found is not None:
                return found
        offset = self._settled.done_at(claim_key(job.key, job.payload_hash))
        return None if offset is None else self._results.find_at(offset, key_text)
