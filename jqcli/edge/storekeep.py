"""Looks after a store from outside a run: what is in it, how large it is, and what it should forget."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from jqcli.core.codec import key_of_text
from jqcli.core.recall import split_keys
from jqcli.edge.storeclaims import claims_of
from jqcli.edge.storetree import drop_expired

if TYPE_CHECKING:
    from jqcli.edge.store import Store

_LIVE = "(ttl is null or at + ttl > ?)"
_KEPT_BYTES = "select coalesce(sum(length(keys) + length(records)), 0) from log"


class Part(NamedTuple):
    """What is remembered of one handler at one version; moments in Unix seconds."""

    handler: str
    name: str
    version: str
    tag: str
    keys: int
    size: int
    oldest_at: float | None
    newest_at: float | None


class Stats(NamedTuple):
    """What a store holds: its file's size, what has run out, the runs that are alive and what they have in flight."""

    parts: list[Part]
    file_bytes: int
    expired: int
    runs: int
    in_flight: int


def read_stats(store: Store, now: float) -> Stats:
    """Return what a store holds."""
    with store.held():
        rows = store.sql.execute(
            "select handler, name, version, tag, sum(length(keys)) / 16, sum(length(keys) + length(records)), min(at), "  # noqa: S608 - a constant
            f"max(at) from log join scope on scope.id = log.scope where {_LIVE} "
            "group by scope.id order by handler, name, version, tag",
            (now,),
        )
        parts = [Part(*row) for row in rows]
        expired = "select coalesce(sum(length(keys)) / 16, 0) from log where at + ttl <= ?"
        (gone,) = store.sql.execute(expired, (now,)).fetchone()
        claimed = {} if store.lock.is_deserted else claims_of(store.claims)
        in_flight = {run: keys for run, keys in claimed.items() if store.lock.is_alive(run)}
    return Stats(parts, os.path.getsize(store.path), gone, len(in_flight), sum(map(len, in_flight.values())))


def prune(store: Store, now: float, *, older_than: float | None, max_bytes: int | None) -> int:
    """Forget what has run out, what is older than so many seconds, and the oldest beyond so many bytes.

    Returns how many rows that were. The file is cut down to what is left.
    """
    gone = drop_expired(store, now)
    with store.transaction():
        if older_than is not None:
            gone += store.sql.execute("delete from log where at < ?", (now - older_than,)).rowcount
        if max_bytes is not None:
            gone += _drop_oldest(store, max_bytes)
        store.sql.execute("delete from known where row not in (select id from log)")
        if gone:
            store.forget_rows()
    _cut_down(store)
    return gone


def _drop_oldest(store: Store, max_bytes: int) -> int:
    (size,) = store.sql.execute(_KEPT_BYTES).fetchone()
    last = 0
    text = "select id, length(keys) + length(records) from log order by id"
    for number, octets in store.sql.execute(text):
        if size <= max_bytes:
            break
        size, last = size - octets, number
    return store.sql.execute("delete from log where id <= ?", (last,)).rowcount


def _cut_down(store: Store) -> None:
    with store.held():
        store.sql.executescript("pragma incremental_vacuum;")  # `execute` would free one page


def forget_handler(store: Store, handler: str) -> int:
    """Forget all that a handler did, at whatever version; named as registered, or by its spec. Returns the keys."""
    with store.transaction():
        scopes = store.sql.execute("select id from scope where handler = ? or name = ?", (handler, handler)).fetchall()
        gone = 0
        for (scope,) in scopes:
            count = "select coalesce(sum(length(keys)) / 16, 0) from log where scope = ?"
            gone += store.sql.execute(count, (scope,)).fetchone()[0]
            store.sql.execute("delete from log where scope = ?", (scope,))
            store.sql.execute("delete from known where scope = ?", (scope,))
        if gone:
            store.forget_rows()
    return gone


def forget_key(store: Store, text: str) -> int:
    """Forget one key, written as records write it (`tag:key`); returns in how many rows it stood.

    Raises ValueError where it is no such key.
    """
    tag, colon, rest = text.partition(":")
    if not colon or len(tag) != 6:
        raise ValueError(f"{text!r} is not a key as records carry it, such as 5f01ab:9f0c… or 5f01ab:=A-1001")
    key = key_of_text(rest)
    with store.transaction():
        rows = store.sql.execute(
            "select log.id, keys, records from log join scope on scope.id = log.scope where tag = ? and instr(keys, ?)",
            (tag, key),
        ).fetchall()
        gone = sum(_take_out(store, number, keys, records, key) for number, keys, records in rows)
        scopes = "select id from scope where tag = ?"
        store.sql.execute(f"delete from known where key = ? and scope in ({scopes})", (key, tag))  # noqa: S608 - a constant
        if gone:
            store.forget_rows()
    return gone


def _take_out(store: Store, number: int, row: bytes, records: bytes, key: bytes) -> bool:
    """Take one key and its record out of a row; tell whether it was there, for what was found may lie across two."""
    keys, lines = split_keys(row), records.split(b"\n")[:-1]
    left = [(one, line) for one, line in zip(keys, lines, strict=True) if one != key]
    if len(left) == len(keys):
        return False
    kept_keys = b"".join(one for one, _ in left)
    kept_lines = b"".join(line + b"\n" for _, line in left)
    if kept_keys:
        store.sql.execute("update log set keys = ?, records = ? where id = ?", (kept_keys, kept_lines, number))
    else:
        store.sql.execute("delete from log where id = ?", (number,))
    return True
