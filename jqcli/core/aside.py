"""Jobs that are set aside, because they may not start for a while or would fill the queue and hold up all others.

The parent keeps twelve bytes for each, and some for what they wait for, such as a slot of time. All else is in scratch
space of the edge's: where the line stands in its input where that can be read again, else the line itself; and what
went wrong with it so far. Jobs that wait for the same are a chain: each names the offset of the next. They are a memory
of this run alone: one that is killed reads them again.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple, Protocol

from jqcli.core.batch import Pending
from jqcli.core.codec import hash_bytes, read_line
from jqcli.errors import FileError
from jqcli.model import Job, Line

if TYPE_CHECKING:
    from collections.abc import Callable

    from jqcli.core.queue import Queue

HELPING, HELPING_BYTES = 1000, 1 << 20  # at most so many come back, or have their records, at once; some 20 ms
PATIENCE = 1.0  # seconds; who may not start for longer is set aside
# The next one's offset, line number, source, batch, index there, place in the input, sizes of line and state, digest.
_HEAD = Struct("<QQIIIqII16s")
_NEXT = Struct("<Q")
_LEAST_SHARE = 4  # jobs of a lane that stay in memory in any case


class Scratch(Protocol):
    """Space for bytes that need not outlive the run."""

    def append(self, data: bytes, /) -> int | None:
        """Return the offset at which `data` now stands, None where there is no room for it."""

    def write(self, offset: int, data: bytes, /) -> None:
        """Write over what stands there."""

    def read(self, offset: int, size: int, /) -> bytes:
        """Return what stands there."""

    def free(self, offset: int, size: int, /) -> None:
        """Forget what was appended there."""


class Room(NamedTuple):
    """Where jobs are set aside, and how many lines, and bytes, may be in the queue; half of it is for those that wait.

    `read_again` returns bytes of an input by its number, their offset and their size; raises FileError.
    """

    scratch: Scratch
    read_again: Callable[[int, int, int], bytes]
    lines: int
    bytes: int


class _Nowhere:
    """Scratch space in which there is no room, so that nothing is ever asked of it again."""

    def append(self, _: bytes) -> None:
        pass

    def write(self, *_: object) -> None:
        raise NotImplementedError

    def read(self, *_: object) -> bytes:
        raise NotImplementedError

    def free(self, *_: object) -> None:
        raise NotImplementedError


NO_ROOM = Room(_Nowhere(), lambda *_: b"", 0, 0)


@dataclass(slots=True)
class Chain:
    """Jobs that wait for the same and are set aside, first in, first out."""

    first: int = 0
    last: int = 0
    count: int = 0


@dataclass(slots=True)
class _Spots:
    """Which jobs of one batch are set aside, by their index there, and at which offset; without gaps, as most are."""

    indexes: array[int] = field(default_factory=lambda: array("I"))
    offsets: array[int] = field(default_factory=lambda: array("Q"))

    def put(self, index: int, offset: int) -> None:
        at = bisect_left(self.indexes, index)
        self.indexes.insert(at, index)
        self.offsets.insert(at, offset)

    def find(self, index: int) -> int | None:
        at = bisect_left(self.indexes, index)
        return self.offsets[at] if at < len(self.indexes) and self.indexes[at] == index else None

    def pop(self, index: int) -> int:
        at = bisect_left(self.indexes, index)
        self.indexes.pop(at)
        return self.offsets.pop(at)


class Aside:
    """All jobs that are set aside. They do not count towards the queue."""

    def __init__(self, queue: Queue, room: Room) -> None:
        self._queue = queue
        self._scratch = room.scratch
        self._room = room
        self._most = max(1, room.lines // 2)
        self._names: dict[int, tuple[str, str]] = {}
        self._spots: dict[int, _Spots] = {}  # by batch
        self.count = 0
        self.total = 0

    def is_wanted(self, waiting: int, lanes: int, own: int) -> bool:
        """Tell whether a lane with `own` of all `waiting` jobs has had its share of the memory."""
        is_tight = waiting >= self._most or self._queue.bytes >= self._room.bytes // 2
        return is_tight and own >= max(_LEAST_SHARE, min(waiting, self._most) // lanes)

    def is_full(self, waiting: int) -> bool:
        """Tell whether what comes back should not join so many jobs that wait in memory."""
        return waiting >= self._most or (waiting > 0 and self._queue.lines >= self._room.lines)

    def put(self, chain: Chain, pending: Pending) -> bool:
        """Set a job aside, behind those of a chain; tell whether there was room for it."""
        line, state = pending.line, _pack_state(pending)
        head = _HEAD.pack(
            0, line.number, pending.source, pending.origin, pending.index, pending.offset,
            len(line.data), len(state), hash_bytes(line.data),
        )  # fmt: skip
        offset = self._scratch.append(head + state + (line.data if pending.offset < 0 else b""))
        if offset is None:
            return False
        if chain.count:
            self._scratch.write(chain.last, _NEXT.pack(offset))
        else:
            chain.first = offset
        chain.last = offset
        chain.count += 1
        self.count += 1
        self.total += 1
        self._names.setdefault(pending.source, (line.source, line.stem))
        self._spots.setdefault(pending.origin, _Spots()).put(pending.index, offset)
        taken = self._queue.taken
        if pending.is_sent and pending.job.key in taken:  # which points to the batch that it last ran with
            taken.add(pending.job.key, pending.origin, pending.index)
        self._queue.leave(pending)
        return True

    def take(self, chain: Chain) -> Pending:
        """Return the first job of a chain; `find` finds it until it is forgotten."""
        pending, chain.first = self._read(chain.first)
        chain.count -= 1
        return pending

    def peek(self, chain: Chain) -> Pending:
        """Return the first job of a chain, which stays there."""
        return self._read(chain.first)[0]

    def forget(self, pending: Pending) -> None:
        """Let a job be one of the queue again."""
        self.drop(pending)
        self._queue.enter(pending)

    def drop(self, pending: Pending) -> None:
        """Let a job go that is settled."""
        pending.is_aside = False
        spots = self._spots[pending.origin]
        offset = spots.pop(pending.index)
        if not spots.indexes:
            del self._spots[pending.origin]
        self.count -= 1
        size = _HEAD.size + len(_pack_state(pending)) + (len(pending.line.data) if pending.offset < 0 else 0)
        self._scratch.free(offset, size)

    def find(self, batch: int, index: int) -> Job | None:
        """Return the job that was read there, if it is set aside."""
        offset = self._find(batch, index)
        return None if offset is None else self._read(offset)[0].job

    def has(self, batch: int, index: int) -> bool:
        """Tell whether the job that was read there is set aside."""
        return self._find(batch, index) is not None

    def _find(self, batch: int, index: int) -> int | None:
        spots = self._spots.get(batch)
        return None if spots is None else spots.find(index)

    def _read(self, offset: int) -> tuple[Pending, int]:
        """Return the job at an offset, and the offset of the next one; raises FileError where its input has changed."""
        head = _HEAD.unpack(self._scratch.read(offset, _HEAD.size))
        following, number, source, origin, index, place, size, state_size, digest = head
        rest = self._scratch.read(offset + _HEAD.size, state_size + (size if place < 0 else 0))
        data = rest[state_size:] if place < 0 else self._room.read_again(source, place, size)
        line = Line(*self._names[source], number, data)
        if place >= 0 and hash_bytes(data) != digest:
            raise FileError(
                f"{line.where}: the file was changed while the job of this line was set aside. "
                "Start the same command again: it reads the file as it is now"
            )
        job = read_line(line, self._queue.scheme)
        assert isinstance(job, Job)  # noqa: S101 - it was one when it was set aside
        pending = Pending(line, job, source, origin, index, offset=place, is_aside=True)
        if state_size:
            _unpack_state(rest[:state_size], pending)
        return pending, following


def _pack_state(pending: Pending) -> bytes:
    """Return what happened to a job so far, as JSON; nothing where nothing did."""
    if not pending.is_sent and not pending.history:
        return b""
    state = [pending.attempts, pending.crashes, pending.failed_at, pending.is_sent, pending.history]
    return json.dumps(state).encode()  # not orjson, which refuses half of a surrogate pair in a message


def _unpack_state(state: bytes, pending: Pending) -> None:
    pending.attempts, pending.crashes, pending.failed_at, pending.is_sent, history = json.loads(state)
    for entry in history:
        pending.note(entry)
