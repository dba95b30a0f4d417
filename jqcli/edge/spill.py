"""Scratch space in a file without a name, which only this process can read and which is gone with it."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jqcli.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Spill:
    """At most `most` bytes in a file in `folder` (None: where temporary files go), made when it is first needed.

    A disk that is full is one on which there is no room.
    """

    def __init__(self, folder: str | None, most: int) -> None:
        self._folder = folder
        self._most = most
        self._fd = -1  # the file goes with the process, as late as that
        self._size = 0

    def append(self, data: bytes) -> int | None:
        """Return the offset at which `data` now stands, None where there is no room for it."""
        if self._size + len(data) > self._most:
            return None
        try:
            if self._fd < 0:
                with tempfile.TemporaryFile(buffering=0, dir=self._folder) as file:
                    self._fd = os.dup(file.fileno())
            written = os.pwrite(self._fd, data, self._size)
        except OSError:
            return None
        if written < len(data):
            return None
        self._size += len(data)
        return self._size - len(data)

    def write(self, offset: int, data: bytes) -> None:
        """Write over what stands there."""
        with _naming_the_file():
            os.pwrite(self._fd, data, offset)

    def read(self, offset: int, size: int) -> bytes:
        """Return what stands there."""
        with _naming_the_file():
            return os.pread(self._fd, size, offset)

    def clear(self) -> None:
        """Forget all, and give the disk its space back."""
        self._size = 0
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)


@contextmanager
def _naming_the_file() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(f"the file of jobs that were set aside (--spill): {error.strerror}") from error
