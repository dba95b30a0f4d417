"""Who may write to a store, and which of its runs are alive: both by locks that the kernel drops with their holder.

One file beside the store, never removed: its first byte is locked for each access, and each run holds the byte of its
own number for its life. They are POSIX locks, which this process would lose by closing the file a second time; so the
file is opened once. SQLite's own file is not used, for the same reason.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jqcli.errors import FileError, LockedError

if TYPE_CHECKING:
    from collections.abc import Iterator

_WAIT = 30.0  # seconds; one transaction is milliseconds, but a step of folding a large store takes some seconds
_STEP = 0.0005
_DOOR = 0


class StoreLock:
    """The lock of one store; runs are numbers from 1 on."""

    def __init__(self, store: str) -> None:
        self.path = f"{store}-lock"
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise FileError(f"{self.path}: {error.strerror}") from error
        self._depth = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the store for as long as the block lasts, which may stand in another; raises LockedError after 30 s."""
        if not self._depth:
            self._wait()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, _DOOR)

    def enter(self, run: int) -> None:
        """Be this run from now on."""
        if not self._take(run):
            raise LockedError(f"{self.path}: another run has the number {run}")

    def leave(self, run: int) -> None:
        """Be this run no longer."""
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, run)

    def is_alive(self, run: int) -> bool:
        """Tell whether another process is this run."""
        if not self._take(run):
            return True
        self.leave(run)
        return False

    def close(self) -> None:
        """Let all go."""
        os.close(self._fd)

    def _wait(self) -> None:
        deadline = time.monotonic() + _WAIT
        while not self._take(_DOOR):
            if time.monotonic() > deadline:
                raise LockedError(f"{self.path}: held by another process for over {_WAIT:.0f} s")
            time.sleep(_STEP)

    def _take(self, byte: int) -> bool:
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):  # POSIX allows either
            return False
        except OSError as error:
            raise FileError(f"{self.path}: cannot be locked: {error.strerror}") from error
        return True
