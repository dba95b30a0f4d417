"""One change in the state of a job, as logs, event files and traces tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

ENDS = ("completed", "skipped", "failed", "snoozed", "stopped")
TROUBLE = ("failed", "snoozed", "stopped", "waiting", "dead")


class Change(NamedTuple):
    """What happened to a job, and when (Unix seconds).

    `began_at` and `duration` (seconds) are set where `event` is the end of an attempt, one of `ENDS`. The others are
    `started`, `waiting` (for another attempt), `duplicate` and `dead`. `key` carries its tag.
    """

    at: float
    event: str
    id: str | int
    key: str
    attempt: int | None = None
    worker: int | None = None
    began_at: float | None = None
    duration: float | None = None
    detail: Mapping[str, object] = {}
