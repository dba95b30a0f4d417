"""Where results go. A file holds only whole records, whatever happens; a stream is never waited for."""

from __future__ import annotations

import errno
import os
import select
import stat
from array import array
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import orjson

from jqcli.core.exact import load_exact
from jqcli.core.record import read_first
from jqcli.edge import failpoint
from jqcli.edge.errand import Errand
from jqcli.edge.lock import is_still
from jqcli.edge.sync import sync_file
from jqcli.edge.tail import GOES_ON, write_whole
from jqcli.errors import FileError, ReaderGoneError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jqcli.model import First

_PIPE_BUF = 4096  # POSIX's least; a pipe that polls writable takes this much without blocking
_RECENT_BYTES = 64 << 20
_FULL_BYTES = 4 << 20
_FIND_BYTES = 1 << 18
_NEAR_BYTES = 1 << 14
UNNUMBERED = 0  # in place of a batch's number, for records that nobody will look for


class Results(Protocol):
    """Takes result records, and finds them again for duplicates."""

    def append(self, batch: int, records: Sequence[bytes | memoryview]) -> None:
        """Append whole records of a batch (or UNNUMBERED); raises FileError or ReaderGoneError."""

    def find(self, batch: int, share: float, key_text: str) -> First | None:
        """Return the completed or skipped record that a batch wrote for a key (`tag:…`), if it can be had.

        `share` is how far down the batch its line stands; it is looked for there first.
        """

    def find_at(self, offset: int, key_text: str) -> First | None:
        """Return the first completed or skipped record of a key from an offset of the file on."""

    def flush(self) -> bool:
        """Write on without blocking; tell whether anything is left."""

    def check(self) -> None:
        """Raise FileError where another program has taken away or changed what was appended."""

    def sync(self) -> None:
        """Make what was appended outlive a power cut; raises FileError."""

    def begin_sync(self, least: int) -> None:
        """Begin to do so beside the run, where that many bytes wait for it; raises the FileError of an earlier one."""

    @property
    def is_full(self) -> bool:
        """Whether no further work should be started for now."""

    @property
    def wait_fd(self) -> int:
        """The descriptor that takes more when it is writable."""

    def close(self) -> None:
        """Close what was opened."""


class ResultsFile:
    """Results in a regular file, which this run alone writes to."""

    is_full = False
    wait_fd = -1

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._path = path
        self._end = os.lseek(fd, 0, os.SEEK_END)
        # What an earlier run wrote may have outlived its death, and yet not be on the disk.
        self._synced_end = 0
        self._is_placed = False
        self._syncing: Errand[None] | None = None  # the last one that began
        # By batch: where its first record starts and its last ends (0: there is none).
        self._starts = array("Q", [0])
        self._ends = array("Q", [0])

    def append(self, batch: int, records: Sequence[bytes | memoryview]) -> None:
        """Append whole records of a batch."""
        data = records[0] if len(records) == 1 else b"".join(records)
        if not data:
            return
        self._check_end()
        write_whole(self._fd, data, self._path, "results.append")
        self._end += len(data)
        if batch != UNNUMBERED:
            self._note(batch, self._end - len(data))

    def _note(self, batch: int, start: int) -> None:
        if batch >= len(self._ends):
            missing = bytes(8 * (batch + 1 - len(self._ends)))
            self._starts.frombytes(missing)
            self._ends.frombytes(missing)
        if not self._ends[batch]:
            self._starts[batch] = start
        self._ends[batch] = self._end

    def find(self, batch: int, share: float, key_text: str) -> First | None:
        """Return the record that a batch wrote for a key."""
        if batch >= len(self._ends) or not self._ends[batch]:
            return None
        start, end = self._starts[batch], self._ends[batch]
        near = start + int((end - start) * share) - _NEAR_BYTES // 2
        data = self._read(max(0, min(_NEAR_BYTES, end - near)), max(start, near))
        found = search_records(data[data.find(b"\n") + 1 :] if near > start else data, key_text)
        if found is not None:
            return found
        return search_records(self._read(end - start, start), key_text)

    def find_at(self, offset: int, key_text: str) -> First | None:
        """Return the first record of a key from an offset on."""
        rest = b""
        while data := self._read(max(_FIND_BYTES, len(rest)), offset):  # as in the journal
            offset += len(data)
            lines, newline, rest = (rest + data).rpartition(b"\n")
            found = search_records(lines + newline, key_text)
            if found is not None:
                return found
        return None

    def _read(self, size: int, offset: int) -> bytes:
        try:
            return os.pread(self._fd, size, offset)
        except OSError as error:
            raise FileError(f"{self._path}: {error.strerror} while reading it") from error

    def flush(self) -> bool:
        """Nothing is ever left."""
        return False

    def check(self) -> None:
        """Look whether the file is there, and as long as this run left it."""
        if not is_still(self._fd, self._path):
            raise FileError(f"{self._path}: was removed or replaced while this run wrote to it; {GOES_ON}")
        self._check_end()

    def _check_end(self) -> None:
        if os.lseek(self._fd, 0, os.SEEK_END) != self._end:
            raise FileError(f"{self._path}: was changed by another program while this run wrote to it; {GOES_ON}")

    def sync(self) -> None:
        """Sync, if there is anything new, and at first what an earlier run left.

        A failed sync is never tried again, since the kernel has dropped the data.
        """
        self._wait()
        if self._synced_end < self._end:
            sync_file(self._fd, self._path, is_placed=self._is_placed, point="results.sync")
            self._synced_end = self._end
            self._is_placed = True

    def begin_sync(self, least: int) -> None:
        """Begin to sync while the run goes on; not while an earlier one is running."""
        if self._end - self._synced_end >= max(1, least) and (self._syncing is None or self._syncing.is_over):
            self._wait()
            is_placed = self._is_placed
            self._syncing = Errand(lambda: sync_file(self._fd, self._path, is_placed=is_placed, point="results.sync"))
            self._synced_end = self._end
            self._is_placed = True

    def close(self) -> None:
        """Close the file; its lock goes with it."""
        with suppress(FileError):  # which the last sync has raised, or there is a worse error
            self._wait()
        os.close(self._fd)

    def _wait(self) -> None:
        """Wait for the sync that goes on beside the run; raises its FileError, and does so from then on."""
        if self._syncing is not None:
            self._syncing.wait()


class ResultsStream:
    """Results on stdout, or on anything else that is no regular file.

    It cannot be read again, so the latest records are kept for duplicates, 64 MiB at most.
    """

    def __init__(self, fd: int, name: str) -> None:
        self.wait_fd = fd
        self._name = name
        self._outbox: list[bytes] = []
        self._spot = 0
        self._size = 0
        self._recent: OrderedDict[int, bytes] = OrderedDict()
        self._recent_size = 0
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._is_pipe = not stat.S_ISREG(os.fstat(fd).st_mode)

    @property
    def is_full(self) -> bool:
        """Whether the reader is this far behind."""
        return self._size > _FULL_BYTES

    def append(self, batch: int, records: Sequence[bytes | memoryview]) -> None:
        """Append whole records of a batch; they leave as the reader takes them."""
        data = b"".join(records)
        if not data:
            return
        self._outbox.append(data)
        self._size += len(data)
        if batch != UNNUMBERED:
            self._recent[batch] = self._recent.get(batch, b"") + data
            self._recent_size += len(data)
        while self._recent_size > _RECENT_BYTES:
            self._recent_size -= len(self._recent.popitem(last=False)[1])
        self.flush()

    def find(self, batch: int, share: float, key_text: str) -> First | None:  # noqa: ARG002 - the protocol's
        """Return the record that a batch wrote for a key, while it is among the latest."""
        data = self._recent.get(batch)
        return None if data is None else search_records(data, key_text)

    def find_at(self, offset: int, key_text: str) -> First | None:  # noqa: ARG002 - the protocol's
        """Return None: a stream holds no earlier run's records."""
        return None

    def flush(self) -> bool:
        """Write what the reader takes now."""
        try:
            while self._outbox and self._poll.poll(0):
                data = self._outbox[0]
                most = _PIPE_BUF if self._is_pipe else len(data)
                sent = failpoint.write("stream.write", self.wait_fd, memoryview(data)[self._spot : self._spot + most])
                self._spot += sent
                self._size -= sent
                if self._spot == len(data):
                    del self._outbox[0]
                    self._spot = 0
        except BlockingIOError:  # somebody has set it not to block, and another one was faster
            return True
        except OSError as error:
            self._cut_torn()
            self._outbox.clear()
            if error.errno == errno.EPIPE:
                raise ReaderGoneError(f"the reader of {self._name} went away") from None
            raise FileError(f"{self._name}: {error.strerror}") from error
        return bool(self._outbox)

    def _cut_torn(self) -> None:
        """Take a line that was half written back out of a regular file, if it stands at its end."""
        torn = len(self._outbox[0][: self._spot].rpartition(b"\n")[2]) if self._outbox else 0
        if torn and not self._is_pipe:
            with suppress(OSError):
                end = os.lseek(self.wait_fd, 0, os.SEEK_CUR)
                if end == os.fstat(self.wait_fd).st_size:
                    os.ftruncate(self.wait_fd, end - torn)

    def check(self) -> None:
        """Do nothing: what has left is the reader's."""

    def sync(self) -> None:
        """Do nothing: a stream cannot be synced."""

    def begin_sync(self, least: int) -> None:
        """Do nothing: a stream cannot be synced."""

    def close(self) -> None:
        """Leave the descriptor to its owner."""


def search_records(data: bytes, key_text: str) -> First | None:
    """Return the completed or skipped record of a key among some records."""
    wanted = b'"key":' + orjson.dumps(key_text)
    at = data.find(wanted)
    while at >= 0:
        start = data.rfind(b"\n", 0, at) + 1
        end = data.find(b"\n", at)
        if end < 0:  # cut off by the end of what was read
            return None
        found = _read_record(data[start:end], key_text)
        if found is not None:
            return found
        at = data.find(wanted, at + 1)
    return None


def _read_record(line: bytes, key_text: str) -> First | None:
    """Return the completed or skipped record of a key; None for any other line, a damaged one of a file included."""
    try:
        members = load_exact(line)
        is_wanted = members["key"] == key_text and members["status"] in ("completed", "skipped")
        return read_first(line, members) if is_wanted else None
    except (ValueError, TypeError, KeyError):
        return None
