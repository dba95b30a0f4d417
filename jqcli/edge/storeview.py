"""A store that is only looked at: nothing is made, written or locked, not even by SQLite.

The file is read as if nobody could change it, once no commit is going on; where one never ends, since its run was
killed, a copy is read, in which SQLite takes it back. Whether a run is alive is asked for, and not tried, as those who
write may do.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import struct
import sys
import tempfile
import time
import urllib.parse
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from jqcli.edge.storeclaims import Claims
from jqcli.edge.storereader import ScopeName, StoreReader
from jqcli.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jqcli.core.recall import Row

_FLOCK = "hhqqi"  # type, whence, start, length, pid; as Linux has it
_COMMIT_LIMIT = 2.0  # seconds that a commit may take; one that takes longer has no end
_LOOK_EVERY = 0.01


class StoreView(StoreReader):
    """An open store, to be read; `claimed` are the rows of what runs have in flight, or let go, each with its scope.

    Raises the errors of a store.
    """

    claimed: list[tuple[int, Row]]

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self.lock = _Question(f"{path}-lock")
        try:
            with self.held():
                # Before the store: what is let go meanwhile was done by then.
                self.claimed = [] if self.lock.fd is None else Claims(self.lock.fd, self.lock.path).read_all()
                self.sql = self._open(os.path.abspath(path))
                self._set_up()
        except BaseException:
            self.close()
            raise

    def _open(self, path: str) -> sqlite3.Connection:
        if _is_quiet(path):
            uri = f"file:{urllib.parse.quote(path)}?mode=ro&immutable=1"
            return sqlite3.connect(uri, uri=True, isolation_level=None)
        self._copy = tempfile.TemporaryDirectory(prefix="jq-run-")
        copied = os.path.join(self._copy.name, "store")
        shutil.copyfile(f"{path}-journal", f"{copied}-journal")
        shutil.copyfile(path, copied)
        return sqlite3.connect(copied, isolation_level=None)

    def _set_up(self) -> None:
        self.is_made = self.check_made()
        self.sql.execute("create temp table number (n integer primary key)")

    def scope(self, name: ScopeName) -> int:
        """Return the number of a scope, 0 where nothing is remembered of it."""
        where = "tag = ? and name = ? and handler = ? and version = ?"
        found = self.sql.execute(f"select id from scope where {where}", name).fetchone()  # noqa: S608 - a constant
        return 0 if found is None else int(found[0])

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the errors ours; nothing is held."""
        with self._explained():
            yield

    def close(self) -> None:
        """Close the file."""
        if hasattr(self, "sql"):
            self.sql.close()
        if self._copy is not None:
            self._copy.cleanup()
        self.lock.close()


class _Question:
    """The lock of a store, of which is only asked who holds it; `fd` is None where there is none."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd: int | None = None
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise FileError(f"{path}: {error.strerror}") from error

    def is_alive(self, run: int) -> bool:
        """Tell whether a process is this run; where that cannot be asked, it may be."""
        if self.fd is None:
            return False
        if sys.platform != "linux":
            return True
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, run, 1, 0)
        try:
            (held, *_) = struct.unpack(_FLOCK, fcntl.fcntl(self.fd, fcntl.F_GETLK, asked))
        except OSError:
            return True
        return bool(held != fcntl.F_UNLCK)

    def close(self) -> None:
        """Close the file."""
        if self.fd is not None:
            os.close(self.fd)


def _is_quiet(path: str) -> bool:
    """Tell whether no commit is going on; one that is has some time to end."""
    deadline = time.monotonic() + _COMMIT_LIMIT
    while True:
        with suppress(FileNotFoundError):
            if os.path.getsize(f"{path}-journal"):
                if time.monotonic() > deadline:
                    return False
                time.sleep(_LOOK_EVERY)
                continue
        return True
