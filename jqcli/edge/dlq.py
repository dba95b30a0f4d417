"""Where dead letters go: a file that other runs may append to as well."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from jqcli.edge import failpoint
from jqcli.edge.lock import is_still, lock_for_append, unlock
from jqcli.edge.sync import sync_file
from jqcli.edge.tail import GOES_ON, cut_torn_tail, write_whole
from jqcli.edge.target import open_target
from jqcli.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Letters:
    """The dead-letter file. Other runs may append to it too, so it is locked for each append and never rewritten."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = self._open()
        self._end = 0  # of what this run appended to this very file
        self._is_synced = os.fstat(self._fd).st_size == 0
        self._is_placed = False

    @property
    def has_any(self) -> bool:
        """Whether any letter is in the file."""
        return os.fstat(self._fd).st_size > 0

    def append(self, letters: bytes) -> None:
        """Append whole letters; raises FileError or LockedError."""
        with self.locked() as fd:
            cut_torn_tail(fd, self.path)
            self._check_end()
            write_whole(fd, letters, self.path, "letters.append")
            self._end = os.fstat(fd).st_size
        self._is_synced = False

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Lock the file for as long as the block lasts, and give its descriptor."""
        self._lock()
        try:
            yield self._fd
        finally:
            unlock(self._fd)

    def check(self) -> None:
        """Look whether this run's letters are there; others may append to the file, or put a new one in its place.

        A redrive removes that new one where it leaves no letter in it.
        """
        if self._end and not os.path.lexists(self.path) and not is_replaced(self._fd):
            raise FileError(f"{self.path}: was removed while this run wrote to it; {GOES_ON}")
        if is_still(self._fd, self.path):
            self._check_end()

    def _check_end(self) -> None:
        if os.fstat(self._fd).st_size < self._end:
            raise FileError(f"{self.path}: was cut by another program while this run wrote to it; {GOES_ON}")

    def sync(self) -> None:
        """Sync, if there is anything new, and at first what earlier runs left."""
        if not self._is_synced:
            sync_file(self._fd, self.path, is_placed=self._is_placed, point="letters.sync")
            self._is_synced = self._is_placed = True

    def close(self) -> bool:
        """Remove the file if it is empty; tell whether it is still there. Raises FileError or LockedError."""
        self._lock()
        try:
            is_empty = not self.has_any
            if is_empty:
                failpoint.hit("letters.unlink")
                os.unlink(self.path)
        except OSError as error:
            raise FileError(f"{self.path}: {error.strerror}") from error
        finally:
            os.close(self._fd)
        return not is_empty

    def _lock(self) -> None:
        """Take the lock on the file that the path names: another program may have put a new one there."""
        while True:
            lock_for_append(self._fd, self.path)
            if is_still(self._fd, self.path):
                return
            os.close(self._fd)
            self._fd = self._open()
            self._end = 0
            self._is_placed = False

    def _open(self) -> int:
        try:
            failpoint.hit("letters.open")
            return open_target(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise FileError(f"{self.path}: {error.strerror}") from error


def mark_replaced(fd: int) -> None:
    """Let the runs that have this file open see that its letters were dealt with, whatever becomes of the new one.

    The file has no name any more, so a mode that lets nobody in keeps nobody out.
    """
    with suppress(OSError):  # another user's: a run that cannot see it stops rather than lose a letter
        os.fchmod(fd, 0)


def is_replaced(fd: int) -> bool:
    """Tell whether a redrive has put a new file into the place of this one."""
    return not stat.S_IMODE(os.fstat(fd).st_mode)
