"""The idempotency store: one SQLite file to which runs append what they claim, have done, and let go.

Law: every access happens under one lock that all runs share, and whoever writes has said so to the others before (see
`Claims`). The journal is SQLite's oldest one, which writes new pages once, where WAL writes all of them twice; what it
is bad at, many small commits, does not happen here: what is in flight stands elsewhere.

A row stands for a batch: its identities in a row of 16 bytes each and their records in the same order. Appending costs
the same however much is remembered; a random key in a tree of its own costs 15 to 20 µs, see `storetree`.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from jqcli.edge import failpoint
from jqcli.edge.storeclaims import Claims
from jqcli.edge.storelock import StoreLock
from jqcli.edge.storereader import APPLICATION, BUSY_SECONDS, SCHEMA, StoreReader
from jqcli.errors import FileError, LockedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jqcli.core.recall import New
    from jqcli.edge.storereader import ScopeName

_PAGE = 16_384  # rows are large: half the CPU time of pages of 4 KiB
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


class Store(StoreReader):
    """An open store, as a run has it.

    Raises LockedError where another program has it for too long, ForeignFileError where it is another program's, and
    FileError where it is broken, cannot be written, was removed, or was made by a newer jq-run.
    """

    def __init__(self, path: str, *, create: bool = True) -> None:
        super().__init__(path)
        _check_place(path, create=create)
        self.lock = StoreLock(path)
        self.claims = Claims(self.lock.fd, self.lock.path)
        self._made = os.stat(path)
        try:
            with self.held():
                # By one thread at a time: the one that writes beside the run is waited for first.
                self.sql = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
                self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        tables = self.check_made()
        if not tables:
            self.sql.execute(f"pragma page_size = {_PAGE}")
            self.sql.execute("pragma auto_vacuum = incremental")
        self.sql.execute("pragma journal_mode = truncate")
        self.sql.execute("pragma synchronous = full")
        self.sql.execute("pragma cache_size = -32768")
        if not tables:
            marks = f"pragma application_id = {APPLICATION}; pragma user_version = {SCHEMA};"
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

    def close(self) -> None:
        """Close the file."""
        if hasattr(self, "sql"):  # it could be opened
            with suppress(sqlite3.Error, LockedError, FileError), self.lock.held():
                self.sql.execute("pragma busy_timeout = 0")  # who has it now may keep the journal
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
