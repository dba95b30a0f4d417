"""What an engine says of what happened. It never decides about a job: that is the dispatch's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jqcli.model import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Answer:
    """A batch was prepared. `keys` are 16 bytes a physical line, `hashes` and `own_ids` as `Prepared` has them."""

    batch: int
    keys: bytes
    hashes: bytes
    own_ids: bytes
    notes: list[tuple[int, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Finished:
    """Some records of a run are whole: `records` are their bytes, in the order of `indexes`."""

    batch: int
    records: list[bytes]
    completed: int
    skipped: int
    durations: list[tuple[int, int]]
    indexes: Sequence[int]


@dataclass(frozen=True, slots=True)
class Failed:
    """One attempt failed; `index` is the job's place in its batch."""

    batch: int
    index: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class Ended:
    """All of a run was dealt with, or came back; `seconds` it took for so many `jobs`, where it was all run."""

    batch: int
    seconds: float = 0.0
    jobs: int = 0


@dataclass(frozen=True, slots=True)
class Returned:
    """These jobs of a batch were not begun; nothing is charged to them."""

    batch: int
    indexes: Sequence[int]


@dataclass(frozen=True, slots=True)
class Unprepared:
    """Preparing this batch killed its worker, or overran its deadline."""

    batch: int
    message: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A replacement worker could not load the handlers, twice."""

    message: str


__all__ = ["Answer", "Ended", "Event", "Failed", "Failure", "Finished", "Lost", "Returned", "Unprepared"]

Event = Answer | Finished | Failed | Ended | Returned | Unprepared | Lost
