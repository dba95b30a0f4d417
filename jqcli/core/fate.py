"""What is written of a line that does not run: it is unusable, shares the fate of a first job, or contradicts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jqcli.core.burial import conflict_error
from jqcli.core.effect import Bury, Double, Effect, place_of
from jqcli.model import First

if TYPE_CHECKING:
    from jqcli.core.batch import Pending
    from jqcli.core.effect import Place
    from jqcli.model import Line


def bury_unusable(place: Place, line: Line, key: bytes, note: dict[str, Any]) -> Bury:
    """Return the letter of a line that is no job; `note` is what its worker said of it."""
    error = {"type": f"jqcli.{note['reason']}", "message": note["message"]}
    return Bury(place, line, None, key.hex(), note["reason"], error, 0, [])


def contradict(pending: Pending, owner: str | int | None) -> Bury:
    """Return the letter of a job whose given key belongs to the owner, who has another payload."""
    job, error = pending.job, conflict_error(pending.job, owner)
    first = First(owner, "owner")
    return Bury(place_of(pending), pending.line, job, job.key_text, "key_conflict", error, 0, [], first)


def follow(pending: Pending, first: First) -> Effect:
    """Return the record of a duplicate, which shares its first's fate."""
    place, job = place_of(pending), pending.job
    if first.status == "dead":
        return Bury(place, pending.line, job, job.key_text, "duplicate_of_dead", first.error or {}, 0, [], first)
    return Double(place, job, first)


def follow_remembered(pending: Pending, first: First | None) -> Effect:
    """Return the record of a job that another run did; `first` is None where its record is gone meanwhile."""
    if first is None:
        return follow(pending, First(None, "completed"))
    if pending.job.payload_hash is not None and first.payload_hash not in (None, pending.job.payload_hash):
        return contradict(pending, first.id)
    return follow(pending, first)
