"""Jobs that are set aside, so that those of one throttled tenant do not fill the queue and hold up all others.

A job set aside is its line and where it stands, in scratch space of the edge's; the parent keeps eight bytes
for it. Those of a lane are a chain: each names the offset of the next.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Protocol

from jqcli.core.batch import Pending
from jqcli.core.codec import read_line
from jqcli.model import Job, Line

if TYPE_CHECKING:
    from jqcli.core.codec import Scheme

_HEAD = Struct("<QQIIII")  # the next one's offset, line number, source, batch, index there, size of the line
_NEXT = Struct("<Q")
_LEAST_SHARE = 4  # jobs of a lane that stay in memory in any case


class Scratch(Protocol):
    """Space for bytes that need not outlive the run."""

    def append(self, data: bytes) -> int | None:
        """Return the offset at which `data` now stands, None where there is no room for it."""

    def write(self, offset: int, data: bytes) -> None:
        """Write over what stands there."""

    def read(self, offset: int, size: int) -> bytes:
        """Return what stands there."""

    def clear(self) -> None:
        """Forget all."""


@dataclass(slots=True)
class Chain:
    """The jobs of one lane that are set aside, first in, first out."""

    first: int = 0
    last: int = 0
    count: int = 0


class Aside:
    """All jobs that are set aside. Memory is for `roomy` waiting jobs, shared by the lanes."""

    def __init__(self, scratch: Scratch, scheme: Scheme, roomy: int) -> None:
        self._scratch = scratch
        self._scheme = scheme
        self._roomy = roomy
        self._names: dict[int, tuple[str, str]] = {}
        self._offsets: dict[int, array[int]] = {}  # by batch and index, from 1 on
        self.count = 0

    def is_wanted(self, waiting: int, lanes: int, own: int) -> bool:
        """Tell whether a lane with `own` of all `waiting` jobs has had its share of the memory."""
        return waiting >= self._roomy and own >= max(_LEAST_SHARE, self._roomy // lanes)

    def put(self, chain: Chain, pending: Pending) -> bool:
        """Set a job aside; tell whether there was room for it."""
        line = pending.line
        head = _HEAD.pack(0, line.number, pending.source, pending.origin, pending.index, len(line.data))
        offset = self._scratch.append(head + line.data)
        if offset is None:
            return False
        if chain.count:
            self._scratch.write(chain.last, _NEXT.pack(offset))
        else:
            chain.first = offset
        chain.last = offset
        chain.count += 1
        self.count += 1
        self._names.setdefault(pending.source, (line.source, line.stem))
        offsets = self._offsets.setdefault(pending.origin, array("Q"))
        offsets.extend([0] * (pending.index + 1 - len(offsets)))
        offsets[pending.index] = offset + 1
        return True

    def take(self, chain: Chain) -> Pending:
        """Return the first job of a chain; `find` finds it until it is forgotten."""
        pending, chain.first = self._read(chain.first)
        chain.count -= 1
        return pending

    def forget(self, pending: Pending) -> None:
        """Let a job be one of the others again."""
        pending.is_aside = False
        offsets = self._offsets[pending.origin]
        offsets[pending.index] = 0
        if not any(offsets):
            del self._offsets[pending.origin]
        self.count -= 1
        if not self.count:
            self._scratch.clear()

    def find(self, batch: int, index: int) -> Job | None:
        """Return the job that was read there, if it is set aside."""
        offsets = self._offsets.get(batch, ())
        return self._read(offsets[index] - 1)[0].job if index < len(offsets) and offsets[index] else None

    def _read(self, offset: int) -> tuple[Pending, int]:
        """Return the job at an offset, and the offset of the next one."""
        following, number, source, origin, index, size = _HEAD.unpack(self._scratch.read(offset, _HEAD.size))
        line = Line(*self._names[source], number, self._scratch.read(offset + _HEAD.size, size))
        job = read_line(line, self._scheme)
        assert isinstance(job, Job)  # noqa: S101 - it was one when it was set aside
        return Pending(line, job, source, origin, index, is_aside=True), following
