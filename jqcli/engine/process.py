"""The pool: hands batches out to a bounded number of workers, and takes back what would wait behind a long job.

Law: nothing waits behind a slow job while a worker is idle. The workers themselves are the `crew`'s.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jqcli.core.effect import RunJobs
from jqcli.core.event import Ended, Event, Returned
from jqcli.core.tally import WorkerRow
from jqcli.engine import frame
from jqcli.engine.crew import Crew
from jqcli.engine.frame import HEADER, Kind, pack
from jqcli.engine.member import Step, Worker
from jqcli.engine.memory import REVOKED

if TYPE_CHECKING:
    import selectors
    from array import array
    from collections.abc import Callable, Iterator

    from jqcli.core.effect import Attempt, Limits, Work
    from jqcli.engine.ear import Hear
    from jqcli.policy import Policy

_WATCH_EVERY = 0.02


class Pool:
    """The engine that makes attempts in worker processes."""

    is_attempting = False

    # One worker starts at once, or with `is_eager` all of them; else the others when there is a second batch.
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
        self.holders: dict[int, int] = {}
        self._orders: list[Work | RunJobs] = []  # for which no worker has room yet
        self._is_revoked = False
        limit = 2 * max_result + (64 << 20)
        self._crew = Crew(workers, setup, limit, selector, hear, self._reclaim, is_eager=is_eager)
        self._workers = self._crew.workers

    def start(self, is_wanted: Callable[[], bool]) -> dict[str | None, Policy]:
        """Wait until a worker has loaded the handlers; raises HandlerLoadError, or StopNow when it is not wanted."""
        return self._crew.start(is_wanted)

    # What can be asked

    def room(self, now: float) -> int:
        """Return how many more batches the workers can use: two each while batches are short.

        One that is starting, or is not started yet because there was nothing for it to do, can use one.
        """
        free = sum(max(0, worker.depth(now) - worker.ledger.load) for worker in self._workers)
        starting = sum(not worker.is_ready for worker in self._workers)
        return free + starting + len(self._crew.missing) - len(self._orders)

    def idle(self, now: float) -> int:
        """Return how many workers would start a job at once, starting one more where none would."""
        idle = sum(not worker.ledger.load and worker.depth(now) > 0 for worker in self._workers)
        if not idle:
            self._crew.spawn_missing()
        return idle

    def wait_until(self, now: float) -> float | None:
        """Return when the workers want to be looked at again; None while none of them has anything to do."""
        if self._crew.events or any(worker.is_dead for worker in self._workers):
            return now
        if all(worker.is_ready and not worker.ledger.load for worker in self._workers):
            return None
        return max(self._crew.watch_at, now)

    def rows(self, now: float, label: Callable[[int, int | None], str]) -> tuple[WorkerRow, ...]:
        """Return what the live table shows; `label` names the job of a batch and an index."""
        rows = []
        for worker in self._workers:
            running = worker.ledger.running(now)
            state = "starting" if not worker.is_ready else "running" if running else "idle"
            job = label(running.batch, running.index) if running else ""
            age = max(0.0, now - running.since) if running else None
            restarts = self._crew.restarts[worker.number]
            rows.append(WorkerRow(worker.number, worker.child.pid, state, job, age, worker.ledger.done, restarts))
        return tuple(rows)

    @property
    def is_busy(self) -> bool:
        """Whether any attempt is being made, or is about to be."""
        return any(worker.ledger.is_running for worker in self._workers)

    # Batches go out

    def prepare(self, work: Work) -> None:
        """Send lines to the worker with the least to do, or as soon as there is one."""
        worker = self._pick(time.monotonic())
        self._crew.spawn_missing(worker)
        if worker is None:
            self._orders.append(work)
        else:
            self._send_work(worker, work)

    def _send_work(self, worker: Worker, work: Work) -> None:
        worker.ledger.preparing[work.batch] = work
        self._crew.send(
            worker, pack(Kind.PREPARE, frame.announce(work)) + HEADER.pack(len(work.data), Kind.LINES), work.data
        )

    def run(self, batch: int, lines: int, order: array[int] | None, limits: Limits) -> None:
        """Let the worker that holds a batch run it; if that is gone, the batch comes back."""
        worker = next((w for w in self._workers if batch in w.ledger.held), None)
        if worker is None:
            self._crew.events += [Returned(batch, range(lines) if order is None else order), Ended(batch)]
            return
        self.holders[batch] = worker.number
        worker.ledger.add_run(batch, order, limits, time.monotonic())
        self._crew.send(worker, pack(Kind.RUN, frame.BATCH.pack(batch), b"" if order is None else order.tobytes()))

    def run_jobs(self, batch: int, attempts: list[Attempt], limits: Limits) -> None:
        """Send jobs that were ruled before to the worker with the least to do."""
        worker = self._pick(time.monotonic())
        self._crew.spawn_missing(worker)
        jobs = RunJobs(batch, attempts, limits)
        if worker is None:
            self._orders.append(jobs)
        else:
            self._send_jobs(worker, jobs)

    def _send_jobs(self, worker: Worker, jobs: RunJobs) -> None:
        batch, attempts, limits = jobs
        self.holders[batch] = worker.number
        worker.ledger.add_run(batch, range(len(attempts)), limits, time.monotonic())
        self._crew.send(worker, pack(Kind.JOBS, frame.pack_jobs(batch, attempts)))

    def drop(self, batch: int) -> None:
        """Let the holder of a batch forget it."""
        for worker in self._workers:
            if worker.ledger.held.pop(batch, None) is not None:
                self._crew.send(worker, pack(Kind.DROP, frame.BATCH.pack(batch)))

    def _pick(self, now: float, *, is_owed: bool = False) -> Worker | None:
        """Return the worker with the least to do that can take a batch, or one that was taken back (`is_owed`)."""
        free = [w for w in self._workers if w.ledger.load < w.depth(now) or (is_owed and w.is_waiting(now))]
        return min(free, key=lambda w: w.ledger.load) if free else None

    # Events come in

    def advance(self, now: float) -> Iterator[Event]:
        """Do what is due and yield what happened since."""
        crew = self._crew
        if now >= crew.watch_at:
            self._watch(now)
            crew.watch_at = now + _WATCH_EVERY
        if self._is_revoked:
            self._return_jobs()
        while self._orders and (worker := self._pick(now, is_owed=True)) is not None:
            order = self._orders.pop(0)
            if isinstance(order, RunJobs):
                self._send_jobs(worker, order)
            else:
                self._send_work(worker, order)
        events, crew.events = crew.events, []
        yield from events
        for worker in self._workers:
            worker.ledger.memory.free()

    def close(self, *, at_once: bool) -> list[Event]:
        """End all workers: let them leave their handlers, unless `at_once`; then kill their groups."""
        self._crew.close(at_once=at_once)
        events, self._crew.events = self._crew.events, []
        return events

    # Work comes back

    def revoke(self) -> None:
        """Want back all that has not begun."""
        for worker in self._workers:
            self._want_back(worker)
        self._is_revoked = True  # no more than that: this may be inside a signal handler

    def _return_jobs(self) -> None:
        """Give back the jobs for which no worker had room."""
        for order in self._orders:
            if isinstance(order, RunJobs):
                self._crew.events += [Returned(order.batch, range(len(order.attempts))), Ended(order.batch)]
        self._orders = [order for order in self._orders if not isinstance(order, RunJobs)]
        self._is_revoked = False

    def _watch(self, now: float) -> None:
        """Take back what the dead have not prepared, and work from those that are stuck."""
        crew = self._crew
        crew.watch(now)
        self._orders[:0] = crew.works
        crew.works.clear()
        if crew.missing or any(w.is_ready and not w.ledger.is_running for w in self._workers):
            for worker in self._workers:
                self._take_back(worker, now)

    def _take_back(self, worker: Worker, now: float) -> None:
        step = worker.next_step(now)
        if step is Step.ASK:
            self._crew.spawn_missing()
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
            self._crew.events += events
        else:
            self._give_out(worker, events, works)
        worker.is_stopping = worker.may_stop = False
        worker.asked_back = None

    def _give_out(self, worker: Worker, events: list[Event], works: list[Work]) -> None:
        self._crew.events += events
        self._orders[:0] = works
        self._crew.send(worker, pack(Kind.RESUME))
