"""Scratch space in a file without a name, which only this process can read and which is gone with it.

The file is made of segments. Data are appended to one of them, and one in which nothing is needed any more is written
anew; so the file is as large as what was needed at once, and what lives long between what does not.
"""

from __future__ import annotations

import errno
import os
import tempfile
from bisect import insort
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jqcli.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator

SEGMENT = 1 << 18  # bytes


class Spill:
    """At most `most` bytes in a file in `folder` (None: where temporary files go), made when it is first needed.

    A disk that is full is one on which there is no room.
    """

    def __init__(self, folder: str | None, most: int) -> None:
        self._folder = folder
        self._most = most
        self._fd = -1  # the file goes with the process, as late as that
        self._at = self._end = 0  # where the next data go, and how far
        self._needed: list[int] = []  # bytes by segment
        self._free: list[int] = []  # segments of which nothing is needed, in order
        self._total = 0

    def append(self, data: bytes) -> int | None:
        """Return the offset at which `data` now stands, None where there is no room for it."""
        if self._at + len(data) > self._end and not self._open(len(data)):
            return None
        try:
            if self._fd < 0:
                with tempfile.TemporaryFile(buffering=0, dir=self._folder) as file:
                    self._fd = os.dup(file.fileno())
            written = os.pwrite(self._fd, data, self._at)
        except OSError:
            written = 0
        if written < len(data):
            self._shut()
            return None
        offset, self._at = self._at, self._at + len(data)
        self._count(offset, len(data))
        return offset

    def write(self, offset: int, data: bytes) -> None:
        """Write over what stands there."""
        with _naming_the_file():
            written = os.pwrite(self._fd, data, offset)
            if written < len(data):
                raise OSError(errno.EIO, f"only {written} of {len(data)} bytes were written")

    def read(self, offset: int, size: int) -> bytes:
        """Return what stands there."""
        with _naming_the_file():
            return os.pread(self._fd, size, offset)

    def free(self, offset: int, size: int) -> None:
        """Forget what was appended there; where nothing else is left, give the disk its space back."""
        self._count(offset, -size)
        if self._total == 0:
            self._at = self._end = 0
            self._needed.clear()
            self._free.clear()
            with _naming_the_file():
                os.ftruncate(self._fd, 0)

    def _open(self, size: int) -> bool:
        """Choose other segments for data that do not fit behind the last ones; tell whether there is room."""
        number = -(-size // SEGMENT)
        first = self._find_free(number)
        begin = first * SEGMENT
        if begin + size > self._most:
            return False
        if first == len(self._needed):
            self._needed += [0] * number
        else:
            self._free = [segment for segment in self._free if not first <= segment < first + number]
        left, self._at, self._end = self._opened, begin, min(begin + number * SEGMENT, self._most)
        if left is not None and not self._needed[left]:
            self._set_free(left)
        return True

    def _shut(self) -> None:
        """Give back the segments that were opened for data which could not be written."""
        opened = range(self._at // SEGMENT, -(-self._end // SEGMENT))
        if self._needed[opened.start]:  # it was opened for others
            return
        self._at = self._end = 0
        for segment in opened:
            self._set_free(segment)

    @property
    def _opened(self) -> int | None:
        """The segment in which there may be room yet."""
        return (self._end - 1) // SEGMENT if self._end else None

    def _find_free(self, number: int) -> int:
        """Return the first of so many free segments in a row; behind the last one there are enough."""
        run = 0
        for at, segment in enumerate(self._free):
            run = run + 1 if at and segment == self._free[at - 1] + 1 else 1
            if run == number:
                return segment - number + 1
        return len(self._needed)

    def _count(self, offset: int, size: int) -> None:
        """Count bytes as needed, or, where `size` is negative, as not needed any more."""
        sign, at, end = (1 if size > 0 else -1), offset, offset + abs(size)
        self._total += size
        while at < end:
            segment = at // SEGMENT
            part = min(end, (segment + 1) * SEGMENT) - at
            self._needed[segment] += sign * part
            at += part
            if not self._needed[segment] and segment != self._opened:
                self._set_free(segment)

    def _set_free(self, segment: int) -> None:
        if segment not in self._free:
            insort(self._free, segment)
        while self._free and self._free[-1] == len(self._needed) - 1:  # so that more in a row begin here
            self._free.pop()
            self._needed.pop()


@contextmanager
def _naming_the_file() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(f"the file of jobs that were set aside (--spill): {error.strerror}") from error
