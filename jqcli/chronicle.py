"""Turns what passes through the loop into changes of single jobs, for those who asked for them.

Workers tell of failures at once, and of finished jobs together, with each one's duration. A worker does one after the
other, so the moments at which attempts began follow from those reports, to within the time that a report takes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from jqcli.core.burial import oversized_message
from jqcli.core.change import Change
from jqcli.core.effect import Bury, Double
from jqcli.core.exact import load_exact
from jqcli.core.printed import Ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jqcli.core.batch import Batch
    from jqcli.core.burial import OversizedLine
    from jqcli.core.codec import Scheme
    from jqcli.core.course import Course
    from jqcli.core.effect import Settling
    from jqcli.core.event import Finished
    from jqcli.core.tally import Snapshot
    from jqcli.model import Failure

_ENDS = {"snooze": "snoozed", "stop": "stopped"}


class _Held(NamedTuple):
    """Finished jobs of a batch that were not yet told of: their records, and when they were reported."""

    batch: int
    worker: int
    indexes: list[int]
    records: list[dict[str, Any]]
    at: float


class Writer(Protocol):
    """Something that writes changes down; it never raises and never stops the run."""

    is_thorough: bool
    """Whether it wants to know of attempts that went well, too."""

    def write(self, changes: Sequence[Change]) -> None:
        """Write these, in the order in which they became known."""


def lay_out(
    indexes: Sequence[int],
    durations: Sequence[float],
    failed: Sequence[tuple[int, float, float]],
    free_at: float,
    now: float,
) -> list[tuple[float, float]]:
    """Return when each of some finished attempts began and ended, in Unix seconds.

    `failed` are index, beginning and end of attempts of the same run whose times are known. None begins before
    `free_at`, and none overlaps another.

    >>> lay_out([4, 6], [2.0, 3.0], [(5, 10.0, 11.0)], 0.0, 20.0)
    [(8.0, 10.0), (17.0, 20.0)]
    """
    fixed = sorted(failed)
    cursor, at = now, len(fixed)
    spans: list[tuple[float, float]] = []
    for index, duration in zip(reversed(indexes), reversed(durations), strict=True):
        while at and fixed[at - 1][0] > index:
            at -= 1
            cursor = min(cursor, fixed[at][1])
        spans.append((cursor - duration, cursor))
        cursor -= duration
    found: list[tuple[float, float]] = []
    at = 0
    for index, (began, end) in zip(indexes, reversed(spans), strict=True):
        while at < len(fixed) and fixed[at][0] < index:
            free_at = max(free_at, fixed[at][2])
            at += 1
        found.append((max(began, free_at), max(end, free_at)))
        free_at = found[-1][1]
    return found


class Chronicle:
    """Tells the writers what happens to each job. Without writers it does nothing, at no cost for a job.

    With a `course`, that is told as well, batch by batch.
    It looks on like an observer, so that nothing is held back for long.
    """

    interval = 1.0

    def __init__(self, writers: Sequence[Writer], tag: str, scheme: Scheme, course: Course | None = None) -> None:
        self._writers = writers
        self._course = course
        self._is_thorough = any(writer.is_thorough for writer in writers)
        self._tag = tag
        self._scheme = scheme
        self._free_at: dict[int, float] = {}
        self._failed: dict[int, list[tuple[int, float, float]]] = {}
        self._held: _Held | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._writers)

    def forget(self, batch: int, worker: int) -> None:
        """Note that all of a batch was told of."""
        self._release()
        ends = [end for _, _, end in self._failed.pop(batch, ())]
        if ends:
            self._free_at[worker] = max(self._free_at.get(worker, 0.0), *ends)

    def finish(self, event: Finished, batch: Batch, worker: int) -> None:
        """Tell of finished jobs, as soon as it is known whether a failed attempt stands among them."""
        if self._course is not None:
            self._course.finish(event, batch, worker, time.monotonic())
        if self._is_thorough:
            self._release()
            # Parsed at once: the worker writes over the bytes.
            records = [load_exact(line) for line in b"".join(event.records).split(b"\n")[:-1]]
            self._held = _Held(event.batch, worker, list(event.indexes), records, time.time())

    def fail(self, batch: Batch, index: int, failure: Failure, worker: int, *, goes_on: bool, is_charged: bool) -> None:
        """Tell of an attempt that failed; `goes_on` where the job waits for another one."""
        if self._course is not None:
            self._course.fail(batch, index, failure, worker, time.monotonic(), goes_on=goes_on, is_charged=is_charged)
        if not self._writers:
            return
        if self._held is not None and self._held.batch != batch.number:
            self._release()
        now = time.time()
        earlier = self._failed.setdefault(batch.number, [])
        free_at = max([self._free_at.get(worker, 0.0), *(end for _, _, end in earlier)])
        began = max(free_at, now - failure.duration)
        earlier.append((index, began, now))
        self._release()
        job, attempt = batch.job(index, self._scheme), batch.attempt(index, is_counted=is_charged)
        key = f"{self._tag}:{job.key_text}"
        told = {"verdict": failure.verdict, "type": failure.type, "message": failure.message}
        event = _ENDS.get(failure.verdict, "failed")
        changes = [
            Change(began, "started", job.id, key, attempt, worker),
            Change(now, event, job.id, key, attempt, worker, began, failure.duration, told),
        ]
        if goes_on and event != "stopped":
            changes.append(Change(now, "waiting", job.id, key, attempt))
        self._tell(changes)

    def identify(self, batch: Batch | None, index: int) -> Ids | None:
        """Return what tells a running attempt from all others; None where its batch is gone."""
        if batch is None:
            return None
        job = batch.job(index, self._scheme)
        return Ids(job.id, f"{self._tag}:{job.key_text}", batch.attempt(index, is_counted=False))

    def _release(self) -> None:
        """Tell of the finished jobs that were held back."""
        if self._held is None:
            return
        event, self._held = self._held, None
        worker = event.worker
        failed = self._failed.get(event.batch, [])
        durations = [record["duration"] for record in event.records]
        spans = lay_out(event.indexes, durations, failed, self._free_at.get(worker, 0.0), event.at)
        self._failed[event.batch] = [one for one in failed if one[0] > max(event.indexes, default=0)]
        changes: list[Change] = []
        for record, (began, end) in zip(event.records, spans, strict=True):
            job = (record["id"], record["key"], record["attempts"], worker)
            reason = {"reason": record["reason"]} if "reason" in record else {}
            changes.append(Change(began, "started", *job))
            changes.append(Change(end, record["status"], *job, began, record["duration"], reason))
        self._free_at[worker] = spans[-1][1] if spans else event.at
        self._tell(changes)

    def update(self, snapshot: Snapshot) -> None:
        """Hold nothing back for longer than a second."""
        del snapshot
        self._release()

    def end(self, snapshot: Snapshot, exit_code: int) -> None:
        """Hold nothing back."""
        del snapshot, exit_code
        self._release()

    def settle(self, effect: Settling) -> None:
        """Tell of a duplicate or a dead letter."""
        if not self._writers:
            return
        self._release()
        match effect:
            case Bury(_, line, job, key_text, reason, error, attempts):
                told = {"reason": reason, "type": error.get("type"), "message": error.get("message")}
                named = line.made_id if job is None else job.id
                self._tell([self._dead(named, key_text, attempts, line.where, told)])
            case Double(_, job, first):
                key = f"{self._tag}:{job.key_text}"
                self._tell([Change(time.time(), "duplicate", job.id, key, detail={"duplicate_of": first.id})])

    def bury_oversized(self, part: OversizedLine, source: str, made_id: str) -> None:
        """Tell of a line that was too long to be read."""
        told = {"reason": "line_too_long", "type": "jqcli.line_too_long", "message": oversized_message(part)}
        self._tell([self._dead(made_id, part.digest.hex(), 0, f"{source}:{part.line}", told)])

    def _dead(self, named: str | int, key_text: str, attempts: int, where: str, told: Mapping[str, object]) -> Change:
        key = f"{self._tag}:{key_text}"
        return Change(time.time(), "dead", named, key, attempts or None, detail={**told, "source": where})

    def _tell(self, changes: Sequence[Change]) -> None:
        for writer in self._writers:
            writer.write(changes)
