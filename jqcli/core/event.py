"""What an engine says of what happened. It never decides about a job: that is the dispatch's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from jqcli.model import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence


class Answer(NamedTuple):
    """A batch was prepared. `keys` are 16 bytes a physical line, `hashes` and `own_ids` as `Prepared` has them."""

    batch: int
    keys: bytes
    hashes: bytes
    own_ids: bytes
    notes: list[tuple[int, dict[str, Any]]]


class Finished(NamedTuple):
    """Some records of a run are whole: `records` are their bytes, in the order of `indexes`.

    They stand in memory that the worker writes over later: use them before the next event is asked for.
    """

    batch: int
    records: Sequence[bytes | memoryview]
    completed: int
    skipped: int
    durations: list[tuple[int, int]]
    indexes: Sequence[int]

    @property
    def mean_seconds(self) -> float:
        """How long one of its attempts took, 0 where that is not known."""
        calls = sum(count for _, count in self.durations)
        return sum(us * count for us, count in self.durations) / calls / 1e6 if calls else 0.0


@dataclass(slots=True)
class Failed:
    """One attempt failed; `index` is the job's place in its batch."""

    batch: int
    index: int
    failure: Failure


class Ended(NamedTuple):
    """All of a run was dealt with, or came back; `seconds` it took for so many `jobs`, where that is known."""

    batch: int
    seconds: float = 0.0
    jobs: int = 0


class Returned(NamedTuple):
    """These jobs of a batch were not begun; nothing is charged to them."""

    batch: int
    indexes: Sequence[int]


class Unprepared(NamedTuple):
    """Preparing this batch killed its worker, or overran its deadline."""

    batch: int
    message: str


class Lost(NamedTuple):
    """A replacement worker could not load the handlers, twice."""

    message: str


__all__ = ["Answer", "Ended", "Event", "Failed", "Failure", "Finished", "Lost", "Returned", "Unprepared"]

Event = Answer | Finished | Failed | Ended | Returned | Unprepared | Lost
