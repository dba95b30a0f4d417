"""What runs have in flight: rows of identities in the file by which they lock their store.

Law: the head says what of the file counts, and is written last, with the store held. So a row whose run died while it
was written counts for nothing, and one look at the head tells whether there is anything that a run has not read yet,
be it here or in the store.

A claim is worth nothing once its run is dead, or has let go of it, be it for what is done. So nothing of this is ever
synced, a run that finds itself alone begins anew, and what is worth nothing is left out where it is much.
"""

from __future__ import annotations

import os
import struct
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, NamedTuple

from jqcli.core.codec import KEY_SIZE
from jqcli.core.recall import CLAIM, RELEASE, RELEASE_ROW, Row, split_keys
from jqcli.edge import failpoint
from jqcli.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_HEAD = struct.Struct("<8sQQQQ")
_MARK = b"jq-run 2"
_ROW = struct.Struct("<QQIII")  # run, number, kind, scope, how many identities follow
_MOST = 1 << 62
_LARGE = 1 << 20  # bytes of rows; where there are more when a run begins, what is worth nothing is left out
_LARGE_LATER = 32 << 20  # and while it goes on, for which it stops


class Head(NamedTuple):
    """What counts: the rows from `start` to `end`, all of them anew where `generation` is another one.

    `news` is another number whenever somebody may have written to the store.
    """

    generation: int
    start: int
    end: int
    news: int


class Claims:
    """The rows in a file that is open already, and locked by whoever calls."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._path = path
        self._mutex = RLock()  # between the threads of this process, which hold the store together
        self._least = 0  # bytes of rows, so that no two looks at them are for little

    def head(self) -> Head:
        """Return what counts."""
        with self._mutex:
            data = self._read(_HEAD.size, 0)
        if len(data) == _HEAD.size and data.startswith(_MARK):
            head = Head._make(_HEAD.unpack(data)[1:])
            if max(head) < _MOST and _HEAD.size <= head.start <= head.end:
                return head
        return Head(0, _HEAD.size, _HEAD.size, 0)  # of a new file, or what a power cut left

    def append(self, rows: Iterable[tuple[int, Row]]) -> Head:
        """Append rows, each with its scope; return what counts then."""
        with self._mutex:
            head = self.head()
            data = b"".join([_pack(scope, row) for scope, row in rows])
            if not data:
                return head
            self._write(data, head.end)
            return self._put(head._replace(end=head.end + len(data)))

    def announce(self) -> Head:
        """Say that something will be written to the store before it is let go; return what counts then."""
        with self._mutex:
            head = self.head()
            return self._put(head._replace(news=head.news + 1))

    def read(self, start: int, end: int) -> Iterator[tuple[int, Row]]:
        """Yield the rows between two places, each with its scope."""
        data = self._read(end - start, start)
        at = 0
        while at < len(data):
            try:
                run, number, kind, scope, count = _ROW.unpack_from(data, at)
            except struct.error:
                break
            after = at + _ROW.size + KEY_SIZE * count
            if kind not in (CLAIM, RELEASE, RELEASE_ROW) or after > len(data):
                break
            yield scope, Row(number, run, kind, 0.0, None, data[at + _ROW.size : after])
            at = after
        if at != end - start:
            raise FileError(f"{self._path}: is damaged; it may be removed when no run uses the store")

    def read_all(self) -> list[tuple[int, Row]]:
        """Return all rows that count, each with its scope; the store need not be held."""
        head = self.head()
        while True:
            try:
                rows = list(self.read(head.start, head.end))
            except FileError:
                if self.head().generation == head.generation:
                    raise
                rows = []
            before, head = head, self.head()
            if head.generation == before.generation:  # else they were moved meanwhile
                return rows

    def clear(self) -> None:
        """Forget all rows."""
        head = self.head()
        # The old number may have been lost with the power, and nobody is there who could confuse it with this one.
        generation = int.from_bytes(os.urandom(7))
        self._put(Head(generation, _HEAD.size, _HEAD.size, head.news + 1))
        self._cut(_HEAD.size)

    def leave_out(self, is_alive: Callable[[int], bool]) -> Head:
        """Forget the rows of dead runs, and what was let go, if that is much; return what counts then.

        What is left is first copied behind, then to the front.
        """
        with self._mutex:
            head = self.head()
            size = head.end - head.start
            if size < max(_LARGE, self._least):
                return head
            held = _held(self.read(head.start, head.end))
            living = {run for run in {row.run for _, row in held} if is_alive(run)}
            kept = b"".join([_pack(scope, row) for scope, row in held if row.run in living])
            self._least = max(_LARGE_LATER, 2 * len(kept))
            return head if 2 * len(kept) > size else self._move(head, kept)

    def _move(self, head: Head, kept: bytes) -> Head:
        """Leave half of the rows, or less: so the copy in front does not reach the one behind."""
        self._write(kept, head.end)
        head = self._put(Head(head.generation + 1, head.end, head.end + len(kept), head.news))
        self._write(kept, _HEAD.size)
        head = self._put(Head(head.generation + 1, _HEAD.size, _HEAD.size + len(kept), head.news))
        self._cut(head.end)
        return head

    def _put(self, head: Head) -> Head:
        with self._explained():
            failpoint.hit("store.head")
        self._write(_HEAD.pack(_MARK, *head), 0)
        return head

    def _write(self, data: bytes, at: int) -> None:
        with self._explained():
            while data:
                done = os.pwrite(self._fd, data, at)
                data, at = data[done:], at + done

    def _read(self, size: int, at: int) -> bytes:
        """Read what there is; one call takes less than is asked of it where that is over 2 GiB."""
        parts: list[bytes] = []
        with self._explained():
            while size and (part := os.pread(self._fd, size, at)):
                parts.append(part)
                size, at = size - len(part), at + len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _cut(self, size: int) -> None:
        with self._explained():
            os.ftruncate(self._fd, size)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FileError(f"{self._path}: {error.strerror}") from error


def _pack(scope: int, row: Row) -> bytes:
    return _ROW.pack(row.run, row.id, row.kind, scope, len(row.keys) // KEY_SIZE) + row.keys


def _held(rows: Iterable[tuple[int, Row]]) -> list[tuple[int, Row]]:
    """Return what runs claimed and did not let go of, as rows that claim that alone."""
    claimed: dict[tuple[int, int, int], Row] = {}
    released: dict[tuple[int, int], set[bytes]] = {}
    for scope, row in rows:
        if row.kind == CLAIM:
            claimed[row.run, scope, row.id] = row
            if again := released.get((row.run, scope)):
                again.difference_update(split_keys(row.keys))
        elif row.kind == RELEASE:
            released.setdefault((row.run, scope), set()).update(split_keys(row.keys))
        else:
            claimed.pop((row.run, scope, row.id), None)
    held: list[tuple[int, Row]] = []
    for (run, scope, _), row in claimed.items():
        if gone := released.get((run, scope)):
            row = row._replace(keys=b"".join([key for key in split_keys(row.keys) if key not in gone]))  # noqa: PLW2901
        if row.keys:
            held.append((scope, row))
    return held


def claims_of(claims: Claims) -> dict[int, set[bytes]]:
    """Return what runs claimed and did not let go of, by run."""
    found: dict[int, set[bytes]] = {}
    for _, row in _held(claims.read_all()):
        found.setdefault(row.run, set()).update(split_keys(row.keys))
    return found
