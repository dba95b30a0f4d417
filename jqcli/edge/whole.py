"""Small files that are replaced whole, so that a reader never sees half of one."""

from __future__ import annotations

import os
from contextlib import suppress

FOR_ALL = 0o644
OWN = 0o600


def replace_file(path: str, data: bytes, mode: int = FOR_ALL) -> None:
    """Put `data` where `path` leads, by rename; nothing is synced. Raises OSError, and leaves nothing behind then."""
    folder, name = os.path.split(os.path.realpath(path))
    # Hidden, and without the suffix by which collectors find their files.
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    with suppress(FileNotFoundError):
        os.unlink(temporary)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(fd, left) :]
        finally:
            os.close(fd)
        os.replace(temporary, os.path.join(folder, name))
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise
