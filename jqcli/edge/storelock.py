"""Who may write to a store, and which of its runs are alive: both by locks that the kernel drops with their holder.

One file beside the store, never removed: its first byte is locked for each access, and each run holds the byte of its
own number for its life. They are POSIX locks, which this process would lose by closing the file a second time; so the
file is opened once. SQLite's own file is not used, for the same reason. Threads of this process hold the first byte
together.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from jqcli.errors import FileError, LockedError

if TYPE_CHECKING:
    from collections.abc import Iterator

_WAIT = 30.0  # seconds; one transaction is milliseconds, but a step of folding a large store may take some seconds
_FIRST_PAUSE = 0.0005
LONGEST_PAUSE = 0.01  # seconds between two tries; who takes the lock again and again leaves more between
_DOOR = 0
_FIRST_RUN = 1


class StoreLock:
    """The lock of one store; runs are numbers from 1 on. `fd` is the open file."""

    def __init__(self, store: str) -> None:
        self.path = f"{store}-lock"
        try:
            self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise FileError(f"{self.path}: {error.strerror}") from error
        self._made = os.fstat(self.fd)
        self._depth = 0
        self._mutex = Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the store for as long as the block lasts, which may stand in another; raises LockedError after 30 s."""
        self.take()
        try:
            yield
        finally:
            self.drop()

    def take(self) -> None:
        """Hold the store until `drop`, which may be called by another thread."""
        with self._mutex:
            if not self._depth:
                self._wait()
            self._depth += 1

    def drop(self) -> None:
        """Hold the store once less."""
        with self._mutex:
            self._depth -= 1
            if not self._depth:
                fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, _DOOR)

    def is_still(self) -> bool:
        """Tell whether the file that others would lock is the one that is locked here."""
        return os.path.samestat(os.stat(self.path), self._made)

    @property
    def is_deserted(self) -> bool:
        """Whether no other process is a run; to be asked before this one is."""
        if not self._take(_FIRST_RUN, length=0):
            return False
        fcntl.lockf(self.fd, fcntl.LOCK_UN, 0, _FIRST_RUN)
        return True

    def enter(self, run: int) -> None:
        """Be this run from now on."""
        if not self._take(run):
            raise LockedError(f"{self.path}: another run has the number {run}")

    def leave(self, run: int) -> None:
        """Be this run no longer."""
        fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, run)

    def is_alive(self, run: int) -> bool:
        """Tell whether another process is this run."""
        if not self._take(run):
            return True
        self.leave(run)
        return False

    def close(self) -> None:
        """Let all go."""
        os.close(self.fd)

    def _wait(self) -> None:
        deadline, pause = time.monotonic() + _WAIT, _FIRST_PAUSE
        while not self._take(_DOOR):
            if time.monotonic() > deadline:
                raise LockedError(f"{self.path}: held by another process for over {_WAIT:.0f} s")
            time.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE)

    def _take(self, byte: int, length: int = 1) -> bool:
        """Lock bytes, to the end of all with a length of 0; tell whether they could be had."""
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, length, byte)
        except (BlockingIOError, PermissionError):  # POSIX allows either
            return False
        except OSError as error:
            raise FileError(f"{self.path}: cannot be locked: {error.strerror}") from error
        return True
