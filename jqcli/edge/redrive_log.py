"""The file beside a DLQ in which a redrive writes down what came of its letters; locked for the redrive's life.

It is append-only. Its first line is the header; each other line names a letter by its spot, or a record by its
job's hash:

    {"redrive":{…}}                        what was asked, and where DLQ and results ended when it began
    {"amend":SPOT,"as":HASH,"job":…}      this letter's job runs as another line, whose record has this hash
    {"again":SPOT,"letter":…}              this letter's job died again; the letter that takes its place
    {"done":HASH,"status":…}              a result was taken by whoever reads a stream, which cannot be read back
    {"merged":[DEVICE,INODE]}              all of it is in the file with this number, which takes the DLQ's place next
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import orjson

from jqcli.core.letter import job_hash_of, result_status_of
from jqcli.core.lookup import Lookup, entry
from jqcli.edge import failpoint
from jqcli.edge.letter import LetterFile
from jqcli.edge.lock import Patience, find_holder, is_still, lock_for_run
from jqcli.edge.sync import sync_file
from jqcli.edge.tail import cut_torn_tail, write_whole
from jqcli.edge.target import is_laid
from jqcli.errors import FileError, LockedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_AGAIN, _AMEND, _DONE, _MERGED = b'{"again":"', b'{"amend":"', b'{"done":"', b'{"merged":'
DONE_STATUSES = ("completed", "duplicate", "skipped")
_HEX = 20
_JOB_AT = len(_AMEND) + _HEX + len(b'","as":"') + _HEX + len(b'","job":')
_LETTER_AT = len(_AGAIN) + _HEX + len(b'","letter":')


@dataclass(frozen=True, slots=True)
class Header:
    """How a redrive began: the bytes of DLQ and results that were there, the results' path, and what was asked."""

    dlq_end: int
    results: str | None
    results_at: int
    asked: Mapping[str, Any]


@dataclass(slots=True)
class Progress:
    """What a redrive has come to: places in its file by spot, and records by their job's hash (see `status_at`)."""

    again: Lookup = field(default_factory=Lookup)
    amended: Lookup = field(default_factory=Lookup)
    done: Lookup = field(default_factory=Lookup)


class RedriveLog:
    """The open and locked file of one redrive.

    Raises LockedError where another redrive of this DLQ is at work; `patience` waits for its end first.
    """

    def __init__(self, dlq: str, patience: Patience | None = None) -> None:
        self.dlq = dlq
        self.path = log_path(dlq)
        self._fd = _lock(self.path, dlq, patience or Patience(0.0))
        cut_torn_tail(self._fd, self.path)
        self._lines = LetterFile(self.path)
        self._is_synced = True
        self._is_placed = False
        self.header = self._read_header()
        self.merged: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, header: Header) -> None:
        """Write the header, and see to it that it outlives a power cut before any result does."""
        # Not orjson: names of files may be no UTF-8, which only this writes.
        write_whole(self._fd, json.dumps({"redrive": asdict(header)}).encode() + b"\n", self.path)
        self._is_synced = False
        self.sync()
        self.header = header

    def append(self, lines: bytes) -> None:
        """Append whole lines."""
        write_whole(self._fd, lines, self.path)
        self._is_synced = False

    def sync(self) -> None:
        """Sync, if anything was written."""
        if not self._is_synced:
            sync_file(self._fd, self.path, is_placed=self._is_placed, point="redrive.sync")
            self._is_synced = self._is_placed = True

    def check(self) -> None:
        """Look whether the file is still there; raises FileError where another program has taken it away."""
        if not is_still(self._fd, self.path):
            raise FileError(
                f"{self.path}: was removed or replaced while this redrive wrote to it; start the same command"
            )

    def read(self) -> Progress:
        """Read what this file and the results say; of the results only what stands behind the redrive's beginning."""
        again: list[int] = []
        amended: list[int] = []
        done: list[int] = []
        self._reopen()
        for offset, line in self._lines.lines():
            if line.startswith(_AGAIN):
                again.append(entry(_number(line, len(_AGAIN)), offset))
            elif line.startswith(_AMEND):
                amended.append(entry(_number(line, len(_AMEND)), offset))
            elif line.startswith(_DONE):
                done.append(entry(_number(line, len(_DONE)), _done_place(line[len(_DONE) + _HEX + 12 : -3], len(done))))
            elif line.startswith(_MERGED):
                device, inode = orjson.loads(line)["merged"]
                self.merged = (device, inode)
        is_file = self.header is not None and self.header.results is not None
        records = _read_results(self.header) if self.header is not None and is_file else iter(())
        return Progress(Lookup(again), Lookup(amended), Lookup(chain(done, records)))

    def letter_at(self, offset: int) -> bytes:
        """Return the letter of an `again` line."""
        return self._lines.read_at(offset)[_LETTER_AT:-2] + b"\n"

    def job_at(self, offset: int) -> tuple[int, bytes]:
        """Return the hash of the job and its line of an `amend` line."""
        line = self._lines.read_at(offset)
        return _number(line, len(_AMEND) + _HEX + len(b'","as":"')), line[_JOB_AT:-2]

    def remove(self) -> None:
        """Remove the file: nothing is to be gone on with."""
        with suppress(FileNotFoundError):
            os.unlink(new_path(self.dlq))
        os.unlink(self.path)

    def restart(self) -> None:
        """Empty the file for another redrive, still locked."""
        try:
            failpoint.hit("redrive.restart")
            os.ftruncate(self._fd, 0)
        except OSError as error:
            raise FileError(f"{self.path}: {error.strerror}") from error
        self.header, self.merged = None, None

    def close(self) -> None:
        """Close the file; its lock goes with it. One without a header is removed."""
        if self.header is None and is_still(self._fd, self.path):
            self.remove()
        self._lines.close()
        os.close(self._fd)

    def _reopen(self) -> None:
        self._lines.close()
        self._lines = LetterFile(self.path)

    def _read_header(self) -> Header | None:
        for _, line in self._lines.lines():
            try:
                return Header(**json.loads(line)["redrive"])
            except (ValueError, KeyError, TypeError):
                raise FileError(f"{self.path}: is not a redrive's file; remove it or rename it") from None
        return None


def again_line(spot: int, letter: bytes) -> bytes:
    """Return the line of a letter whose job died again."""
    return b'{"again":"%020x","letter":%b}\n' % (spot, letter.rstrip(b"\n"))


def amend_line(spot: int, job_hash: int, job: bytes) -> bytes:
    """Return the line of a letter whose job runs as another line."""
    return b'{"amend":"%020x","as":"%020x","job":%b}\n' % (spot, job_hash, job)


def done_line(record: bytes) -> bytes:
    """Return the line of a result that a stream's reader has taken."""
    return b'{"done":"%020x","status":"%b"}\n' % (job_hash_of(record), result_status_of(record) or b"")


def merged_line(fd: int) -> bytes:
    """Return the line that names the file that takes the DLQ's place."""
    status = os.fstat(fd)
    return b'{"merged":[%d,%d]}\n' % (status.st_dev, status.st_ino)


def log_path(dlq: str) -> str:
    """Return the path of a redrive's file."""
    return f"{dlq}.redrive"


def new_path(dlq: str) -> str:
    """Return the path under which a DLQ is written anew."""
    return f"{dlq}.redrive.new"


def _lock(path: str, dlq: str, patience: Patience) -> int:
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise FileError(f"{path}: {error.strerror}") from error
        try:
            lock_for_run(fd, dlq, patience)
        except LockedError:
            holder = find_holder(fd)
            os.close(fd)
            who = f"process {holder}" if holder else "another process"
            raise LockedError(f"{dlq}: is being retried or changed ({who})") from None
        if not is_still(fd, path):
            os.close(fd)
        elif is_laid(fd, path):
            os.close(fd)
            raise FileError(f"{path}: is another user's, in a folder that everybody may write to; remove it")
        else:
            return fd


def status_at(place: int) -> str:
    """Return the status of the record at a place in `Progress.done`."""
    return DONE_STATUSES[place % len(DONE_STATUSES)]


def _done_place(status: bytes, count: int) -> int:
    return count * len(DONE_STATUSES) + DONE_STATUSES.index(status.decode())


def _read_results(header: Header) -> Iterator[int]:
    """Yield the records that were written since a redrive began, as entries of a look-up by their job's hash."""
    results = LetterFile(header.results or "")
    try:
        for offset, line in results.lines(header.results_at):
            status = result_status_of(line)
            if status is not None:
                yield entry(job_hash_of(line), _done_place(status, offset))
    finally:
        results.close()


def _number(line: bytes, at: int) -> int:
    return int(line[at : at + _HEX], 16)
