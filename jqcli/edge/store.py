"""The idempotency store: one SQLite file to which runs append what they claim, have done, and let go.

Law: every access happens under one lock that all runs share, and whoever writes has said so to the others before (see
`Claims`). The journal is SQLite's oldest one, which writes new pages once, where WAL writes all of them twice; what it
is bad at, many small commits, does not happen here: what is in flight stands elsewhere.

A row stands for a batch: its identities in a row of 16 bytes each and their records in the same order. Appending costs
the same however much is remembered; a random key in a tree of its own costs 15 to 20 µs. Rows that are too many to be
read at a start are folded into such a tree, in bulk and in the order of the keys, and a sieve before it keeps most
questions away.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections import OrderedDict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from jqcli.core.recall import DONE, Row, split_keys
from jqcli.core.sieve import Sieve
from jqcli.edge import failpoint
from jqcli.edge.storeclaims import Claims
from jqcli.edge.storelock import LONGEST_PAUSE, StoreLock
from jqcli.errors import FileError, ForeignFileError, LockedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jqcli.core.recall import New

SCHEMA = 2
FOLD_AT = 500_000  # identities that a start reads (0.4 µs and 130 bytes each) before they are folded into the tree
_APPLICATION = 0x6A71722D  # "jqr-"
_PAGE = 16_384  # rows are large: half the CPU time of pages of 4 KiB
_BUSY_SECONDS = 5.0
_ASKED_AT_ONCE = 4096
_FOLDED_AT_ONCE = 200_000  # identities, half a second or more; fewer would write a large tree more often
_ROWS_KEPT = 4
_KEPT_BYTES = 4 << 20
_INSERTED_AT_ONCE = 100  # rows; six values each, and SQLite before 3.32 takes 999
_TABLES = """
create table scope (
    id integer primary key, tag text not null, name text not null, handler text not null, version text not null,
    unique (tag, name, handler, version));
create table log (
    id integer primary key autoincrement, run integer not null, scope integer not null, at real not null, ttl real,
    keys blob not null, records blob not null);
create table known (
    key blob not null, scope integer not null, row integer not null, primary key (key, scope)) without rowid;
create table sieve (count integer not null, bits blob not null);
create table state (epoch integer not null, folded integer not null);
insert into state values (0, 0);
"""
_KNOWN = """
select substr(:keys, 16 * n + 1, 16), log.id, log.at, log.ttl from number
cross join known on known.key = substr(:keys, 16 * n + 1, 16) and known.scope = :scope
cross join log on log.id = known.row where n < :count
"""
_FOLD = """
insert or replace into known (key, scope, row)
select substr(keys, 16 * n + 1, 16), scope, id from log cross join number on n < length(keys) / 16
where id > ? and id <= ? order by 1, id
"""


class ScopeName(NamedTuple):
    """Whose identities these are: the tag, the handler that a line chose ('' for the default), its spec and version."""

    tag: str
    name: str
    handler: str
    version: str


class Found(NamedTuple):
    """An identity in the tree: its row, when it was done (Unix seconds) and for how long that counts."""

    row: int
    at: float
    ttl: float | None


class Store:
    """An open store.

    Raises LockedError where another program has it for too long, ForeignFileError where it is another program's, and
    FileError where it is broken, cannot be written, was removed, or was made by a newer jq-run.
    """

    def __init__(self, path: str, *, create: bool = True) -> None:
        self.path = path
        _check_place(path, create=create)
        self.lock = StoreLock(path)
        self.claims = Claims(self.lock.fd, self.lock.path)
        self._made = os.stat(path)
        self._rows: OrderedDict[int, dict[bytes, bytes]] = OrderedDict()
        self._numbers = 0
        try:
            with self.held():
                # By one thread at a time: the one that writes beside the run is waited for first.
                self.sql = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
                self._set_up()
        except BaseException:
            self.close()
            raise

    def _check_made(self) -> bool:
        """Tell whether there is anything in the file; raises errors where it is not ours, or a newer one."""
        (application,) = self.sql.execute("pragma application_id").fetchone()
        (version,) = self.sql.execute("pragma user_version").fetchone()
        (tables,) = self.sql.execute("select count(*) from sqlite_schema").fetchone()
        if tables and application != _APPLICATION:
            raise ForeignFileError(f"{self.path}: is a database of another program; choose another --store")
        if version > SCHEMA:
            raise FileError(f"{self.path}: made by a newer jq-run (schema {version}, here {SCHEMA}); update this one")
        if tables and version < SCHEMA:
            raise FileError(f"{self.path}: made by an older jq-run (schema {version}); move it away to begin a new one")
        return bool(tables)

    def _set_up(self) -> None:
        tables = self._check_made()
        if not tables:
            self.sql.execute(f"pragma page_size = {_PAGE}")
            self.sql.execute("pragma auto_vacuum = incremental")
        self.sql.execute("pragma journal_mode = truncate")
        self.sql.execute("pragma synchronous = full")
        self.sql.execute("pragma cache_size = -32768")
        if not tables:
            marks = f"pragma application_id = {_APPLICATION}; pragma user_version = {SCHEMA};"
            self.sql.executescript(f"begin immediate; {_TABLES} {marks} commit;")
        self.sql.execute("create temp table number (n integer primary key)")

    # Access

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the shared lock for as long as the block lasts; SQLite's errors in it become ours."""
        with self.lock.held():
            self._check_still()
            with self._explained():
                yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the lock, and write all that is written in the block or nothing; it outlives a power cut."""
        with self.held():
            self.claims.announce()
            with self._written():
                yield

    @contextmanager
    def _written(self) -> Iterator[None]:
        failpoint.hit("store.begin")
        self.sql.execute("begin immediate")
        try:
            yield
            failpoint.hit("store.commit")
            self.sql.execute("commit")
        except BaseException:
            with suppress(sqlite3.Error):
                self.sql.execute("rollback")
            raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._explain(error) from error
        except OSError as error:
            raise FileError(f"{self.path}: {error.strerror}") from error

    def close(self) -> None:
        """Close the file."""
        if hasattr(self, "sql"):  # it could be opened
            with suppress(sqlite3.Error, LockedError, FileError), self.lock.held():
                self.sql.execute("pragma journal_mode = delete")  # which takes the empty journal away
                self.sql.close()
            with suppress(sqlite3.Error):
                self.sql.close()  # also where the lock is not to be had; the second time it does nothing
        self.lock.close()

    def _check_still(self) -> None:
        try:
            is_same = os.path.samestat(os.stat(self.path), self._made) and self.lock.is_still()
        except OSError:
            is_same = False
        if not is_same:
            raise FileError(f"{self.path}: the store was removed or replaced while it was in use")

    def _explain(self, error: sqlite3.Error) -> FileError | LockedError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return LockedError(f"{self.path}: locked by another program for over {_BUSY_SECONDS:.0f} s")
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return FileError(f"{self.path}: is no store, or is damaged ({error}); move it away to begin a new one")
        return FileError(f"{self.path}: {error}")

    # What runs append, to be called in a transaction

    def scope(self, name: ScopeName) -> int:
        """Return the number of a scope, which is made where there is none."""
        self.sql.execute("insert or ignore into scope (tag, name, handler, version) values (?, ?, ?, ?)", name)
        where = "tag = ? and name = ? and handler = ? and version = ?"
        (number,) = self.sql.execute(f"select id from scope where {where}", name).fetchone()  # noqa: S608 - a constant
        return int(number)

    def append(self, rows: Sequence[New]) -> range:
        """Append rows; return their numbers."""
        last = 0
        for at in range(0, len(rows), _INSERTED_AT_ONCE):
            part = rows[at : at + _INSERTED_AT_ONCE]
            # One call for many, since a thread waits after each one for its turn to run Python.
            marks = ", ".join(["(?, ?, ?, ?, ?, ?)"] * len(part))
            text = f"insert into log (run, scope, at, ttl, keys, records) values {marks}"  # noqa: S608 - question marks
            last = int(self.sql.execute(text, [value for row in part for value in row]).lastrowid or 0)
        return range(last - len(rows) + 1, last + 1)

    def append_held(self, rows: Sequence[New]) -> range:
        """Append rows in a transaction of their own, with the lock held and others told; return their numbers."""
        with self._explained(), self._written():
            return self.append(rows)

    # What runs read, to be called with the lock held

    def state(self) -> tuple[int, int]:
        """Return the epoch, which changes when rows are taken away, and the last row that was folded."""
        epoch, folded = self.sql.execute("select epoch, folded from state").fetchone()
        return epoch, folded

    def read(self, after: int, folded: int, scopes: Sequence[int]) -> Iterator[Row]:
        """Yield the rows of these scopes behind a number and behind those that were folded, in order."""
        marks = ", ".join("?" * len(scopes))
        text = f"select id, run, at, ttl, keys from log where id > ? and scope in ({marks}) order by id"  # noqa: S608 - the marks are question marks
        for number, run, at, ttl, keys in self.sql.execute(text, (max(after, folded), *scopes)):
            yield Row(number, run, DONE, at, ttl, keys)

    def read_sieve(self) -> Sieve | None:
        """Return the sieve of the identities in the tree, None where there are none."""
        found = self.sql.execute("select count, bits from sieve").fetchone()
        return None if found is None else Sieve(bytearray(found[1]), found[0])

    def look_up(self, scope: int, keys: bytes) -> dict[bytes, Found]:
        """Return which of these identities are in the tree."""
        found: dict[bytes, Found] = {}
        self._count_to(min(len(keys) // 16, _ASKED_AT_ONCE))
        step = 16 * _ASKED_AT_ONCE
        for at in range(0, len(keys), step):
            part = keys[at : at + step]
            rows = self.sql.execute(_KNOWN, {"keys": part, "scope": scope, "count": len(part) // 16})
            found |= {key: Found(row, done_at, ttl) for key, row, done_at, ttl in rows}
        return found

    def record(self, row: int, key: bytes) -> bytes | None:
        """Return the record of an identity in a row, None where it is gone."""
        if row not in self._rows:
            with self.held():
                found = self.sql.execute("select keys, records from log where id = ?", (row,)).fetchone()
            if found is None:
                return None
            keys, records = found
            lines = dict(zip(split_keys(keys), records.split(b"\n"), strict=False))
            if len(records) > _KEPT_BYTES:
                return lines.get(key)
            self._rows[row] = lines
            if len(self._rows) > _ROWS_KEPT:
                self._rows.popitem(last=False)
        return self._rows[row].get(key)

    # Many rows

    def fold(self) -> int:
        """Fold rows into the tree where a start would read too many; return the last row that is folded.

        The lock is let go between the steps, for long enough that others come in.
        """
        while True:
            with self.transaction():
                _, folded = self.state()
                last = self._last_to_fold(folded)
                if last is None:
                    return folded
                longest = "select max(length(keys)) / 16 from log where id > ? and id <= ?"
                self._count_to(self.sql.execute(longest, (folded, last)).fetchone()[0])
                self.sql.execute(_FOLD, (folded, last))
                self._sieve_too(folded, last)
                self.sql.execute("update state set folded = ?", (last,))
            time.sleep(2 * LONGEST_PAUSE)

    def drop_expired(self, now: float) -> int:
        """Take away the rows whose time is over, from the tree too, in steps like `fold`; return how many."""
        gone = 0
        while True:
            with self.transaction():
                count = self._drop_some(now)
            if not count:
                return gone
            gone += count
            time.sleep(2 * LONGEST_PAUSE)

    def _drop_some(self, now: float) -> int:
        _, folded = self.state()
        rows: list[tuple[int]] = []
        known: list[tuple[bytes, int, int]] = []
        text = "select id, scope, case when id <= ? then keys else x'' end from log where at + ttl <= ? order by id"
        for number, scope, keys in self.sql.execute(text, (folded, now)):
            rows.append((number,))
            known += [(key, scope, number) for key in split_keys(keys)]
            if len(known) >= _FOLDED_AT_ONCE:
                break
        known.sort()  # as the tree is
        self.sql.executemany("delete from known where key = ? and scope = ? and row = ?", known)
        self.sql.executemany("delete from log where id = ?", rows)
        return len(rows)

    def _sieve_too(self, after: int, last: int) -> None:
        """Put the rows that were folded into the sieve; a larger one is filled from the tree."""
        where, values = "id > ? and id <= ?", (after, last)
        total = f"select sum(length(keys)) / 16 from log where {where}"  # noqa: S608 - a constant
        sieve, count = self.read_sieve(), self.sql.execute(total, values).fetchone()[0]
        if sieve is None or not sieve.is_large_enough(sieve.count + count):
            (every,) = self.sql.execute("select sum(length(keys)) / 16 from log").fetchone()
            sieve = Sieve.for_count(max(every, 2 * (count + (sieve.count if sieve else 0))))
            rows = self.sql.execute("select key from known")
        else:
            rows = self.sql.execute(f"select keys from log where {where}", values)  # noqa: S608 - as above
        while part := rows.fetchmany(_ASKED_AT_ONCE):
            sieve.add(b"".join([keys for (keys,) in part]))
        self.sql.execute("delete from sieve")
        self.sql.execute("insert into sieve values (?, ?)", (sieve.count, sieve.bits))

    def _last_to_fold(self, folded: int) -> int | None:
        """Return the last row of the next step, None where there is too little to fold."""
        total, last = 0, None
        text = "select id, length(keys) / 16 from log where id > ? order by id"
        for number, count in self.sql.execute(text, (folded,)):
            total += count
            if last is None or total <= _FOLDED_AT_ONCE:
                last = number
            if total >= max(FOLD_AT, _FOLDED_AT_ONCE):
                break
        return last if total >= FOLD_AT else None

    def _count_to(self, count: int) -> None:
        """Have the numbers below `count` in a table, by which rows of identities are taken apart."""
        if count > self._numbers:
            self.sql.executemany("insert into number values (?)", ((n,) for n in range(self._numbers, count)))
            self._numbers = count

    def forget_rows(self) -> None:
        """Let the runs that are alive read all anew, for what they have read may be gone."""
        self._rows.clear()
        self.sql.execute("update state set epoch = epoch + 1")


def _check_place(path: str, *, create: bool) -> None:
    """Make the file, private from the start: what SQLite puts beside it inherits the mode."""
    folder = os.path.dirname(path) or "."
    try:
        if os.path.islink(path) and os.stat(folder).st_mode & stat.S_IWOTH:
            raise FileError(f"{path}: is a link in a folder that all may write to; name the file itself")
        if os.path.exists(path) and not os.path.isfile(path):
            raise FileError(f"{path}: is no regular file")
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600))
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error
