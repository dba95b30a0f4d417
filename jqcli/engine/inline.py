"""The engine that makes attempts in this process: for debuggers, and for handlers that must not be copied.

It speaks the same frames as a worker does, so both engines are read by the same code. It cannot end an attempt, and
a handler that kills its process kills the run.
"""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from jqcli.core.event import Ended, Finished, Returned
from jqcli.core.tally import WorkerRow
from jqcli.engine import frame
from jqcli.engine.cause import Cause
from jqcli.engine.ear import Listener
from jqcli.engine.frame import HEADER, Kind
from jqcli.engine.ledger import Ledger
from jqcli.engine.memory import REVOKED, Memory, Writer, create_file
from jqcli.engine.printing import open_heedless, printing
from jqcli.engine.runner import Runner
from jqcli.engine.voice import Voice
from jqcli.engine.worker import load_handlers
from jqcli.errors import FileError, StopNow

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterator

    from jqcli.core.effect import Attempt, Limits, Work
    from jqcli.core.event import Event
    from jqcli.engine.ear import Hear
    from jqcli.engine.setup import Setup, Specs
    from jqcli.policy import Policy

_DEPTH = 2
_PLACE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_STOPPED = Cause("stop", "jqcli.Stopped", "the run was stopped")


class Inline:
    """One worker without a process; its attempts are made inside `advance`."""

    def __init__(self, setup: Setup, specs: Specs, hear: Hear | None = None) -> None:
        self._setup = setup
        self._specs = specs
        try:
            fd = create_file()
        except OSError as error:
            raise FileError(f"cannot start the engine: {error.strerror}") from error
        self._ledger, self._writer = Ledger(Memory(fd)), Writer(fd)
        os.close(fd)
        self._folder = os.open(".", _PLACE)
        self._their_folder: int | None = None  # where handlers are, if they went elsewhere
        self._frames: deque[tuple[Kind, bytes]] = deque()
        self._events: list[Event] = []
        self.holders: dict[int, int] = {}
        self._runner: Runner | None = None
        self.is_attempting = False
        self._streams = open_heedless(1), open_heedless(2)
        self._voice: Voice | None = None
        if hear is not None:
            listener = Listener(0)
            self._voice = voice = Voice(lambda data: hear(listener.take(data)))
            # To stderr as well: what a debugger asks has to be seen.
            out, err = self._streams
            self._streams = voice.open_stream("stdout", 1, out), voice.open_stream("stderr", 2, err)

    def start(self, is_wanted: Callable[[], bool]) -> dict[str | None, Policy]:  # noqa: ARG002 - the protocol's
        """Load the handlers; raises HandlerLoadError."""
        with self._attempting():
            handlers = load_handlers(self._specs)
            if self._voice is not None and self._setup.wants_logging:
                from jqcli.engine.logged import take_logging  # noqa: PLC0415 - costs 8 ms, and few runs want it

                take_logging(self._voice)
        self._runner = Runner(self._setup, handlers, self._writer, self._read_frame, self._voice)
        return {name: handler.policy for name, handler in handlers.items()}

    def room(self, now: float) -> int:  # noqa: ARG002 - the protocol's
        """Return how many more batches it can use."""
        return max(0, _DEPTH - self._ledger.load)

    def idle(self, now: float) -> int:  # noqa: ARG002 - the protocol's
        """Return 1 where it has nothing to do."""
        return 0 if self._ledger.load or self._frames else 1

    def prepare(self, work: Work) -> None:
        """Take lines to prepare."""
        self._ledger.preparing[work.batch] = work
        self._frames += [(Kind.PREPARE, frame.announce(work)), (Kind.LINES, work.data)]

    def run(self, batch: int, lines: int, order: array[int] | None, limits: Limits) -> None:
        """Run a prepared batch, as far as it was not revoked meanwhile."""
        if batch not in self._ledger.held:
            self._events += [Returned(batch, range(lines) if order is None else order), Ended(batch)]
            return
        self._ledger.add_run(batch, order, limits, time.monotonic())
        body = b"" if order is None else order.tobytes()
        self._frames.append((Kind.RUN, frame.BATCH.pack(batch) + body))

    def run_jobs(self, batch: int, attempts: list[Attempt], limits: Limits) -> None:
        """Run jobs that were ruled before."""
        self._ledger.add_run(batch, range(len(attempts)), limits, time.monotonic())
        self._frames.append((Kind.JOBS, frame.pack_jobs(batch, attempts)))

    def drop(self, batch: int) -> None:
        """Forget a prepared batch."""
        self._ledger.held.pop(batch, None)
        self._frames.append((Kind.DROP, frame.BATCH.pack(batch)))

    @property
    def is_busy(self) -> bool:
        """Whether any attempt is about to be made."""
        return self._ledger.is_running

    def revoke(self) -> None:
        """Want back what has not begun; safe to call from a signal handler."""
        self._ledger.memory.words[REVOKED] = 1

    def advance(self, now: float) -> Iterator[Event]:  # noqa: ARG002 - the protocol's
        """Do the next thing and yield what happened."""
        with self._attempting():
            if self._ledger.memory.words[REVOKED]:
                self._give_back()
            elif self._frames and self._runner is not None:
                self._runner.handle(*self._frames.popleft())
        events, self._events = self._events, []
        yield from events

    def wait_until(self, now: float) -> float | None:
        """Return `now` while there is anything to do."""
        return now if self._frames or self._events else None

    def rows(self, now: float, label: Callable[[int, int | None], str]) -> tuple[WorkerRow, ...]:  # noqa: ARG002
        """Return one row; nothing runs while it is drawn."""
        return (WorkerRow(0, 0, "inline", "", None, self._ledger.done, 0),)

    def close(self, *, at_once: bool) -> list[Event]:
        """Leave the handlers; with `at_once`, return what was finished before the attempt that was left."""
        events, self._events = self._events, []
        if at_once:
            events += self._ledger.bury(_STOPPED, time.monotonic())[0]
        with suppress(StopNow), self._attempting():
            if self._runner is not None:
                self._runner.close()
        return events

    @contextmanager
    def _attempting(self) -> Iterator[None]:
        """Note that a handler's code runs, which a second signal leaves."""
        if self._their_folder is not None:
            os.fchdir(self._their_folder)
            os.close(self._their_folder)
            self._their_folder = None
        self.is_attempting = True
        try:
            with printing(*self._streams):
                yield
        finally:
            self.is_attempting = False
            self._come_back()

    def _come_back(self) -> None:
        """Go back to the folder in which this run's files are; handlers go on in theirs, as they would in a worker."""
        if not os.path.samestat(os.stat("."), os.fstat(self._folder)):
            self._their_folder = os.open(".", _PLACE)
            os.fchdir(self._folder)

    def _read_frame(self, data: bytes) -> None:
        kind = Kind(HEADER.unpack_from(data)[1])
        if kind is Kind.STOPPED:
            self._give_back()
            return
        for event in self._ledger.read(kind, data[HEADER.size :], time.monotonic()):
            if isinstance(event, Finished):
                # A copy, since the runner goes on in this very thread and may need the room.
                self._events.append(event._replace(records=[b"".join(event.records)]))
            else:
                self._events.append(event)
        self._ledger.memory.free()

    def _give_back(self) -> None:
        """Give back what was not begun, and prepare again what was not ruled."""
        self._ledger.memory.words[REVOKED] = 0
        events, works = self._ledger.give_back()
        self._frames.clear()
        self._frames.append((Kind.RESUME, b""))
        self._events += events
        for work in works:
            self.prepare(work)
