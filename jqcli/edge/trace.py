"""A run as a trace that Perfetto and chrome://tracing open: a lane for each worker, a slice for each attempt.

The Trace Event Format's array form; its closing bracket is optional, so what a killed run left can be opened as well.
https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jqcli.core.change import ENDS, Change
from jqcli.edge.line import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jqcli.core.tally import Snapshot
    from jqcli.edge.log import LineFile

_DRAWN = {*ENDS, "dead"}
_PARENT = 0  # the lane of what happens in no worker


class Trace:
    """Writes attempts as slices, dead letters as marks, and once a second how much is queued. It is an observer too."""

    interval = 1.0
    is_thorough = True

    def __init__(self, file: LineFile, title: str, started_at: float) -> None:
        self._file = file
        self._started_at = started_at
        self._pid = os.getpid()
        self._lanes: dict[int, int] = {}
        self._file.append([b"[\n"])
        self._write([self._name("process_name", _PARENT, title), self._name("thread_name", _PARENT, "jq-run")])

    def write(self, changes: Sequence[Change]) -> None:
        """Write the attempts that ended and the jobs that died."""
        self._write([event for change in changes if (event := self._event_of(change)) is not None])

    def update(self, snapshot: Snapshot) -> None:
        """Write how much is queued, and name the lanes of workers that were not there before."""
        events = [
            self._name("thread_name", row.number + 1, f"worker {row.number} (pid {row.pid})")
            for row in snapshot.workers
            if self._lanes.get(row.number) != row.pid
        ]
        self._lanes |= {row.number: row.pid for row in snapshot.workers}
        counts = {"in flight": snapshot.in_flight, "waiting": snapshot.waiting, "dead": snapshot.dead}
        at = round(snapshot.elapsed * 1e6)
        events += [
            {"ph": "C", "name": name, "pid": self._pid, "tid": _PARENT, "ts": at, "args": {name: count}}
            for name, count in counts.items()
        ]
        self._write(events)

    def end(self, snapshot: Snapshot, exit_code: int) -> None:
        """Close the array."""
        self.update(snapshot)
        args = {"exit_code": exit_code}
        last = {
            "ph": "i",
            "s": "p",
            "name": "end",
            "pid": self._pid,
            "tid": _PARENT,
            "ts": round(snapshot.elapsed * 1e6),
        }
        self._file.append([to_json(last | {"args": args}), b"]\n"])
        self._file.close()

    def _event_of(self, change: Change) -> dict[str, object] | None:
        """Return the slice of an attempt, or the mark of a dead job; None for what is not drawn."""
        if change.event not in _DRAWN:
            return None
        at = self._moment(change.at)
        begin = at if change.began_at is None else self._moment(change.began_at)
        event: dict[str, object] = {
            "name": str(change.id),
            "cat": change.event,
            "pid": self._pid,
            "tid": _PARENT if change.worker is None else change.worker + 1,
            "ts": begin,
        }
        args = {"key": change.key, "attempt": change.attempt, "duration": change.duration, **change.detail}
        if change.began_at is None:
            return event | {"ph": "i", "s": "p", "args": args}
        return event | {"ph": "X", "dur": at - begin, "args": args}

    def _moment(self, at: float) -> int:
        """Return microseconds since the run began; whole ones, as a viewer drops a slice that begins within another."""
        return round((at - self._started_at) * 1e6)

    def _name(self, kind: str, lane: int, name: str) -> dict[str, object]:
        return {"ph": "M", "name": kind, "pid": self._pid, "tid": lane, "args": {"name": name}}

    def _write(self, events: Sequence[Mapping[str, object]]) -> None:
        if events:
            self._file.append([to_json(event)[:-1] + b",\n" for event in events])
