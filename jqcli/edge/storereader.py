"""What is read from the idempotency store, by a run that has it open and by whoever only looks at it."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from jqcli.core.recall import DONE, Row, split_keys
from jqcli.core.sieve import Sieve
from jqcli.errors import FileError, ForeignFileError, LockedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

SCHEMA = 2
APPLICATION = 0x6A71722D  # "jqr-"
BUSY_SECONDS = 5.0
ASKED_AT_ONCE = 4096
_ROWS_KEPT = 4
_KEPT_BYTES = 4 << 20
_KNOWN = """
select substr(:keys, 16 * n + 1, 16), log.id, log.at, log.ttl from number
cross join known on known.key = substr(:keys, 16 * n + 1, 16) and known.scope = :scope
cross join log on log.id = known.row where n < :count
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


class StoreReader(ABC):
    """The file of a store, at `path`; SQLite's errors become ours in `held`, in which all is to be called."""

    sql: sqlite3.Connection

    def __init__(self, path: str) -> None:
        self.path = path
        self._rows: OrderedDict[int, dict[bytes, bytes]] = OrderedDict()
        self._numbers = 0

    @abstractmethod
    def held(self) -> AbstractContextManager[None]:
        """Keep what is read from changing for as long as the block lasts, as far as it can be kept."""

    def check_made(self) -> bool:
        """Tell whether there is anything in the file; raises errors where it is not ours, or a newer one."""
        (application,) = self.sql.execute("pragma application_id").fetchone()
        (version,) = self.sql.execute("pragma user_version").fetchone()
        (tables,) = self.sql.execute("select count(*) from sqlite_schema").fetchone()
        if tables and application != APPLICATION:
            raise ForeignFileError(f"{self.path}: is a database of another program; choose another --store")
        if version > SCHEMA:
            raise FileError(f"{self.path}: made by a newer jq-run (schema {version}, here {SCHEMA}); update this one")
        if tables and version < SCHEMA:
            raise FileError(f"{self.path}: made by an older jq-run (schema {version}); move it away to begin a new one")
        return bool(tables)

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
        self.count_to(min(len(keys) // 16, ASKED_AT_ONCE))
        step = 16 * ASKED_AT_ONCE
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

    def count_to(self, count: int) -> None:
        """Have the numbers below `count` in a table, by which rows of identities are taken apart."""
        if count > self._numbers:
            self.sql.executemany("insert into number values (?)", ((n,) for n in range(self._numbers, count)))
            self._numbers = count

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._explain(error) from error
        except OSError as error:
            raise FileError(f"{self.path}: {error.strerror}") from error

    def _explain(self, error: sqlite3.Error) -> FileError | LockedError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return LockedError(f"{self.path}: locked by another program for over {BUSY_SECONDS:.0f} s")
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return FileError(f"{self.path}: is no store, or is damaged ({error}); move it away to begin a new one")
        return FileError(f"{self.path}: {error}")
