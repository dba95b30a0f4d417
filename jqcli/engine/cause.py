"""Why the parent ends a worker."""

from __future__ import annotations

from typing import NamedTuple


class Cause(NamedTuple):
    """Why the parent ends a worker, as its job's failure will say it."""

    verdict: str
    type: str
    message: str


def crash(message: str) -> Cause:
    """Return the cause of a worker that does what it must not."""
    return Cause("crash", "jqcli.WorkerCrash", message)
