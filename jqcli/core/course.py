"""How a run went, for whoever looks back at it: over time, by attempt, by worker, and what was slowest.

All of it is of bounded size, whatever the input. What a finished batch costs does not hang on its number of jobs, but
where one of them is among the slowest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from jqcli.core.exact import load_exact
from jqcli.core.record import durations_of, status_of
from jqcli.core.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jqcli.core.batch import Batch
    from jqcli.core.codec import Scheme
    from jqcli.core.event import Finished
    from jqcli.core.tally import Snapshot
    from jqcli.model import Failure

MOST_SLOW = 15
MOST_LANES = 64
MOST_ATTEMPTS = 20  # the last one stands for all later ones, too
MOST_ID = 200
_TAIL = re.compile(rb',"attempts":(\d+),"duration":([0-9.]+)\}\n')
_ID = re.compile(rb'\{"id":("(?:[^"\\]|\\.)*"|-?\d+),')
_ENDS = {"stop": "stopped", "snooze": "snoozed", "limited": "told to slow down", "error": "failed", "retry": "failed"}


class Slow(NamedTuple):
    """The longest attempt of a job: seconds, its number, how it ended, and the worker that made it."""

    seconds: float
    id: str
    attempt: int
    end: str
    worker: int


class Lane:
    """What one worker did over time: seconds at work, and what ended it; and how many attempts it made in all."""

    def __init__(self, timeline: Timeline) -> None:
        self.busy = timeline.add_row()
        self.crashes = timeline.add_row()
        self.timeouts = timeline.add_row()
        self.restarts = timeline.add_row()
        self.attempts = 0
        self.restarted = 0


class Course:
    """Collects the course of a run, which began at the monotonic moment `started_at`."""

    def __init__(self, scheme: Scheme, started_at: float) -> None:
        self._scheme = scheme
        self._started_at = started_at
        self.timeline = Timeline()
        self.settled = self.timeline.add_row()
        self.dead = self.timeline.add_row()
        self.retries = self.timeline.add_row()
        self.waiting = self.timeline.add_row(max)
        self.held = self.timeline.add_row(max)
        self.open = self.timeline.add_row(max)
        self.made = [0] * (MOST_ATTEMPTS + 1)  # by the attempt's number
        self.failed = [0] * (MOST_ATTEMPTS + 1)
        self.again = [0] * (MOST_ATTEMPTS + 1)
        self.lanes: dict[int, Lane] = {}
        self.workers = 0
        self.elapsed = 0.0
        self._seen = (0, 0, 0)
        self._slow: dict[str, Slow] = {}
        self._floor = 0.0  # what is not longer is not among the slowest

    @property
    def slowest(self) -> list[Slow]:
        """The jobs with the longest attempts, the longest first."""
        return sorted(self._slow.values(), reverse=True)

    def finish(self, event: Finished, batch: Batch, worker: int, now: float) -> None:
        """Note finished jobs; `now` is monotonic."""
        durations = event.durations or durations_of(event.records)
        count = event.completed + event.skipped
        if batch.jobs is None:
            self.made[1] += count
        else:
            for index in event.indexes:
                self.made[min(batch.attempt(index, is_counted=False), MOST_ATTEMPTS)] += 1
        self._work(worker, sum(us * times for us, times in durations) / 1e6, count, now)
        longest = max((us for us, _ in durations), default=0) / 1e6
        if longest > self._floor:
            self._note_slow(_slow_of(event.records, self._floor, worker))

    def fail(
        self, batch: Batch, index: int, failure: Failure, worker: int, now: float, *, goes_on: bool, is_charged: bool
    ) -> None:
        """Note an attempt that failed; `now` is monotonic, `goes_on` says that another one follows."""
        attempt = batch.attempt(index, is_counted=is_charged)
        if is_charged:
            place = min(attempt, MOST_ATTEMPTS)
            self.made[place] += 1
            self.failed[place] += 1
            self.again[place] += goes_on
        lane = self._work(worker, failure.duration, int(is_charged), now)
        if lane is not None and failure.verdict in ("crash", "timeout"):
            row = lane.crashes if failure.verdict == "crash" else lane.timeouts
            self.timeline.put(row, now - self._started_at, 1)
        if failure.duration > self._floor:
            named = str(batch.job(index, self._scheme).id)[:MOST_ID]
            end = _ENDS.get(failure.verdict, failure.verdict)
            self._note_slow([Slow(failure.duration, named, attempt, end, worker)])

    def update(self, snapshot: Snapshot) -> None:
        """Note how far the run is; whatever was counted since the last time is spread over that time."""
        begin, end = self.elapsed, max(snapshot.elapsed, self.elapsed)
        settled = snapshot.completed + snapshot.duplicate + snapshot.skipped + snapshot.dead
        seen = (settled - snapshot.settled_before, snapshot.dead - snapshot.dead_before, snapshot.retries)
        for row, now, before in zip((self.settled, self.dead, self.retries), seen, self._seen, strict=True):
            if now != before:
                self.timeline.spread(row, begin, end, now - before)
        self.timeline.hold(self.waiting, begin, end, snapshot.waiting)
        if snapshot.flow is not None:
            self.timeline.hold(self.held, begin, end, snapshot.unfinished - snapshot.in_flight)
            self.timeline.hold(self.open, begin, end, snapshot.flow.open)
        for worker in snapshot.workers:
            lane = self._lane(worker.number)
            if lane is not None and worker.restarts > lane.restarted:
                self.timeline.put(lane.restarts, end, worker.restarts - lane.restarted)
                lane.restarted = worker.restarts
        self.elapsed, self._seen = end, seen

    def _lane(self, worker: int) -> Lane | None:
        """Return the lane of a worker; None behind the last that is kept."""
        self.workers = max(self.workers, worker + 1)
        if worker >= MOST_LANES:
            return None
        if worker not in self.lanes:
            self.lanes[worker] = Lane(self.timeline)
        return self.lanes[worker]

    def _work(self, worker: int, seconds: float, attempts: int, now: float) -> Lane | None:
        lane = self._lane(worker)
        if lane is not None:
            lane.attempts += attempts
            at = now - self._started_at
            self.timeline.spread(lane.busy, at - seconds, at, seconds)
        return lane

    def _note_slow(self, found: Iterable[Slow]) -> None:
        for each in found:
            if each > self._slow.get(each.id, (0.0,)):
                self._slow[each.id] = each
        if len(self._slow) >= MOST_SLOW:
            kept = self.slowest[:MOST_SLOW]
            self._slow = {each.id: each for each in kept}
            self._floor = kept[-1].seconds


def _slow_of(records: Sequence[bytes | memoryview], floor: float, worker: int) -> list[Slow]:
    """Return the jobs of these records that took longer than `floor`, the slowest of them at most."""
    text = b"".join(records)
    longer = [(seconds, tail) for tail in _TAIL.finditer(text) if (seconds := float(tail[2])) > floor]
    longer.sort(key=lambda one: -one[0])
    found = []
    for seconds, tail in longer[:MOST_SLOW]:
        start = text.rfind(b"\n", 0, tail.start()) + 1
        named = _ID.match(text, start)
        id_ = "" if named is None else str(load_exact(named[1]))[:MOST_ID]
        found.append(Slow(seconds, id_, int(tail[1]), status_of(text[start : tail.start()]), worker))
    return found
