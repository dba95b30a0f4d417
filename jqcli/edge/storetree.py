"""A large memory: rows that are too many to be read at a start are folded into a tree, with a sieve before it.

Both are worked on in steps, between which the store is let go for long enough that others come in.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jqcli.core.recall import split_keys
from jqcli.core.sieve import Sieve
from jqcli.edge.storelock import LONGEST_PAUSE
from jqcli.edge.storereader import ASKED_AT_ONCE

if TYPE_CHECKING:
    from jqcli.edge.store import Store

FOLD_AT = 500_000  # identities that a start reads (0.4 µs and 130 bytes each) before they are folded into the tree
_FOLDED_AT_ONCE = 200_000  # identities, half a second or more; fewer would write a large tree more often
_FOLD = """
insert or replace into known (key, scope, row)
select substr(keys, 16 * n + 1, 16), scope, id from log cross join number on n < length(keys) / 16
where id > ? and id <= ? order by 1, id
"""


def fold(store: Store) -> int:
    """Fold rows into the tree where a start would read too many; return the last row that is folded.

    The lock is let go between the steps, for long enough that others come in.
    """
    while True:
        with store.transaction():
            _, folded = store.state()
            last = _last_to_fold(store, folded)
            if last is None:
                return folded
            longest = "select max(length(keys)) / 16 from log where id > ? and id <= ?"
            store.count_to(store.sql.execute(longest, (folded, last)).fetchone()[0])
            store.sql.execute(_FOLD, (folded, last))
            _sieve_too(store, folded, last)
            store.sql.execute("update state set folded = ?", (last,))
        time.sleep(2 * LONGEST_PAUSE)


def drop_expired(store: Store, now: float) -> int:
    """Take away the rows whose time is over, from the tree too, in steps like `fold`; return how many."""
    gone = 0
    while True:
        with store.transaction():
            count = _drop_some(store, now)
        if not count:
            return gone
        gone += count
        time.sleep(2 * LONGEST_PAUSE)


def _drop_some(store: Store, now: float) -> int:
    _, folded = store.state()
    rows: list[tuple[int]] = []
    known: list[tuple[bytes, int, int]] = []
    text = "select id, scope, case when id <= ? then keys else x'' end from log where at + ttl <= ? order by id"
    for number, scope, keys in store.sql.execute(text, (folded, now)):
        rows.append((number,))
        known += [(key, scope, number) for key in split_keys(keys)]
        if len(known) >= _FOLDED_AT_ONCE:
            break
    known.sort()  # as the tree is
    store.sql.executemany("delete from known where key = ? and scope = ? and row = ?", known)
    store.sql.executemany("delete from log where id = ?", rows)
    return len(rows)


def _sieve_too(store: Store, after: int, last: int) -> None:
    """Put the rows that were folded into the sieve; a larger one is filled from the tree."""
    where, values = "id > ? and id <= ?", (after, last)
    total = f"select sum(length(keys)) / 16 from log where {where}"  # noqa: S608 - a constant
    sieve, count = store.read_sieve(), store.sql.execute(total, values).fetchone()[0]
    if sieve is None or not sieve.is_large_enough(sieve.count + count):
        (every,) = store.sql.execute("select sum(length(keys)) / 16 from log").fetchone()
        sieve = Sieve.for_count(max(every, 2 * (count + (sieve.count if sieve else 0))))
        rows = store.sql.execute("select key from known")
    else:
        rows = store.sql.execute(f"select keys from log where {where}", values)  # noqa: S608 - as above
    while part := rows.fetchmany(ASKED_AT_ONCE):
        sieve.add(b"".join([keys for (keys,) in part]))
    store.sql.execute("delete from sieve")
    store.sql.execute("insert into sieve values (?, ?)", (sieve.count, sieve.bits))


def _last_to_fold(store: Store, folded: int) -> int | None:
    """Return the last row of the next step, None where there is too little to fold."""
    total, last = 0, None
    text = "select id, length(keys) / 16 from log where id > ? order by id"
    for number, count in store.sql.execute(text, (folded,)):
        total += count
        if last is None or total <= _FOLDED_AT_ONCE:
            last = number
        if total >= max(FOLD_AT, _FOLDED_AT_ONCE):
            break
    return last if total >= FOLD_AT else None
