"""The pool: a bounded number of worker processes, fed and watched by a parent that never waits for any of them.

Law 7: a worker's death hurts its job alone. Whatever ends a worker (a crash, a timeout, bytes that are no frames)
goes through `_bury`, which keeps what it finished, charges the one job it was at, and gives back the rest.
"""

from __future__ import annotations

import selectors
import time
from typing import TYPE_CHECKING

import orjson

from jqcli.core.effect import RunJobs
from jqcli.core.event import Ended, Event, Lost, Returned
from jqcli.core.tally import WorkerRow
from jqcli.engine import frame
from jqcli.engine.cause import Cause, crash
from jqcli.engine.child import Child
from jqcli.engine.ear import Ear
from jqcli.engine.frame import HEADER, FrameError, Kind, pack
from jqcli.engine.keeper import Keeper
from jqcli.engine.ledger import Ledger
from jqcli.engine.member import START_LIMIT, Step, Worker
from jqcli.engine.memory import REVOKED
from jqcli.engine.wire import Wire
from jqcli.errors import FileError, HandlerLoadError, StopNow
from jqcli.policy import Policy

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterator

    from jqcli.core.effect import Attempt, Limits, Work
    from jqcli.engine.ear import Hear

_REAP_LIMIT = 1.0
_CLOSE_LIMIT = 2.0
_WATCH_EVERY = 0.02
_STARTS_TRIED = 2
_START_LOOK = 0.1


class Pool:
    """The engine that makes attempts in worker processes."""

    is_attempting = False

    # Workers start at once, so that this process can go on importing meanwhile: all, or (unless `is_eager`) one, and
    # the others when there is a second batch.
    def __init__(
        self,
        workers: int,
        setup: bytes,
        max_result: int,
        selector: selectors.BaseSelector,
        hear: Hear | None = None,
        *,
        is_eager: bool = False,
    ) -> None:
        self._setup = setup
        self._frame_limit = 2 * max_result + (64 << 20)
        self._selector = selector
        self._wire = Wire(selector)
        self._hear = hear
        self._workers: list[Worker] = []
        self.holders: dict[int, int] = {}
        self._events: list[Event] = []
        self._orders: list[Work | RunJobs] = []  # for which no worker has room yet
        self._policies: dict[str | None, Policy] | None = None
        self._failed_starts = 0
        self._start_error = ""
        self._restarts = [0] * workers
        self._watch_at = 0.0
        self._is_closing = False
        self._is_revoked = False
        self._keeper = Keeper()
        self._missing = list(range(workers - 1, -1, -1))
        try:
            self._spawn_one()
        except FileError:
            self._keeper.close()
            raise
        while is_eager and self._missing:
            self._spawn_missing(None)

    def start(self, is_wanted: Callable[[], bool]) -> dict[str | None, Policy]:
        """Wait until a worker has loaded the handlers; raises HandlerLoadError, or StopNow when it is not wanted."""
        deadline = time.monotonic() + START_LIMIT
        while self._policies is None:
            if self._start_error or time.monotonic() > deadline:
                raise HandlerLoadError(self._start_error or "no worker was ready in time")
            if not is_wanted():
                raise StopNow
            for key, mask in self._selector.select(_START_LOOK):
                key.data(mask)
            self._watch(time.monotonic())
        self._events.clear()
        return self._policies

    def room(self, now: float) -> int:
        """Return how many more batches the workers can use: two each while batches are short.

        One that is starting, or is not started yet because there was nothing for it to do, can use one.
        """
        free = sum(max(0, worker.depth(now) - worker.ledger.load) for worker in self._workers)
        starting = sum(not worker.is_ready for worker in self._workers)
        return free + starting + len(self._missing) - len(self._orders)

    def idle(self, now: float) -> int:
        """Return how many workers would start a job at once, starting one more where none would."""
        idle = sum(not worker.ledger.load and worker.depth(now) > 0 for worker in self._workers)
        if not idle:
            self._spawn_missing(None)
        return idle

    def prepare(self, work: Work) -> None:
        """Send lines to the worker with the least to do, or as soon as there is one."""
        worker = self._pick(time.monotonic())
        self._spawn_missing(worker)
        if worker is None:
            self._orders.append(work)
        else:
            self._send_work(worker, work)

    def _send_work(self, worker: Worker, work: Work) -> None:
        worker.ledger.preparing[work.batch] = work
        self._send(
            worker, pack(Kind.PREPARE, frame.announce(work)) + HEADER.pack(len(work.data), Kind.LINES), work.data
        )

    def run(self, batch: int, lines: int, order: array[int] | None, limits: Limits) -> None:
        """Let the worker that holds a batch run it; if that is gone, the batch comes back."""
        worker = next((w for w in self._workers if batch in w.ledger.held), None)
        if worker is None:
            self._events += [Returned(batch, range(lines) if order is None else order), Ended(batch)]
            return
        self.holders[batch] = worker.number
        worker.ledger.add_run(batch, order, limits, time.monotonic())
        self._send(worker, pack(Kind.RUN, frame.BATCH.pack(batch), b"" if order is None else order.tobytes()))

    def run_jobs(self, batch: int, attempts: list[Attempt], limits: Limits) -> None:
        """Send jobs that were ruled before to the worker with the least to do."""
        worker = self._pick(time.monotonic())
        self._spawn_missing(worker)
        jobs = RunJobs(batch, attempts, limits)
        if worker is None:
            self._orders.append(jobs)
        else:
            self._send_jobs(worker, jobs)

    def _send_jobs(self, worker: Worker, jobs: RunJobs) -> None:
        batch, attempts, limits = jobs
        self.holders[batch] = worker.number
        worker.ledger.add_run(batch, range(len(attempts)), limits, time.monotonic())
        self._send(worker, pack(Kind.JOBS, frame.pack_jobs(batch, attempts)))

    def drop(self, batch: int) -> None:
        """Let the holder of a batch forget it."""
        for worker in self._workers:
            if worker.ledger.held.pop(batch, None) is not None:
                self._send(worker, pack(Kind.DROP, frame.BATCH.pack(batch)))

    def advance(self, now: float) -> Iterator[Event]:
        """Do what is due and yield what happened since."""
        if now >= self._watch_at:
            self._watch(now)
            self._watch_at = now + _WATCH_EVERY
        if self._is_revoked:
            self._return_jobs()
        while self._orders and (worker := self._pick(now, is_owed=True)) is not None:
            order = self._orders.pop(0)
            if isinstance(order, RunJobs):
                self._send_jobs(worker, order)
            else:
                self._send_work(worker, order)
        events, self._events = self._events, []
        yield from events
        for worker in self._workers:
            worker.ledger.memory.free()

    def _return_jobs(self) -> None:
        """Give back the jobs for which no worker had room."""
        for order in self._orders:
            if isinstance(order, RunJobs):
                self._events += [Returned(order.batch, range(len(order.attempts))), Ended(order.batch)]
        self._orders = [order for order in self._orders if not isinstance(order, RunJobs)]
        self._is_revoked = False

    def wait_until(self, now: float) -> float | None:
        """Return when the workers want to be looked at again; None while none of them has anything to do."""
        if self._events or any(worker.is_dead for worker in self._workers):
            return now
        if all(worker.is_ready and not worker.ledger.load for worker in self._workers):
            return None
        return max(self._watch_at, now)

    def rows(self, now: float, label: Callable[[int, int | None], str]) -> tuple[WorkerRow, ...]:
        """Return what the live table shows; `label` names the job of a batch and an index."""
        rows = []
        for worker in self._workers:
            running = worker.ledger.running(now)
            state = "starting" if not worker.is_ready else "running" if running else "idle"
            job = label(running.batch, running.index) if running else ""
            age = max(0.0, now - running.since) if running else None
            restarts = self._restarts[worker.number]
            rows.append(WorkerRow(worker.number, worker.child.pid, state, job, age, worker.ledger.done, restarts))
        return tuple(rows)

    @property
    def is_busy(self) -> bool:
        """Whether any attempt is being made, or is about to be."""
        return any(worker.ledger.is_running for worker in self._workers)

    def revoke(self) -> None:
        """Want back all that has not begun."""
        for worker in self._workers:
            self._want_back(worker)
        self._is_revoked = True  # no more than that: this may be inside a signal handler

    def close(self, *, at_once: bool) -> list[Event]:
        """End all workers: let them leave their handlers, unless `at_once`; then kill their groups."""
        self._is_closing = True
        limit = time.monotonic() + _CLOSE_LIMIT
        for worker in self._workers:
            if at_once:
                self._end(worker, Cause("stop", "jqcli.Stopped", "the run was stopped"))
            elif worker.is_ready:
                worker.child.send(pack(Kind.STOP))
        for worker in list(self._workers):
            if worker.is_ready and not at_once:
                worker.child.wait_for_end(limit)
            self._bury(worker, time.monotonic())
        self._keeper.close()
        events, self._events = self._events, []
        return events

    # Workers come and go

    def _spawn_missing(self, picked: Worker | None) -> None:
        """Start one more worker, unless the one that is picked has nothing else to do: so never more than batches."""
        if self._missing and (picked is None or picked.ledger.load):
            try:
                self._spawn_one()
            except FileError:  # no more processes or descriptors: fewer workers do as well
                self._missing.clear()

    def _spawn_one(self) -> None:
        number = self._missing.pop()
        try:
            self._spawn(number)
        except OSError as error:
            self._missing.append(number)
            raise FileError(f"cannot start a worker: {error.strerror}") from error

    def _spawn(self, number: int) -> None:
        ear = None if self._hear is None else Ear(number, self._hear)
        child = Child(self._setup, self._frame_limit, ear)
        self._keeper.add(child.pid)
        worker = Worker(number, child, Ledger(child.memory), time.monotonic())
        if ear is not None:
            ear.ledger = worker.ledger
        self._workers.append(worker)
        self._wire.connect(child, lambda mask: self._serve(worker, mask), lambda _: self._mark_dead(worker))

    def _mark_dead(self, worker: Worker) -> None:
        worker.is_dead = True
        self._watch_at = 0.0

    def _serve(self, worker: Worker, mask: int) -> None:
        """Read what a worker says, and send what waits for it."""
        if mask & selectors.EVENT_WRITE:
            worker.child.flush()
        ear = worker.child.ear
        if ear is not None:
            ear.listen()
        try:
            for kind, body in worker.child.receive():
                self._read_frame(worker, kind, body)
        except FrameError as error:
            self._end(worker, crash(f"the worker sent {error}"))
            worker.is_garbled = True
            worker.child.mute()
        if ear is not None:
            ear.read_pipe()
        self._wire.adjust(worker.child)

    def _read_frame(self, worker: Worker, kind: Kind, body: bytes) -> None:
        if kind in (Kind.READY, Kind.LOST):
            self._read_start(worker, kind, body)
        elif kind is Kind.STOPPED:
            if not worker.may_stop:
                raise FrameError("an answer to nothing")
            self._reclaim(worker)
        else:
            self._events += worker.ledger.read(kind, body, time.monotonic())

    def _read_start(self, worker: Worker, kind: Kind, body: bytes) -> None:
        """Take what a worker says of its handlers, once; later such a frame is a handler's own doing."""
        if worker.is_ready:
            raise FrameError(f"a second {kind.name}")
        if kind is Kind.LOST:
            self._start_error = str(orjson.loads(body))
            return
        worker.is_ready = True
        self._failed_starts = 0
        self._policies = {name: Policy.from_dict(policy) for name, policy in orjson.loads(body)}

    def _send(self, worker: Worker, *parts: bytes) -> None:
        worker.child.send(*parts)
        if worker.child.has_outbox or worker.child.is_broken:
            self._wire.adjust(worker.child)

    def _bury(self, worker: Worker, now: float) -> None:
        """Settle with a dead worker, and put another in its place."""
        worker.child.kill()
        self._keeper.remove(worker.child.pid)
        ending = worker.child.reap(_REAP_LIMIT) or "no exit status"
        self._serve(worker, 0)  # its last words: behind its end, so that none is missed
        cause = worker.cause or crash(f"the worker ended with {ending}")
        events, works = worker.ledger.bury(cause, now, is_garbled=worker.is_garbled, blamed=worker.blamed)
        self._events += events
        self._orders[:0] = works
        self._workers.remove(worker)
        self._wire.disconnect(worker.child)
        if self._is_closing:
            return
        if not worker.is_ready:
            self._failed_starts += 1
            self._start_error = self._start_error or f"the worker ended with {ending} while it loaded the handlers"
        if self._failed_starts < _STARTS_TRIED and self._policies is not None:
            self._replace(worker.number)
        elif self._policies is not None:
            self._events.append(Lost(self._start_error))

    def _replace(self, number: int) -> None:
        self._restarts[number] += 1
        self._missing.append(number)
        try:
            self._spawn_one()
        except FileError:
            if not self._workers:
                raise

    def _watch(self, now: float) -> None:
        """Bury the dead, end what takes too long, and take work back from those that are stuck."""
        for worker in list(self._workers):
            if worker.is_gone(now):
                self._bury(worker, now)
            elif worker.cause is None and worker.overrun(now) is not None:
                self._serve(worker, 0)  # what it has told by now counts: no result that came in time is thrown away
                overrun = worker.overrun(now)
                if overrun is not None:
                    cause, worker.blamed = overrun
                    self._end(worker, cause)
        if self._missing or any(w.is_ready and not w.ledger.is_running for w in self._workers):
            for worker in self._workers:
                self._take_back(worker, now)

    def _end(self, worker: Worker, cause: Cause) -> None:
        worker.cause = cause
        worker.killed_at = time.monotonic()
        worker.child.kill()

    def _take_back(self, worker: Worker, now: float) -> None:
        step = worker.next_step(now)
        if step is Step.ASK:
            self._spawn_missing(None)
            self._want_back(worker)
        elif step is Step.TAKE:
            worker.is_stopping = True
            self._give_out(worker, *worker.ledger.take_rest(worker.rest_from))

    def _want_back(self, worker: Worker) -> None:
        """Say so once: one word, one answer. The worker takes the word down as it stops."""
        if not worker.may_stop:
            worker.may_stop = True
            worker.ledger.memory.words[REVOKED] = 1

    def _reclaim(self, worker: Worker) -> None:
        """Take what a worker has forgotten that stopped behind a long attempt."""
        events, works = worker.ledger.give_back(time.monotonic())
        if worker.is_stopping:
            self._events += events
        else:
            self._give_out(worker, events, works)
        worker.is_stopping = worker.may_stop = False
        worker.asked_back = None

    def _give_out(self, worker: Worker, events: list[Event], works: list[Work]) -> None:
        self._events += events
        self._orders[:0] = works
        self._send(worker, pack(Kind.RESUME))

    def _pick(self, now: float, *, is_owed: bool = False) -> Worker | None:
        """Return the worker with the least to do that can take a batch, or one that was taken back (`is_owed`)."""
        free = [w for w in self._workers if w.ledger.load < w.depth(now) or (is_owed and w.is_waiting(now))]
        return min(free, key=lambda w: w.ledger.load) if free else None
