"""Small files that are replaced whole, so that a reader never sees half of one."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from jqcli.edge.target import PLANTED, is_planted_link

FOR_ALL = 0o666  # less the umask
OWN = 0o600


def replace_file(path: str, data: bytes, mode: int = FOR_ALL) -> None:
    """Put `data` where `path` leads, by rename; nothing is synced. Raises OSError, and leaves nothing behind then."""
    target = _resolve(path)
    fd, temporary = _open_temporary(target, mode)
    try:
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(fd, left) :]
        finally:
            os.close(fd)
        os.replace(temporary, target)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def try_file(path: str) -> None:
    """Raise OSError where `replace_file` could not write at this path now."""
    fd, temporary = _open_temporary(_resolve(path), OWN)
    os.close(fd)
    os.unlink(temporary)


def _resolve(path: str) -> str:
    """Return where a path leads; raises OSError, for a planted link too."""
    if is_planted_link(path):
        raise PermissionError(errno.EPERM, PLANTED, path)
    return os.path.realpath(path)


def _open_temporary(target: str, mode: int) -> tuple[int, str]:
    """Return a new file beside `target` that is open for writing, and its path."""
    folder, name = os.path.split(target)
    # Hidden, and without the suffix by which collectors find their files.
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    with suppress(FileNotFoundError):
        os.unlink(temporary)
    return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode), temporary
