"""The loop of a run, and the order of all its side effects.

One thread owns all state. It never waits without a deadline, except for writes and syncs of local files.
"""

from __future__ import annotations

import random
import selectors
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from jqcli.core import effect as do
from jqcli.core import event as was
from jqcli.core.rules import Moment
from jqcli.edge.cutter import Oversized
from jqcli.errors import JqcliError, StopNow
from jqcli.halt import Halt
from jqcli.intake import Intake
from jqcli.view import View
from jqcli.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from jqcli.chronicle import Chronicle
    from jqcli.claimer import Claimer
    from jqcli.core.dispatch import Dispatch
    from jqcli.core.tally import Snapshot
    from jqcli.edge.cutter import Block
    from jqcli.edge.feed import Feed
    from jqcli.edge.interrupt import Interrupts
    from jqcli.edge.observer import Observers
    from jqcli.engine.base import Engine
    from jqcli.halt import Stop
    from jqcli.intake import Bounds
    from jqcli.recorder import Recorder

_IDLE = 5.0  # seconds; nothing waits longer than this without looking around
_ASK_EVERY = 0.1  # seconds between two looks at what other runs have done of what is waited for


class Parts(NamedTuple):
    """What a loop joins; `stream_fd` takes more results when it is writable, `claimer` is there with a store."""

    source: Feed
    engine: Engine
    recorder: Recorder
    stream_fd: int
    dispatch: Dispatch
    selector: selectors.BaseSelector
    interrupts: Interrupts
    observers: Observers
    chronicle: Chronicle
    bounds: Bounds
    keeps_order: bool
    workers: int
    claimer: Claimer | None = None


class Loop:
    """Moves lines from the source through the engine into the outputs."""

    def __init__(self, parts: Parts) -> None:
        self._source = parts.source
        self._engine = parts.engine
        self._recorder = parts.recorder
        self._dispatch = parts.dispatch
        self._keeps_order = parts.keeps_order
        self._workers = parts.workers
        self._claimer = parts.claimer
        self._chronicle = parts.chronicle
        self.observers = parts.observers
        self.tally = parts.recorder.tally
        self.run_id = parts.recorder.head.run
        ends = parts.bounds.limit, parts.bounds.deadline
        self._view = View(self._source, self._engine, self._dispatch, self.tally, time.monotonic(), *ends)
        self._intake = Intake(parts.source, parts.bounds, parts.dispatch, parts.recorder, parts.workers)
        self._watch = Watch(parts.selector, parts.stream_fd)
        self._interrupts = parts.interrupts
        self._halt = Halt(parts.bounds, parts.interrupts, self.tally, parts.dispatch.gate, self._cease)
        self._untold: list[Callable[[], None]] = []  # of which no record is in its file yet
        self._asked_at = 0.0
        self._has_more = False
        parts.selector.register(parts.interrupts.fd, selectors.EVENT_READ, lambda _: parts.interrupts.drain())

    @property
    def stop(self) -> Stop | None:
        """Why it ends before its input does, None where it does not."""
        return self._halt.stop

    def run(self) -> int:
        """Run until every line is settled, or until the run is stopped; return the exit code.

        Raises InputError, once all before that is settled, where the input cannot be read to its end.
        """
        try:
            self._recorder.begin()
            self._run()
        except JqcliError:
            self._recorder.give_up()
            raise
        if self.stop is not None:
            return self.stop.code
        if self._intake.problem is not None:
            raise self._intake.problem
        return 1 if self.tally.dead else 0

    def _run(self) -> None:
        try:
            while not self._is_over():
                self._turn()
        except StopNow:  # by a second signal, out of a handler that runs in this process
            self._halt.heed_signals()
        is_forced = self.stop is not None and self._engine.is_busy
        for event in self._engine.close(at_once=is_forced):
            self._take(event)
        self._recorder.end()
        self._tell_written()
        self._drain_output()

    def _cease(self) -> None:
        """Let nothing new start."""
        self._engine.revoke()
        self._watch.watch_input(None)

    def _is_over(self) -> bool:
        self._halt.heed_signals()
        if self.stop is not None:
            return not self._engine.is_busy or self._halt.is_overdue
        return self._intake.is_done and self._dispatch.is_empty

    def _turn(self) -> None:
        now = time.monotonic()
        self._halt.heed_deadline(now)
        if self.stop is None:
            self._feed(now)
        self._watch.wait(self._wait_seconds(now))
        now = time.monotonic()
        for event in self._engine.advance(now):
            self._take(event)
        self._ask_others(now)
        self._watch.watch_output(is_behind=self._recorder.flush())
        self._tell_written()
        if not (self._intake.is_done and self._dispatch.is_empty):  # else there is nothing left to be stopped
            self._halt.heed_failures()
        self._recorder.sync(now)
        self._show(now)

    def _show(self, now: float) -> None:
        """Let those look on whose turn it is, and answer whoever has asked."""
        if now >= self.observers.due_at:
            self.tally.mark(now)
            self.observers.update(self.snapshot(now), now)
        if self._interrupts.take_question():
            self.observers.answer(self.snapshot(now))

    # Lines in

    def _feed(self, now: float) -> None:
        """Give the engine what it can use: jobs that are due first, then new lines."""
        self._watch.watch_input(None)
        self._has_more = False
        while self.stop is None and self._engine.room(now) > 0 and not self._recorder.is_full:
            effects = self._dispatch.next_jobs(self._moment(now), self._starters(now))
            if effects:
                self._apply(effects)
                if isinstance(effects[0], do.RunJobs):
                    continue
                self._has_more = True  # records, of which nothing but this turn's end bounds what is gathered; as below
                return
            most = 0 if self._intake.is_done else self._intake.wanted
            if most <= 0:
                return
            part = self._intake.cut(most, now)
            if part is None:
                self._watch.watch_input(self._source.wait_fd())
                return
            self._admit(part)
            if isinstance(part, Oversized):
                self._has_more = True  # of which nothing but this turn's end bounds what is gathered
                return

    def _starters(self, now: float) -> int:
        """Return over how many workers jobs are spread; behind the gate, those that would start one at once."""
        return self._engine.idle(now) if self._dispatch.gate.is_on else self._workers

    def _admit(self, part: Block | Oversized) -> None:
        name, stem = self._source.names[part.source], self._source.stems[part.source]
        if isinstance(part, Oversized):
            if self._recorder.bury_oversized(part, name, f"{stem}:{part.line}"):
                self._tell_once_written(partial(self._chronicle.bury_oversized, part, name, f"{stem}:{part.line}"))
            return
        offset = part.offset if self._source.is_lasting(part.source) else -1
        self._apply([self._dispatch.admit(part.source, name, stem, part.first_line, part.data, part.lines, offset)])

    # What happened

    def _take(self, event: was.Event) -> None:
        match event:
            case was.Finished():
                self._take_finished(event)
            case was.Ended():
                self._take_ended(event)
            case was.Answer():
                if self.stop is None:
                    self._apply(self._dispatch.take_answer(event, self._moment(time.monotonic())))
            case was.Failed(batch, index, failure):
                self._take_failed(batch, index, failure)
            case was.Returned(batch, indexes):
                self._dispatch.take_returned(batch, indexes)
            case was.Unprepared(batch, message):
                if self.stop is None:
                    self._apply(self._dispatch.split(batch, message, self._moment(time.monotonic())))
            case was.Lost(message):
                self._halt.begin(3, message)

    def _take_finished(self, event: was.Finished) -> None:
        """Write, then remember (law 5): first the records are in the file, then their jobs count as done."""
        places = None
        if self._keeps_order:
            places = [self._dispatch.place(event.batch, index) for index in event.indexes]
        self._recorder.finish(event, places)
        batch = self._dispatch.batches[event.batch]
        self._chronicle.finish(event, batch, self._engine.holders.get(event.batch, 0))
        if self._claimer is not None:
            done = batch.identities(event.indexes)
            self._recorder.remember(event, *done, places)
        if self._dispatch.gate.is_on:
            self._dispatch.note_success(event.batch, event.indexes, event.mean_seconds, time.monotonic())
        self._apply(self._dispatch.take_finished(event.batch, event.indexes))

    def _take_ended(self, event: was.Ended) -> None:
        if not self._dispatch.gate.is_on:  # whose batches say nothing of how many lines to read
            self._dispatch.sizer.note(event.jobs, event.seconds)
        self._dispatch.take_end(event.batch)
        self._chronicle.forget(event.batch, self._engine.holders.pop(event.batch, 0))

    def _take_failed(self, batch: int, index: int, failure: was.Failure) -> None:
        now = self._moment(time.monotonic())._replace(chance=random.random())  # noqa: S311 - jitter
        tally = self.tally
        held = self._dispatch.batches[batch]
        effects = self._dispatch.take_failure(batch, index, failure, now)
        worker = self._engine.holders.get(batch, 0)
        is_charged = failure.verdict not in ("stop", "snooze") and do.Spare() not in effects
        goes_on = not effects or do.Spare() in effects
        self._chronicle.fail(held, index, failure, worker, goes_on=goes_on, is_charged=is_charged)
        if not is_charged:
            self._apply(effects)
            return
        tally.attempts += 1
        tally.crashes += failure.verdict == "crash"
        tally.timeouts += failure.verdict == "timeout"
        tally.count_latency(int(failure.duration * 1e6))
        tally.retries += not effects
        self._apply(effects)

    def _ask_others(self, now: float) -> None:
        """Look whether other runs have done, or let go of, what jobs here wait for."""
        others = self._dispatch.elsewhere
        if self._claimer is None or not others.count or self.stop is not None or now < self._asked_at + _ASK_EVERY:
            return
        self._asked_at = now
        self._apply(self._dispatch.take_news(self._claimer.claim(others.wanted), self._moment(now)))

    # What is to be done

    def _apply(self, effects: list[do.Effect]) -> None:
        for effect in effects:
            match effect:
                case do.Prepare(work):
                    self._engine.prepare(work)
                case do.Run(batch, lines, order, limits):
                    self._engine.run(batch, lines, order, limits)
                case do.RunJobs(batch, attempts, limits):
                    self._engine.run_jobs(batch, attempts, limits)
                case do.Drop(batch):
                    self._engine.drop(batch)
                case do.Spare():
                    pass
                case _:
                    self._recorder.settle(effect)
                    if isinstance(effect, (do.Bury, do.Double)):
                        self._tell_once_written(partial(self._chronicle.settle, effect))
        self._recorder.flush_doubles()
        self._intake.give_back(sum(each.statuses.get(None, 0) for each in effects if isinstance(each, do.Pass)))

    def _tell_once_written(self, tell: Callable[[], None]) -> None:
        """Keep what is to be told of a line until its record is written: what was told did happen."""
        if self._chronicle.is_wanted:
            self._untold.append(tell)

    def _tell_written(self) -> None:
        untold, self._untold = self._untold, []
        for tell in untold:
            tell()

    # Time

    def _moment(self, now: float) -> Moment:
        return Moment(now, time.time())

    def _wait_seconds(self, now: float) -> float:
        """Return how long nothing is due."""
        if self.stop is None and (self._has_more or (self._intake.is_done and self._dispatch.is_empty)):
            return 0.0
        moments = [now + _IDLE, self._halt.look_at, self.observers.due_at, self._engine.wait_until(now)]
        moments.append(self._recorder.sync_at)
        if self._dispatch.elsewhere.count:
            moments.append(now + _ASK_EVERY)
        if self.stop is not None:
            moments.append(self.stop.deadline)
        elif self._engine.room(now) > 0 and not self._recorder.is_full:
            # Without room a moment that has come would only make the loop spin; a worker's word wakes it.
            if self._starters(now) > 0:
                moments.append(self._dispatch.due_at)
            if self._intake.wanted > 0:
                moments.append(self._source.ready_at())
        return max(0.0, min(moment for moment in moments if moment is not None) - now)

    def snapshot(self, now: float) -> Snapshot:
        """Return all that can be shown."""
        state = "running" if self.stop is None else "stopping"
        return self._view.take(now, state)

    def _drain_output(self) -> None:
        """Write what is left, as long as the reader takes it; a second signal gives up."""
        while self._recorder.flush():
            self._halt.heed_signals()
            if self._halt.is_overdue:
                return
            self._show(time.monotonic())
            self._watch.wait(0.05)
