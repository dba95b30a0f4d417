"""What a store says of a run that is only thought of."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jqcli.core.recall import REMEMBERED, Recall
from jqcli.core.record import read_first

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jqcli.edge.storereader import ScopeName
    from jqcli.edge.storeview import StoreView
    from jqcli.model import First, Job

_NOBODY = 0  # the number of no run


class Remembered:
    """A store as the next run would find it; `ttl` is that run's own. Raises FileError or LockedError."""

    def __init__(self, store: StoreView, scopes: Mapping[str | None, ScopeName], ttl: float | None) -> None:
        self._store = store
        self._recall = Recall(_NOBODY, ttl)
        with store.held():
            self._sieve = store.read_sieve() if store.is_made else None
            self._scopes = {handler: store.scope(name) if store.is_made else 0 for handler, name in scopes.items()}
            numbers = list(self._scopes.values())
            for scope, row in store.claimed:
                if scope in numbers:
                    self._recall.learn(row)
            if store.is_made:
                for row in store.read(0, store.state()[1], numbers):
                    self._recall.learn(row)

    def judge(self, wanted: Mapping[str | None, bytes]) -> dict[bytes, str]:
        """Return what those identities are, given by the handler that their lines chose, that would not be run."""
        known: dict[bytes, str] = {}
        now = time.time()
        for handler, keys in wanted.items():
            known |= self._recall.judge(keys, now, self._store.lock.is_alive)
            found = self._look_up(handler, keys)
            known |= {
                key: REMEMBERED for key, (_, at, ttl) in found.items() if now < self._recall.fresh_until(key, at, ttl)
            }
        return known

    def find(self, job: Job) -> First | None:
        """Return the first of an identity; None where its record is gone."""
        found = self._recall.find(job.key) or self._look_up(job.asks.handler, job.key).get(job.key)
        record = None if found is None else self._store.record(found[0], job.key)
        return None if record is None else read_first(record)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _look_up(self, handler: str | None, keys: bytes) -> dict[bytes, tuple[int, float, float | None]]:
        likely = b"" if self._sieve is None else self._sieve.sift(keys)
        if not likely:
            return {}
        with self._store.held():
            return dict(self._store.look_up(self._scopes[handler], likely))
