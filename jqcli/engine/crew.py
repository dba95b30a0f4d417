"""The crew of the pool: its worker processes come, speak and go, watched by a parent that never waits for any of them.

Law 7: a worker's death hurts its job alone. Whatever ends a worker (a crash, a timeout, bytes that are no frames)
goes through `_bury`, which keeps what it finished, charges the one job it was at, and gives back the rest.
"""

from __future__ import annotations

import selectors
import time
from typing import TYPE_CHECKING

import orjson

from jqcli.core.event import Event, Lost
from jqcli.engine.cause import Cause, crash
from jqcli.engine.child import Child
from jqcli.engine.ear import Ear
from jqcli.engine.frame import FrameError, Kind, pack
from jqcli.engine.keeper import Keeper
from jqcli.engine.ledger import Ledger
from jqcli.engine.member import START_LIMIT, Worker
from jqcli.engine.wire import Wire
from jqcli.errors import FileError, HandlerLoadError, StopNow
from jqcli.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from jqcli.core.effect import Work
    from jqcli.engine.ear import Hear

_REAP_LIMIT = 1.0
_CLOSE_LIMIT = 2.0
_STARTS_TRIED = 2
_START_LOOK = 0.1


class Crew:
    """The workers of one pool, and how to get more of them.

    `missing` are the numbers of those that are not started yet, `restarts` how often each was replaced; `events` is
    what they said, and `works` what the dead had not prepared: whoever takes these empties them. `watch_at` is the
    monotonic moment of the next `watch`. `reclaim` is called when a worker says that it has stopped.
    """

    # Workers start at once, so that this process can go on importing meanwhile: all, or (unless `is_eager`) one.
    def __init__(
        self,
        size: int,
        setup: bytes,
        frame_limit: int,
        selector: selectors.BaseSelector,
        hear: Hear | None,
        reclaim: Callable[[Worker], None],
        *,
        is_eager: bool,
    ) -> None:
        self._setup = setup
        self._frame_limit = frame_limit
        self._selector = selector
        self._wire = Wire(selector)
        self._hear = hear
        self._reclaim = reclaim
        self.workers: list[Worker] = []
        self.missing = list(range(size - 1, -1, -1))
        self.restarts = [0] * size
        self.events: list[Event] = []
        self.works: list[Work] = []
        self.watch_at = 0.0
        self._policies: dict[str | None, Policy] | None = None
        self._failed_starts = 0
        self._start_error = ""
        self._is_closing = False
        self._keeper = Keeper()
        try:
            self._spawn_one()
        except FileError:
            self._keeper.close()
            raise
        while is_eager and self.missing:
            self.spawn_missing()

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
            self.watch(time.monotonic())
        self.events.clear()
        return self._policies

    def close(self, *, at_once: bool) -> None:
        """End all workers: let them leave their handlers, unless `at_once`; then kill their groups."""
        self._is_closing = True
        limit = time.monotonic() + _CLOSE_LIMIT
        for worker in self.workers:
            if at_once:
                self._end(worker, Cause("stop", "jqcli.Stopped", "the run was stopped"))
            elif worker.is_ready:
                worker.child.send(pack(Kind.STOP))
        for worker in list(self.workers):
            if worker.is_ready and not at_once:
                worker.child.wait_for_end(limit)
            self._bury(worker, time.monotonic())
        self._keeper.close()

    # They come

    def spawn_missing(self, picked: Worker | None = None) -> None:
        """Start one more worker, unless the one that is picked has nothing else to do: so never more than batches."""
        if self.missing and (picked is None or picked.ledger.load):
            try:
                self._spawn_one()
            except FileError:  # no more processes or descriptors: fewer workers do as well
                self.missing.clear()

    def _spawn_one(self) -> None:
        number = self.missing.pop()
        try:
            self._spawn(number)
        except OSError as error:
            self.missing.append(number)
            raise FileError(f"cannot start a worker: {error.strerror}") from error

    def _spawn(self, number: int) -> None:
        ear = None if self._hear is None else Ear(number, self._hear)
        child = Child(self._setup, self._frame_limit, ear)
        self._keeper.add(child.pid)
        worker = Worker(number, child, Ledger(child.memory), time.monotonic())
        if ear is not None:
            ear.ledger = worker.ledger
        self.workers.append(worker)
        self._wire.connect(child, lambda mask: self._serve(worker, mask), lambda _: self._mark_dead(worker))

    # They speak

    def send(self, worker: Worker, *parts: bytes) -> None:
        """Send frames to a worker; what it does not take now goes later."""
        worker.child.send(*parts)
        if worker.child.has_outbox or worker.child.is_broken:
            self._wire.adjust(worker.child)

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
            self.events += worker.ledger.read(kind, body, time.monotonic())

    def _read_start(self, worker: Worker, kind: Kind, body: bytes) -> None:
        """Take what a worker says of its handlers, once; later such a frame is a handler's own doing."""
        if worker.is_ready:
            raise FrameError(f"a second {kind.name}")
        if kind is Kind.LOST:
            self._start_error = str(orjson.loads(body))
            return
        worker.is_ready = True
        self._failed_starts, self._start_error = 0, ""
        self._policies = {name: Policy.from_dict(policy) for name, policy in orjson.loads(body)}

    # They go

    def watch(self, now: float) -> None:
        """Bury the dead, end what takes too long, and fetch what was done before what takes long."""
        for worker in list(self.workers):
            if worker.is_gone(now):
                self._bury(worker, now)
            elif worker.cause is None and worker.overrun(now) is not None:
                self._serve(worker, 0)  # what it has told by now counts: no result that came in time is thrown away
                overrun = worker.overrun(now)
                if overrun is not None:
                    cause, worker.blamed = overrun
                    self._end(worker, cause)
            elif worker.cause is None and worker.ledger.has_untold(now):
                self._serve(worker, 0)
                if worker.cause is None:
                    self.events += worker.ledger.fetch(now)

    def _mark_dead(self, worker: Worker) -> None:
        worker.is_dead = True
        self.watch_at = 0.0

    def _end(self, worker: Worker, cause: Cause) -> None:
        worker.cause = cause
        worker.killed_at = time.monotonic()
        worker.child.kill()

    def _bury(self, worker: Worker, now: float) -> None:
        """Settle with a dead worker, and put another in its place."""
        worker.child.kill()
        self._keeper.remove(worker.child.pid)
        ending = worker.child.reap(_REAP_LIMIT) or "no exit status"
        self._serve(worker, 0)  # its last words: behind its end, so that none is missed
        cause = worker.cause or crash(f"the worker ended with {ending}")
        events, works = worker.ledger.bury(cause, now, is_garbled=worker.is_garbled, blamed=worker.blamed)
        self.events += events
        self.works[:0] = works
        self.workers.remove(worker)
        self._wire.disconnect(worker.child)
        if self._is_closing:
            return
        if not worker.is_ready:
            self._failed_starts += 1
            self._start_error = self._start_error or f"the worker ended with {ending} while it loaded the handlers"
        if self._failed_starts < _STARTS_TRIED and self._policies is not None:
            self._replace(worker.number)
        elif self._policies is not None:
            self.events.append(Lost(self._start_error))

    def _replace(self, number: int) -> None:
        self.restarts[number] += 1
        self.missing.append(number)
        try:
            self._spawn_one()
        except FileError:
            if not self.workers:
                raise
