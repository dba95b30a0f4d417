"""Makes what was written outlive a power cut."""

from __future__ import annotations

import errno
import os

from jqcli.errors import FileError


def sync_file(fd: int, path: str, *, is_placed: bool) -> None:
    """Make a file outlive a power cut; where it was not `is_placed` yet, its name in its folder too."""
    try:
        os.fdatasync(fd)
        if not is_placed:
            _sync_folder(os.path.dirname(path) or ".")
    except OSError as error:
        raise FileError(f"{path}: {error.strerror} while syncing") from error


def _sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that has no such thing
            raise
    finally:
        os.close(fd)
