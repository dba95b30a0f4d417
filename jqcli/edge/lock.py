"""Advisory locks on files. A lock dies with its process; nothing is left behind."""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

from jqcli.edge import failpoint
from jqcli.errors import FileError, LockedError, StopNow

if TYPE_CHECKING:
    from collections.abc import Callable

_LOCK_WAIT = 10.0  # seconds; a DLQ is locked for one append at a time
_LOCK_STEP = 0.005
_RUN_STEP = 0.05


class Patience:
    """How long a run waits for another one to end: `seconds`, or until it is no longer wanted itself.

    `say` is told, once, that it waits, and for whom.
    """

    def __init__(
        self, seconds: float, is_wanted: Callable[[], bool] = lambda: True, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._until = time.monotonic() + seconds
        self._is_wanted = is_wanted
        self._say = say
        self._is_said = False

    def wait(self, message: str) -> None:
        """Wait a moment; raises LockedError when it is over, StopNow when the run is not wanted any more."""
        if time.monotonic() >= self._until:
            raise LockedError(message)
        if not self._is_wanted():
            raise StopNow
        if not self._is_said:
            self._say(f"{message}; waiting for it to end")
            self._is_said = True
        time.sleep(min(_RUN_STEP, max(0.0, self._until - time.monotonic())))


def lock_for_run(fd: int, path: str, patience: Patience) -> None:
    """Lock a results file for the life of this run; raises LockedError, with the holder's pid, where one has it."""
    while True:
        try:
            failpoint.hit("results.lock")
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = find_holder(fd)
            who = f"process {holder}" if holder else "another process"
            patience.wait(f"{path}: another run writes to this file ({who})")
        except OSError as error:
            raise FileError(f"{path}: cannot be locked: {error.strerror}") from error
        else:
            return


def lock_for_append(fd: int, path: str) -> None:
    """Lock a shared file for one write; raises LockedError after some seconds."""
    deadline = time.monotonic() + _LOCK_WAIT
    while True:
        try:
            failpoint.hit("letters.lock")
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LockedError(f"{path}: locked by process {find_holder(fd)} for over {_LOCK_WAIT:.0f} s") from None
            time.sleep(_LOCK_STEP)
        except OSError as error:
            raise FileError(f"{path}: cannot be locked: {error.strerror}") from error
        else:
            return


def unlock(fd: int) -> None:
    """Give a lock back."""
    fcntl.flock(fd, fcntl.LOCK_UN)


def is_still(fd: int, path: str) -> bool:
    """Tell whether the path still names the open file."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except OSError:
        return False


def find_holder(fd: int) -> int | None:
    """Return the pid that holds a lock on the file, as far as the kernel says so."""
    status = os.fstat(fd)
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii") as file:
            for line in file:
                words = line.split()
                if words[1] == "FLOCK" and wanted in words:
                    return int(words[words.index(wanted) - 1])
    except (OSError, ValueError, IndexError):
        return None
    return None
