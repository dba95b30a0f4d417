"""What one worker holds, seen from the parent: turns its frames, and its death, into events."""

from __future__ import annotations

import struct
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from jqcli.core.codec import KEY_SIZE
from jqcli.core.event import Answer, Ended, Event, Failed, Finished, Returned, Unprepared
from jqcli.core.prepare import ID_SIZE
from jqcli.core.record import durations_of, status_of
from jqcli.engine import frame
from jqcli.engine.failure import unpack_failure
from jqcli.engine.frame import FrameError, Kind
from jqcli.engine.memory import HEAD, MARK, READING, RUNNING, Memory
from jqcli.model import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jqcli.core.effect import Limits, Work
    from jqcli.engine.cause import Cause

_SILENT = 0.05  # seconds at one attempt, as a worker tells of what it did that often between attempts
_BASES = ("builtins.Exception", "builtins.BaseException", "builtins.object")


@dataclass(slots=True)
class _Run:
    batch: int
    order: Sequence[int]
    limits: Limits
    sent_at: float
    told: int = 0
    failed: set[int] = field(default_factory=set)
    large: list[bytes | memoryview] = field(default_factory=list)
    fetched: Counter[int] = field(default_factory=Counter)  # the microseconds of records that were not waited for
    fetched_skipped: int = 0


@dataclass(slots=True)
class Running:
    """What a worker is at: an attempt, or (`index` None) reading lines.

    `since` is the monotonic moment at which it was first seen there, `limit` how many seconds it may take, `position`
    its place in the order of the run.
    """

    batch: int
    index: int | None
    since: float
    limit: float | None
    position: int = -1

    @property
    def place(self) -> tuple[int, int]:
        """What tells it from any other thing that the worker may be at."""
        return self.batch, self.position


class Ledger:
    """The batches of one worker, in the order in which it will come to them."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.preparing: dict[int, Work] = {}
        self.held: dict[int, int] = {}
        self.runs: deque[_Run] = deque()
        self.done = 0
        self.began_at = 0.0
        self._seen: tuple[int, ...] = ()
        self._seen_at = 0.0

    @property
    def load(self) -> int:
        """How many batches it has in any state."""
        return len(self.preparing) + len(self.held) + len(self.runs)

    @property
    def is_running(self) -> bool:
        """Whether it has anything to run."""
        return bool(self.runs)

    def has_rest(self, running: Running) -> bool:
        """Tell whether anything waits behind an attempt."""
        return self.load > 1 or running.position + 1 < len(self.runs[0].order)

    def take_rest(self, position: int) -> tuple[list[Event], list[Work]]:
        """Take back all from a position of the first run on; what is left of that run ends with its attempt."""
        current = self.runs[0]
        rest = current.order[position:]
        current.order = current.order[:position]
        self.runs.popleft()
        events, works = self.give_back()
        self.runs.append(current)
        return [Returned(current.batch, rest), *events], works

    def add_run(self, batch: int, order: Sequence[int] | None, limits: Limits, now: float) -> None:
        """Note that a run was sent; the order is all of a held batch where None."""
        lines = self.held.pop(batch, 0)
        if not self.runs:
            self.began_at = now
        self.runs.append(_Run(batch, range(lines) if order is None else order, limits, now))

    def look(self, now: float) -> float:
        """Return for how many seconds the worker has been seen at the same place; call it often.

        It says nothing when it begins an attempt, so what is known of that moment is as exact as this is called often.
        """
        seen = tuple(self.memory.words[: MARK + 1])
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        return now - self._seen_at

    def running(self, now: float) -> Running | None:
        """Return what the shared words say is running now; a hint while the worker lives."""
        words = self.memory.words
        since = now - self.look(now)
        if words[READING]:
            batch = words[READING] - 1
            return Running(batch, None, since, None) if batch in self.preparing else None
        batch = words[RUNNING] - 1
        if not self.runs or self.runs[0].batch != batch:
            return None
        run, spot = self.runs[0], self.memory.spot()
        if spot >= len(run.order):
            return None
        index = run.order[spot]
        return Running(batch, index, since, run.limits.of(index), spot)

    def has_untold(self, now: float) -> bool:
        """Tell whether the worker is at one attempt for so long that what it did before should not wait for it."""
        words = self.memory.words
        is_behind = bool(self.runs) and self.memory.has_more and words[RUNNING] == self.runs[0].batch + 1
        return is_behind and self.look(now) >= _SILENT

    def fetch(self, now: float) -> list[Event]:
        """Take the records that a worker has not told of, where it `has_untold`; all its frames were read since then.

        Frames and records come in the order of the jobs, so a frame that was not read would leave a gap.
        """
        if not self.has_untold(now):
            return []
        run = self.runs[0]
        events = self._collect(run, self._seen[HEAD])
        run.large = []
        for event in events:
            run.fetched.update(us for us, _ in durations_of(event.records))
            run.fetched_skipped += event.skipped
        return list(events)

    def read(self, kind: Kind, body: bytes, now: float) -> list[Event]:
        """Return what a frame of the worker's says. Raises FrameError for one that makes no sense."""
        try:
            if kind is Kind.TOLD:
                return self._read_told(body, now)
            if kind is Kind.PREPARED:
                return self._read_prepared(body)
            if kind is Kind.FAILED:
                return self._read_failed(body)
            if kind is Kind.RECORD:
                self._run_of(frame.BATCH.unpack_from(body)[0]).large.append(body[frame.BATCH.size :])
                return []
        except (ValueError, KeyError, IndexError, TypeError, struct.error) as error:
            raise FrameError(f"a broken frame of kind {kind.name}: {error}") from error
        raise FrameError(f"a frame of kind {kind.name}")

    def give_back(self, stopped_at: float | None = None) -> tuple[list[Event], list[Work]]:
        """Return all that was not begun: events for what was ruled, work for what was not yet prepared.

        Where the worker stopped by itself, at a monotonic moment, what it did until then says how long jobs take.
        """
        events: list[Event] = []
        for run in self.runs:
            rest = [run.order[at] for at in range(run.told, len(run.order)) if at not in run.failed]
            seconds = 0.0 if stopped_at is None else stopped_at - max(run.sent_at, self.began_at)
            events += [Returned(run.batch, rest), Ended(run.batch, seconds, 0 if stopped_at is None else run.told)]
        return events, self._clear()

    def bury(
        self, cause: Cause, now: float, *, is_garbled: bool = False, blamed: tuple[int, int] | None = None
    ) -> tuple[list[Event], list[Work]]:
        """Settle with a worker that is dead: keep what it finished, charge what it was at, give back the rest.

        Where the channel `is_garbled`, frames were lost. Then its records count only if they are exactly those of the
        jobs before the one that ran; else all is run again, and somebody is charged, or it would go on for ever.
        `blamed` is the place for which it was killed: where it had moved on by then, nobody is charged.
        """
        running = self.running(now)
        if blamed is not None and running is not None and running.place != blamed:
            running = None
        events: list[Event] = []
        if is_garbled and not self._is_sure(running):
            running = running or self._suspect(now)
        elif self.runs:
            events += self._collect(self.runs[0], self.memory.words[HEAD])
        if running is not None and running.index is None:
            events.append(Unprepared(running.batch, cause.message))
            self.preparing.pop(running.batch)
        elif running is not None:
            events += self._charge(running, cause, now)
        given, works = self.give_back()
        return events + given, works

    def _charge(self, running: Running, cause: Cause, now: float) -> list[Event]:
        """Return the failure of the attempt that ran, unless its record was there already."""
        run = self.runs[0]
        assert running.index is not None  # noqa: S101 - the caller looks
        position = running.position
        if position < run.told or position in run.failed:
            return []
        run.failed.add(position)
        also = ("builtins.TimeoutError",) if cause.verdict == "timeout" else ()
        names = (cause.type, *also, *_BASES)
        failure = Failure(cause.verdict, cause.type, cause.message, "", names, now - running.since)
        return [Failed(run.batch, running.index, failure)]

    def _is_sure(self, running: Running | None) -> bool:
        """Tell whether the memory holds exactly the records of what stands before the running job of the first run."""
        if running is None or running.index is None:
            return False
        run = self.runs[0]
        before = range(run.told, running.position)
        count = b"".join([*run.large, self.memory.peek()]).count(b"\n")
        return count == sum(at not in run.failed for at in before)

    def _suspect(self, now: float) -> Running | None:
        """Return the first job that was not told of."""
        if not self.runs:
            return None
        run = self.runs[0]
        untold = (at for at in range(run.told, len(run.order)) if at not in run.failed)
        at = next(untold, None)
        return None if at is None else Running(run.batch, run.order[at], now, None, at)

    def _collect(self, run: _Run, head: int) -> list[Finished]:
        """Take the records that a worker finished and did not tell of."""
        records = [*run.large, *self.memory.take(head)]
        text = b"".join(records)
        count = text.count(b"\n")
        if not count:
            return []
        indexes: list[int] = []
        at = run.told
        while len(indexes) < count:
            if at not in run.failed:
                indexes.append(run.order[at])
            at += 1
        run.told = at
        skipped = sum(status_of(line) == "skipped" for line in text.split(b"\n")[:count])
        self.done += count
        return [Finished(run.batch, [text], count - skipped, skipped, [], indexes)]

    def _clear(self) -> list[Work]:
        works = list(self.preparing.values())
        self.runs.clear()
        self.preparing.clear()
        self.held.clear()
        return works

    def _run_of(self, batch: int) -> _Run:
        if not self.runs or self.runs[0].batch != batch:
            raise FrameError(f"batch {batch} is not running here")
        return self.runs[0]

    def _read_prepared(self, body: bytes) -> list[Event]:
        batch, lines, has_hashes, has_ids = frame.PREPARED.unpack_from(body)
        at = frame.PREPARED.size
        parts: list[bytes] = []
        for size in (KEY_SIZE * lines, KEY_SIZE * lines * has_hashes, ID_SIZE * lines * has_ids):
            parts.append(body[at : at + size])
            at += size
        keys, hashes, own_ids = parts
        notes = orjson.loads(body[at:]) if at < len(body) else []
        work = self.preparing.pop(batch, None)
        if work is None:
            return []  # it was taken back while it was prepared
        if lines != work.lines or len(own_ids) != ID_SIZE * lines * has_ids or at > len(body):
            raise FrameError(f"{lines} keys for {work.lines} lines")
        self.held[batch] = lines
        return [Answer(batch, keys, hashes, own_ids, notes)]

    def _read_told(self, body: bytes, now: float) -> list[Event]:
        batch, position, head, completed, skipped, is_last = frame.TOLD.unpack_from(body)
        run = self._run_of(batch)
        records = [*run.large, *self.memory.take(head)]
        indexes: Sequence[int] = run.order[run.told : position]
        if run.failed:
            indexes = [run.order[at] for at in range(run.told, position) if at not in run.failed]
        durations = orjson.loads(body[frame.TOLD.size :])
        if run.fetched:
            durations = list((Counter(dict(durations)) - run.fetched).items())
            completed -= run.fetched.total() - run.fetched_skipped
            skipped -= run.fetched_skipped
            run.fetched, run.fetched_skipped = Counter(), 0
        if len(indexes) != completed + skipped:
            raise FrameError(f"{completed + skipped} records for {len(indexes)} jobs")
        run.told, run.large = position, []
        self.done += completed + skipped
        events: list[Event] = [Finished(batch, records, completed, skipped, durations, indexes)]
        if is_last:
            self.runs.popleft()
            events.append(Ended(batch, now - max(run.sent_at, self.began_at), len(run.order)))
            self.began_at = now
        return events

    def _read_failed(self, body: bytes) -> list[Event]:
        batch, position = frame.FAILED.unpack_from(body)
        run = self._run_of(batch)
        run.failed.add(position)
        self.done += 1
        return [Failed(batch, run.order[position], unpack_failure(body[frame.FAILED.size :]))]
