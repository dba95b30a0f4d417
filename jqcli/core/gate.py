"""What a job passes between the backlog and its start: rate limit, circuit breaker, go.

Only jobs of a run that was asked for a limit or a breaker come here, or that met `RateLimited`; all others run in
whole batches that nobody looks into. Jobs wait in lanes. A lane that may not start anything is put aside until the
moment at which it may, so that it holds up no other; lanes that may take turns. A token is taken when a job starts.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from jqcli.core.adapt import Level
from jqcli.core.aside import HELPING, HELPING_BYTES, PATIENCE
from jqcli.core.breaker import Breaker, Breakers
from jqcli.core.budget import Budget
from jqcli.core.census import Census
from jqcli.core.lane import Lane, Row, cost_of, key_of
from jqcli.core.limit import Bucket, Buckets
from jqcli.core.retry import Dead
from jqcli.core.rota import Rota
from jqcli.core.tally import FlowState, Parked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jqcli.core.aside import Aside
    from jqcli.core.batch import Pending
    from jqcli.core.lane import Flow
    from jqcli.core.retry import Decision
    from jqcli.core.rules import Moment
    from jqcli.model import Failure

_ANSWERS = frozenset({"rejected", "not_retryable", "unserializable_result"})  # ends that say: what is called is there
_PAUSE = 1.0  # seconds, where `RateLimited` says none
_LEAST_PAUSE = 0.01
_HANDFUL_SECONDS = 0.002  # of work that one worker may get at once, so that a token is a start, and a trip worth it
_HANDFUL_MOST = 32
_VAIN_SECONDS = 3600.0  # with nothing but probes
_MOST_PARKED = 5  # keys that are shown


class _Start(NamedTuple):
    """A job that is running: its lane, and which probe of its breaker it is (0: none)."""

    lane: Lane
    probe: int


class Gate:
    """The lanes of a run, and its limits, breakers, budget and level. Moments are monotonic seconds."""

    def __init__(self, flow: Flow, aside: Aside) -> None:
        self._flow = flow
        self._aside = aside
        self.is_on = flow.is_asked
        self._total = Bucket(flow.rate) if flow.rate is not None and flow.rate_key is None else None
        self._buckets = Buckets(flow.rate_of)
        self._rota = Rota(self._breaker_of)
        self._breakers = None if flow.trip is None else Breakers(flow.trip, self._breakers_in_use)
        self._budget = None if flow.budget is None else Budget(flow.budget)
        self._level = None if flow.level is None else Level(flow.level)
        self._blocked_until = -inf
        self._running: dict[Pending, _Start] = {}
        self._pace = inf
        self._trips = self._probes = self._pauses = 0
        self._went_on_at = inf
        self._waiters, self._openings = Census(), Census()
        self.waiting = 0
        self.tripped: str | None = None
        self.is_stuck = False  # whether for an hour there was nothing but probes, and none of them succeeded

    # Jobs come and go

    def put(self, pending: Pending, now: float, *, is_first: bool = False, is_back: bool = False) -> None:
        """Let a job wait for its turn; `is_first` in front of its lane, else it may be set aside.

        `is_back` says that it was before.
        """
        lane = self._rota.of(key_of(pending.job, self._flow))
        row = lane.again if pending.attempts else lane.fresh
        if is_first:
            row.jobs.appendleft(pending)
        elif self._is_much(lane, row, pending, now, is_back=is_back) and self._aside.put(row.chain, pending):
            return
        else:
            row.jobs.append(pending)
        self.waiting += 1

    def take(self, moment: Moment, most: int) -> tuple[list[Pending], list[Pending]]:
        """Return the jobs that start now, at most so many, and some that expired; a token is taken for each start."""
        now, rota = moment.monotonic, self._rota
        rota.open(now)
        if self._level is not None:
            most = min(most, self._level.now - len(self._running))
        found: list[Pending] = []
        expired: list[Pending] = []
        size = 0  # bytes of those that expired
        self._blocked_until = -inf
        while len(found) < most and len(expired) < HELPING and size < HELPING_BYTES:
            if (lane := rota.next()) is None:
                break
            free_at, row = self._look(lane, now)
            jobs = row.jobs
            if jobs[0].has_expired(moment.unix):
                expired.append(self._leave(jobs.popleft()))
                size += len(expired[-1].line.data)
                continue
            if free_at > now:
                rota.shut(free_at)
                continue
            # The limit of all is asked last, and then nobody passes by: dear jobs would never have their turn.
            if self._total is not None and self._total.free_at(cost_of(jobs[0])) > now:
                self._blocked_until = self._total.free_at(cost_of(jobs[0]))
                break
            found.append(self._start(lane, jobs.popleft(), now))
            rota.turn()
        return found, expired

    def give_back(self, pendings: Iterable[Pending]) -> None:
        """Take back jobs, in their order, that were sent and did not begin."""
        for pending in reversed(list(pendings)):
            self._ignore(self._running.pop(pending, None), -inf)
            self.put(pending, -inf, is_first=True)

    # What became of them

    def succeed(self, pending: Pending, seconds: float, now: float) -> None:
        """Note an attempt that was answered, be it by an error that is the job's own; it took so long."""
        self._note_level(seconds, now)
        self._pace = seconds if self._pace == inf else self._pace * 0.9 + seconds * 0.1
        start = self._running.pop(pending, None)
        if start is not None and start.lane.breaker is not None:
            was = start.lane.breaker.state
            start.lane.breaker.succeed(start.probe, now)
            if start.lane.breaker.state is not was:
                self._rota.wake(start.lane.breaker)

    def succeed_all(self, jobs: list[Pending] | None, indexes: Sequence[int], seconds: float, now: float) -> None:
        """Note the finished jobs of a batch; one that was sent before the gate was on has none that passed it."""
        if jobs is not None:
            for index in indexes:
                self.succeed(jobs[index], seconds, now)

    def charges(self, pending: Pending, failure: Failure, decision: Decision, now: float) -> bool:
        """Note a failed attempt; tell whether it is charged: not where it only showed that nothing is there."""
        if isinstance(decision, Dead) and decision.reason in _ANSWERS:
            self.succeed(pending, failure.duration, now)
            return True
        if failure.verdict == "timeout":  # a quick error, on the other hand, is no good sign
            self._note_level(failure.duration, now)
        start = self._running.pop(pending, None)
        breaker = None if start is None else start.lane.breaker
        if start is None or breaker is None:
            return True
        if failure.verdict == "snooze" or not breaker.speaks(pending.failed_at):
            self._ignore(start, now)
            return True
        if pending.failed_at is None:
            pending.failed_at = now
        if breaker.fail(start.probe, now):
            self._trips += 1
            self.tripped = start.lane.key.breaker or "all jobs"
        self.is_stuck = bool(start.probe) and now - self._went_on_at >= _VAIN_SECONDS
        return not start.probe or failure.verdict == "crash"

    def pause(self, pending: Pending, failure: Failure, now: float) -> None:
        """Take `RateLimited`: pause the job's first bucket, and let the job wait in front of its lane."""
        self.is_on = True
        self._pauses += 1
        after = _PAUSE if failure.after is None else max(failure.after, _LEAST_PAUSE)
        self._buckets.of(key_of(pending.job, self._flow).buckets[0], now).pause(now + after)
        if self._level is not None:
            self._level.note(0.0, len(self._running), now, is_limited=True)
        self._ignore(self._running.pop(pending, None), now)
        self.put(pending, now, is_first=True)

    # What can be asked

    @property
    def due_at(self) -> float | None:
        """The moment at which the next job may start; None while that hangs on a worker's word."""
        if self._level is not None and len(self._running) >= self._level.now:
            return None
        return self._rota.opens_at if self._rota.is_idle else self._blocked_until

    @property
    def has_room(self) -> bool:
        """Whether jobs that were set aside may wait here; where lanes differ, the full ones set them aside again."""
        return self._may_differ or not self._aside.is_full(self.waiting)

    @property
    def handful(self) -> int:
        """How many jobs a worker may be sent at once: one, unless all of them start at once in effect."""
        if self._flow.trip is not None or self._level is not None:
            return 1
        return max(1, min(_HANDFUL_MOST, int(_HANDFUL_SECONDS / max(self._pace, 1e-6))))

    def state(self, now: float) -> FlowState:
        """Return what there is to show."""
        is_dry = self._budget is not None and self._budget.free_at(now) > now
        throttled = delayed = 0
        parked: dict[str | None, int] = {}
        for lane in self._rota:
            if lane.breaker is not None and lane.breaker.is_open:
                parked[lane.key.breaker] = parked.get(lane.key.breaker, 0) + len(lane)
                continue
            held = len(lane.again) if is_dry else 0
            delayed += held
            if self._blocked_until > now or (lane.shut_until > now and len(lane) > held):
                throttled += len(lane) - held
        is_open = [] if self._breakers is None else self._breakers.open()
        keys = [Parked(key, parked.get(key, 0), max(0.0, breaker.free_at() - now)) for key, breaker in is_open]
        by, every = self._flow.breaker_key or "all", [] if self._breakers is None else self._breakers.all()
        return FlowState(
            throttled=throttled,
            parked=sum(parked.values()),
            delayed=delayed,
            open=len(is_open),
            keys=tuple(sorted(keys, key=lambda each: -each.jobs)[:_MOST_PARKED]),
            trips=self._trips,
            probes=self._probes,
            pauses=self._pauses,
            budget=None if self._budget is None else self._budget.left,
            level=None if self._level is None else self._level.now,
            lanes=self._waiters.count((lane.key.buckets[0], len(lane)) for lane in self._rota),
            breakers=self._openings.count(((by, key), int(breaker.is_open)) for key, breaker in every),
        )

    # Lanes

    def _look(self, lane: Lane, now: float) -> tuple[float, Row]:
        """Return when the next job of a lane may start, as far as the lane goes, and the row that it is in."""
        free_at, row = -inf, lane.fresh
        if lane.again:
            free_at = -inf if self._budget is None else self._budget.free_at(now)
            # While all fails, those that never ran find out about it: retries would use up their attempts.
            is_held = free_at > now or (lane.breaker is not None and lane.breaker.is_suspect)
            if is_held and lane.fresh:
                free_at = -inf
            else:
                row = lane.again
        if not row.jobs:
            row.jobs.append(self._aside.take(row.chain))
        return max(free_at, self._free_at(lane, row.jobs[0], now)), row

    def _free_at(self, lane: Lane, pending: Pending, now: float) -> float:
        free_at, cost = -inf if lane.breaker is None else lane.breaker.free_at(), cost_of(pending)
        for key in lane.key.buckets:
            free_at = max(free_at, self._buckets.of(key, now).free_at(cost))
        return free_at

    def _start(self, lane: Lane, pending: Pending, now: float) -> Pending:
        cost = cost_of(pending)
        for key in lane.key.buckets:
            self._buckets.of(key, now).take(now, cost)
        if self._total is not None:
            self._total.take(now, cost)
        if self._budget is not None:
            if pending.attempts:
                self._budget.take(now)
            else:
                self._budget.note_first()
        probe = 0 if lane.breaker is None else lane.breaker.start(now)
        self._probes += bool(probe)
        if not probe:
            self._went_on_at = now
        pending.is_probe = bool(probe)
        self._running[pending] = _Start(lane, probe)
        return self._leave(pending)

    def _leave(self, pending: Pending) -> Pending:
        if pending.is_aside:
            self._aside.forget(pending)
        else:
            self.waiting -= 1
        return pending

    @property
    def _may_differ(self) -> bool:
        """Whether a lane may have to wait while another goes on; else all would be set aside for nothing."""
        is_apart = bool(self._flow.handlers or self._pauses) and len(self._rota) > 1
        return self._flow.is_keyed or is_apart

    def _is_much(self, lane: Lane, row: Row, pending: Pending, now: float, *, is_back: bool) -> bool:
        """Tell whether a lane's next job is to be set aside: others are, it waits long, or has its share of memory.

        Retries that wait for the budget would hold up first attempts, which are what lets them go on.
        """
        if not self._may_differ and (self._budget is None or row is lane.fresh):
            return bool(row.chain.count)
        free_at = lane.shut_until if lane else self._free_at(lane, pending, now)
        if row.chain.count or free_at > now + PATIENCE or (is_back and self._aside.is_full(self.waiting)):
            return True
        return self._aside.is_wanted(self.waiting, len(self._rota), len(row.jobs))

    def _ignore(self, start: _Start | None, now: float) -> None:
        """Take the end of a start that says nothing of what is called; where it was the probe, there is another."""
        if start is not None and start.lane.breaker is not None and start.probe:
            start.lane.breaker.ignore(start.probe, now)
            self._rota.wake(start.lane.breaker)

    def _note_level(self, seconds: float, now: float) -> None:
        if self._level is not None:
            self._level.note(seconds, len(self._running), now)

    def _breaker_of(self, key: str | None) -> Breaker | None:
        return None if self._breakers is None else self._breakers.of(key)

    def _breakers_in_use(self) -> set[str | None]:
        waiting = {lane.key.breaker for lane in self._rota}
        return waiting | {start.lane.key.breaker for start in self._running.values()}
