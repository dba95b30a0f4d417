"""What the dispatch wants done. It decides; the run does it, in the order in which it is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from array import array

    from jqcli.core.batch import Pending
    from jqcli.model import First, Job, Line


class Work(NamedTuple):
    """Lines to prepare: `data` are whole lines, of the input number `source`, from line `first_line` on."""

    batch: int
    source: int
    first_line: int
    lines: int
    data: bytes
    with_ids: bool


class Attempt(NamedTuple):
    """A job to run without a ruling: its source and line number, its bytes, and which attempt it is.

    `is_probe` says that it finds out whether what a breaker has cut off is there again.
    """

    source: int
    number: int
    data: bytes
    attempt: int
    is_probe: bool = False


class Limits(NamedTuple):
    """How long an attempt may take: seconds, for all jobs of a batch, or by index where jobs differ."""

    default: float | None
    by_index: dict[int, float | None]

    def of(self, index: int) -> float | None:
        """Return the limit of one job in seconds."""
        return self.by_index.get(index, self.default) if self.by_index else self.default


class Prepare(NamedTuple):
    """Let a worker prepare a batch."""

    work: Work


class Run(NamedTuple):
    """Let the holder of a batch run these lines of it, or all."""

    batch: int
    lines: int
    order: array[int] | None
    limits: Limits


class RunJobs(NamedTuple):
    """Let a worker run jobs that were ruled before."""

    batch: int
    attempts: list[Attempt]
    limits: Limits


class Drop(NamedTuple):
    """Let the holder of a batch forget it."""

    batch: int


@dataclass(slots=True)
class Place:
    """Where a line stands in the order of the input: its batch and its index there."""

    batch: int
    index: int


class Bury(NamedTuple):
    """Write a dead letter; `job` is None for a line that is no job."""

    place: Place
    line: Line
    job: Job | None
    key_text: str
    reason: str
    error: dict[str, object]
    attempts: int
    history: list[dict[str, object]]
    first: First | None = None


class Double(NamedTuple):
    """Write a duplicate's record."""

    place: Place
    job: Job
    first: First


class Pass(NamedTuple):
    """Lines need no record of this run: blank ones (status None), and those that an earlier run settled."""

    batch: int
    indexes: list[int]
    statuses: dict[str | None, int]


class Opened(NamedTuple):
    """A batch was ruled: its lines count as read, and have their place in the order from here on."""

    batch: int
    lines: int


class Spare(NamedTuple):
    """An attempt failed and is not charged: only what it calls was asked whether it is there."""


Settling = Bury | Double | Pass | Opened
Effect = Prepare | Run | RunJobs | Drop | Spare | Settling


def place_of(pending: Pending) -> Place:
    """Return where a pending job stands in the input."""
    return Place(pending.origin, pending.index)
