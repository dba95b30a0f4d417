"""Snapshots to draw, harmless and hostile."""

from __future__ import annotations

from dataclasses import replace

from jqcli.core.census import Share
from jqcli.core.tally import ErrorGroup, FlowState, Parked, Snapshot, WorkerRow

HOSTILE = "\x1b[2J\x1b]52;c;aGk=\x07\x9b5n[/][link=x][bold]\u202e\u200b\n\ud800"
HUGE = HOSTILE * 50_000
COUNTS = {
    "elapsed": 83.0, "read": 12345, "completed": 12000, "duplicate": 200, "skipped": 5, "dead": 3,
    "unfinished": 137, "settled_before": 0, "attempts": 12400, "retries": 45, "crashes": 1, "timeouts": 2,
    "waiting": 12, "in_flight": 125, "rate": 4100.0, "mean_rate": 3950.0, "fraction": 0.319, "eta": 130.0,
    "p50": 0.0012, "p95": 0.0045, "p99": 0.0123, "state": "running",
}  # fmt: skip


def take_flow(name="acme"):
    return FlowState(
        throttled=12, parked=3, delayed=1, open=2, trips=4, probes=5, pauses=6, level=7, aside=8, budget=9,
        keys=(Parked(name, 3, 1.5), Parked(None, 0, 0.0)),
        lanes=(Share("tenant", name, 11), Share("handler", "", 2), Share("rest", "", 3)),
        breakers=(Share("user.id", name, 1), Share("rest", "", 1)),
    )  # fmt: skip


def take_snapshot(text="job-8", workers=2, **changes):
    rows = tuple(WorkerRow(n, 4000 + n, "busy", text, 1.5, 6000, 0) for n in range(workers))
    groups = tuple(ErrorGroup(text, "max_attempts", "builtins.KeyError", text, 3, text) for _ in range(6))
    return Snapshot(**(COUNTS | {"workers": rows, "errors": groups} | changes))


def take_hostile_snapshot(text):
    row = WorkerRow(1, 4001, text, text, 1.5, 6000, 0)
    group = ErrorGroup(text, text, text, text, 3, text)
    return replace(take_snapshot(), workers=(row,), errors=(group,), state=text)
