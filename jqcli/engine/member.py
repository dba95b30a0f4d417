"""One worker of the pool, and the questions that the pool asks about it at a moment (monotonic seconds)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from jqcli.engine.cause import Cause, crash

if TYPE_CHECKING:
    from jqcli.engine.child import Child
    from jqcli.engine.ledger import Ledger

START_LIMIT = 60.0  # seconds that a worker may take to load its handlers
PREPARE_LIMIT = 60.0  # seconds that reading one batch may take, or no answer may come while no attempt runs
FRAME_LIMIT = 10.0  # seconds of silence in the middle of a frame, outside an attempt
KILL_LIMIT = 5.0  # seconds after which a killed process that does not end (state D) is given up
LONG = 0.2  # an attempt, or a run, this long gives the rest of its batch back while others idle
CONFIRM = 0.02  # seconds between asking for work back and relying on it
_SHORT = 0.1  # a batch is sent ahead of one that began less than this ago
# One runs and one is ready: what is parsed of a third has left the cache when its turn comes (2 % of a small job).
_DEPTH = 2


class Step(Enum):
    """What is next in taking work back."""

    NONE = auto()
    ASK = auto()
    TAKE = auto()


@dataclass(slots=True, eq=False)
class Worker:
    """A worker process with what it holds.

    `asked_back` is the place at which it was when the rest was asked back, and when that was; `is_stopping` that the
    rest was taken, and that it will say STOPPED when its attempt is over; `may_stop` that it was told that work is
    wanted back; `cause` why the parent has killed it, `killed_at` when, `blamed` the place that took too long.
    """

    number: int
    child: Child
    ledger: Ledger
    started_at: float
    is_ready: bool = False
    is_dead: bool = False
    is_garbled: bool = False
    asked_back: tuple[tuple[int, int], float] | None = None
    is_stopping: bool = False
    may_stop: bool = False
    cause: Cause | None = None
    killed_at: float = 0.0
    blamed: tuple[int, int] | None = None
    rest_from: int = 0

    def is_gone(self, now: float) -> bool:
        """Tell whether nothing more is to be expected of it."""
        if self.cause is not None and now - self.killed_at > KILL_LIMIT:
            return True
        return self.is_dead or (self.child.death_fd is None and self.child.is_dead)

    def depth(self, now: float) -> int:
        """Return how many batches it may hold: several while they are short, one behind a long one."""
        if not self.is_ready or self.is_dead or self.is_stopping or self.cause is not None:
            return 0
        return 1 if self.ledger.is_running and now - self.ledger.began_at > _SHORT else _DEPTH

    def is_waiting(self, now: float) -> bool:
        """Tell whether all that it holds waits to be ruled, maybe for the very lines that were taken back elsewhere."""
        return self.depth(now) > 0 and not self.ledger.is_running

    def overrun(self, now: float) -> tuple[Cause, tuple[int, int] | None] | None:
        """Return why it must be ended and the place to blame, if it takes longer than it may."""
        if not self.is_ready:
            is_late = now - self.started_at > START_LIMIT
            return (crash("the worker was not ready in time"), None) if is_late else None
        running = self.ledger.running(now) if self.ledger.look(now) else None
        age = self.ledger.look(now)
        if not age:  # it has moved on since the last look, be it while this one was taken
            return None
        if running is None:
            silent = self._silence(now)
            return (crash(silent), None) if silent else None
        if running.index is None and age > PREPARE_LIMIT:
            return crash(f"reading its lines took over {PREPARE_LIMIT:.0f} s"), running.place
        if running.limit is not None and age > running.limit:
            return Cause("timeout", "jqcli.JobTimeout", f"took longer than {running.limit:g} s"), running.place
        return None

    def _silence(self, now: float) -> str:
        """Say for how long it should have spoken, while no attempt runs; empty where that is not too long."""
        if self.child.is_inside_frame and now - self.child.heard_at > FRAME_LIMIT:
            return "the worker stopped in the middle of a frame"
        silence = now - max(self.child.heard_at, self.child.sent_at)
        is_deaf = (self.ledger.preparing or self.ledger.runs) and silence > PREPARE_LIMIT
        return f"the worker did not answer for {silence:.0f} s" if is_deaf else ""

    def next_step(self, now: float) -> Step:
        """Return how to get the rest back from a worker whose attempt takes long.

        Before each attempt it first says that the one before is over, and then looks at the word, at which it gives the
        rest back itself. So where the word has stood for a while and the very attempt still runs, it cannot start
        another one, however long it was kept from running itself, and the rest is the parent's at once.
        """
        is_stuck = self.ledger.look(now) >= LONG
        is_slow = not self.may_stop and self.ledger.is_running and now - self.ledger.began_at >= LONG
        if self.is_stopping or not (is_stuck or is_slow):
            return Step.NONE
        running = self.ledger.running(now)
        if running is None or running.index is None or not self.ledger.has_rest(running):
            return Step.NONE
        if not is_stuck:
            return Step.ASK
        if self.asked_back is None or self.asked_back[0] != running.place:
            self.asked_back = (running.place, now)
            # Not read again when the rest is taken: the attempt may have ended by then, and the worker stopped here.
            self.rest_from = running.position + 1
            return Step.ASK
        return Step.TAKE if now - self.asked_back[1] >= CONFIRM else Step.NONE
