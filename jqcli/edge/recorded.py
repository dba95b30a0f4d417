"""A file of records, open for nothing but reading: verify changes nothing, and takes no lock."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Self

from jqcli.edge.journal import read_blocks
from jqcli.edge.lock import find_holder
from jqcli.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Recorded:
    """A results file or a DLQ as far as it goes now; a run may append meanwhile.

    Raises FileError where it cannot be read. With `may_miss`, one that is not there is empty. `torn` is the number of
    the last line where that has no newline (0: it has), `holder` the pid of the run that holds the file, where the
    kernel tells.
    """

    def __init__(self, path: str, *, may_miss: bool = False) -> None:
        self.path = path
        self.torn = 0
        self.torn_bytes = 0
        self.holder: int | None = None
        self._fd = -1
        self._end = 0
        try:
            # Non-blocking, or a FIFO that nobody writes to would hold us up for ever.
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            status = os.fstat(self._fd)
        except FileNotFoundError as error:
            if not may_miss:
                raise FileError(f"{path}: {error.strerror}") from None
            return
        except OSError as error:
            raise FileError(f"{path}: {error.strerror}") from None
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise FileError(f"{path}: is no regular file, so nothing can be counted in it")
        self._end = status.st_size
        self.holder = find_holder(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> Iterator[tuple[int, bytes]]:
        """Yield whole lines, with the number of the first; note whether the last line is torn."""
        line, end = 1, 0
        for offset, block in read_blocks(self._fd, self.path, self._end) if self._fd >= 0 else ():
            yield line, block
            line += block.count(b"\n")
            end = offset + len(block)
        self.torn_bytes = self._end - end
        self.torn = line if self.torn_bytes else 0

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
