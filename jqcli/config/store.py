"""What the options and the file say about the store and the result cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jqcli import value as v
from jqcli.config.given import Given, pick
from jqcli.config.option import STORE_ERRORS
from jqcli.config.path import check_target, is_same
from jqcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_CACHE_SIZE = 64 << 20


def read_store(given: Mapping[str, Given], *, dedupe: bool, others: Iterable[str | None]) -> dict[str, Any]:
    """Return the settings of store and cache; raises UsageError where they contradict others.

    `others` are the files of the run, none of which can be the store.
    """
    for name in ("ttl", "on_store_error"):
        if name in given and "store" not in given:
            raise UsageError(f"{given[name].where}: says nothing without --store")
    store = pick(given, "store", v.text, None)
    if store is not None:
        where = given["store"].where
        check_target(given, "store", store)
        if not dedupe:
            raise UsageError(f"{where}: a store keeps equal jobs from running twice, and --dedupe off lets them")
        if any(other is not None and other != "-" and is_same(store, other) for other in others):
            raise UsageError(f"{where}: {Path(store)} is another file of this run; choose a file of its own")
    is_cached = pick(given, "cache", v.flag, default=True)
    size = pick(given, "cache_size", v.size_or_off, _CACHE_SIZE)
    return {
        "store": store,
        "ttl": pick(given, "ttl", v.some_seconds, None),
        "on_store_error": pick(given, "on_store_error", v.choice(*STORE_ERRORS), "stop"),
        "cache_size": size if is_cached else 0,
    }
