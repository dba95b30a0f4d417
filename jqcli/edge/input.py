"""One input of a run: checked early, opened late, read without ever waiting."""

from __future__ import annotations

import errno
import os
import re
import select
import stat
from pathlib import Path

from jqcli.edge.unpack import MAGIC_BYTES, Unpacker, check_magic
from jqcli.errors import FileError, InputError, UsageError, printable

# 128 and 256 KiB are as fast, 1 MiB costs 0.06 µs more a 115-byte line, with 26,000 page faults, not 0.
READ_BYTES = 64 * 1024
_INHERITED = re.compile(r"/dev/fd/(\d+)|/proc/self/fd/(\d+)", re.ASCII)
_SUFFIXES = re.compile(r"(\.(jsonl|ndjson|json|txt))?(\.(gz|bz2|xz|zst))?$", re.IGNORECASE)


class Input:
    """The contents of a file, pipe, FIFO, terminal or socket, unpacked.

    Raises UsageError at once where `path` cannot be an input, InputError later where reading fails.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = "<stdin>" if path == "-" else printable(path)
        self.is_ended = False
        self.raw_read = 0
        self.unpacked = 0
        self.fd = -1
        self._inherited = _inherited_fd(path)
        status = self._check()
        self.size = self._measure(status)
        self._file = -1, -1
        self.is_pollable = False
        self._poll = select.poll()
        self._unpacker = Unpacker(self.name)

    @property
    def stem(self) -> str:
        """The name without folder and without the usual suffixes."""
        if self.path == "-":
            return "stdin"
        base = printable(self.path).rpartition("/")[2]
        return _SUFFIXES.sub("", base) or base

    @property
    def is_lasting(self) -> bool:
        """Whether it is a file whose contents stand in it as they are, so that they can be read again."""
        return self.size is not None and self._inherited is None and self._unpacker.is_plain

    @property
    def raw_used(self) -> int:
        """Raw bytes that the contents given out so far were made from."""
        return self.raw_read - self._unpacker.pending

    def open(self) -> None:
        """Open the input; a FIFO without a writer does not hold up."""
        try:
            # The open description of a named input is ours alone, so it may be non-blocking.
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
            self.fd = os.open(self.path, flags) if self._inherited is None else self._inherited
            status = os.fstat(self.fd)
        except OSError as error:
            raise InputError(f"{self.name}: {error.strerror}") from None
        self._file = status.st_dev, status.st_ino
        self.is_pollable = not (stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode))
        if self.is_pollable:
            self._poll.register(self.fd, select.POLLIN)

    def read(self) -> bytes | None:
        """Return the next contents, about 64 KiB at most; None while there are none, nothing at the end."""
        while True:
            contents = self._unpacker.take(READ_BYTES)
            if contents or self.is_ended:
                self.unpacked += len(contents)
                return contents
            raw = self._read_raw()
            if raw is None:
                return None
            self.is_ended = not raw
            self.raw_read += len(raw)
            self._unpacker.feed(raw)

    def give(self) -> int:
        """Return the descriptor of a file that is lasting; it is the caller's from here on."""
        fd, self.fd = self.fd, -1
        return fd

    def open_again(self) -> int:
        """Open a file that is lasting once more; raises FileError where another one stands there."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOCTTY)
        except OSError as error:
            raise FileError(f"{self.name}: {error.strerror}; lines of it were to be read again") from None
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) != self._file:
            os.close(fd)
            raise FileError(f"{self.name}: is another file than before; lines of it were to be read again")
        return fd

    def close(self) -> None:
        """Close what was opened here; an inherited descriptor stays open."""
        fd, self.fd = self.fd, -1
        if fd >= 0 and self._inherited is None:
            os.close(fd)

    def _read_raw(self) -> bytes | None:
        try:
            if self.is_pollable and not self._poll.poll(0):
                return None
            return os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise InputError(f"{self.name}: {error.strerror}") from None

    def _check(self) -> os.stat_result:
        try:
            status = Path(self.path).stat() if self._inherited is None else os.fstat(self._inherited)
            if stat.S_ISREG(status.st_mode) and self._inherited is None:
                fd = os.open(self.path, os.O_RDONLY)
                try:
                    check_magic(os.read(fd, MAGIC_BYTES), self.name)
                finally:
                    os.close(fd)
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.name}: {getattr(error, 'strerror', error)}") from None
        if stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{self.name}: is a directory; name the files in it")
        if stat.S_ISSOCK(status.st_mode) and self._inherited is None:
            raise UsageError(f"{self.name}: is a socket, which cannot be opened as a file")
        if self._inherited is None and not os.access(self.path, os.R_OK):
            raise UsageError(f"{self.name}: {os.strerror(errno.EACCES)}")
        return status

    def _measure(self, status: os.stat_result) -> int | None:
        """Return the raw bytes still to be read, None where that cannot be known."""
        if not stat.S_ISREG(status.st_mode):
            return None
        done = 0 if self._inherited is None else os.lseek(self._inherited, 0, os.SEEK_CUR)
        return max(0, status.st_size - done)


def _inherited_fd(path: str) -> int | None:
    """Return the descriptor that `path` stands for, None for a path of its own.

    `<(command)` arrives as such a path. Opened anew, a pipe whose writer has gone never tells its end.
    """
    if path in {"-", "/dev/stdin"}:
        return 0
    match = _INHERITED.fullmatch(path)
    return int(match[1] or match[2]) if match else None
