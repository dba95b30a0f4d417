"""Makes what was written outlive a power cut."""

from __future__ import annotations

import errno
import os

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
