"""Makes what was written outlive a power cut."""

from __future__ import annotations

import errno
import os
import threading

from jqcli.edge import failpoint
from jqcli.errors import FileError


def sync_file(fd: int, path: str, *, is_placed: bool, point: str = "sync") -> None:
    """Make a file outlive a power cut; where it was not `is_placed` yet, its name in its folder too.

    `point` names the place for failpoints.
    """
    try:
        failpoint.hit(point)
        os.fdatasync(fd)
        if not is_placed:
            sync_folder(path)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror} while syncing") from error


class BackgroundSync:
    """Syncs a file while more is written to it; one sync at a time."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: FileError | None = None

    @property
    def is_running(self) -> bool:
        """Whether one has begun that has not ended."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, fd: int, path: str, *, is_placed: bool, point: str) -> None:
        """Begin to sync what is in the file now, see `sync_file`; not while another one is running."""

        def run() -> None:
            try:
                sync_file(fd, path, is_placed=is_placed, point=point)
            except FileError as error:
                self._error = error

        self.end()
        self._thread = threading.Thread(target=run, name="sync", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Wait until the one that runs has ended; raises its FileError, and does so from then on."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            raise self._error


def sync_folder(path: str) -> None:
    """Make the name of the file at a path outlive a power cut; raises OSError."""
    fd = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that has no such thing
            raise
    finally:
        os.close(fd)
