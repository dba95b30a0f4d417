"""Laws of limits and outages, held by the whole core with a clock of its own and a world that may be down.

The workers here are exact: each does one job after the other, and the parent hears of its end at that moment.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jqcli.core import effect as do
from jqcli.core.aside import Room
from jqcli.core.batch import Sizer
from jqcli.core.breaker import LEAST_CALLS, Trip
from jqcli.core.budget import FLOOR, FREE_JOBS
from jqcli.core.codec import Scheme, read_line
from jqcli.core.dedupe import Identities
from jqcli.core.dispatch import Dispatch
from jqcli.core.event import Answer
from jqcli.core.lane import Flow
from jqcli.core.limit import Rate
from jqcli.core.prepare import Lines, prepare
from jqcli.core.rules import Moment, Rules
from jqcli.core.settled import Settled
from jqcli.model import Failure, Line
from jqcli.policy import Policy
from tests.scratch import MemoryScratch

EPOCH = 1_000_000.0
BEGIN = 100.0
BLOCK = 10


def job(number, **asks):
    return {"payload": {"n": number, **asks.pop("more", {})}, **asks}


def failure(verdict="error", seconds=0.01, after=None):
    return Failure(verdict, "mine.DownError", "m", "", ("mine.DownError",), seconds, after=after)


class Night:
    """A run over `jobs`; `serve(job, now, attempt)` gives the seconds of an attempt, and its failure or None."""

    def __init__(self, jobs, flow, serve, *, workers=4, queue=1_000_000, spill=None, **policy):
        self.lines = [json.dumps(each).encode() for each in jobs]
        self.offsets = list(itertools.accumulate((len(line) + 1 for line in self.lines), initial=0))
        self.file = b"".join(line + b"\n" for line in self.lines)
        self.serve = serve
        self.workers = workers
        self.queue = queue
        self.now = BEGIN
        self.scheme = Scheme()
        self.scratch = MemoryScratch(spill or 0)
        rules = Rules({None: Policy(**({"backoff_base": 0.5, "backoff_max": 60.0} | policy))})
        identities = Identities(Settled(), dedupe=True)
        self.dispatch = Dispatch(
            identities, rules, self.scheme, Sizer(BLOCK), lambda *_: None, flow, keeps_order=False,
            room=Room(self.scratch, self.read_again, queue, 1 << 30),
        )  # fmt: skip
        self.gate = self.dispatch.gate
        self.read = 0
        self.doubles = 0
        self.done: set[int] = set()
        self.tickets = 0
        self.running: list[tuple] = []
        self.starts: list[tuple[float, object, int]] = []
        self.ended: dict[int, float] = {}
        self.dead: dict[int, str] = {}
        self.charged: Counter[int] = Counter()

    def read_again(self, source, offset, size):
        assert source == 0
        return self.file[offset : offset + size]

    @property
    def moment(self):
        return Moment(self.now, EPOCH + self.now - BEGIN + self.jump(self.now - BEGIN), 0.5)

    @staticmethod
    def jump(_):
        """Return how wrong the wall clock is, so many seconds after the begin."""
        return 0.0

    def run(self, seconds=100_000.0):
        """Run to the end; fails where that takes longer, or where nothing more will happen."""
        spins = 0
        while True:
            self.feed()
            self.check()
            if self.dispatch.is_empty and self.read == len(self.lines):
                return self
            moments = [self.running[0][0]] if self.running else []
            if len(self.running) < self.workers and self.dispatch.due_at is not None:
                moments.append(max(self.now, self.dispatch.due_at))
            assert moments, "nothing will ever happen again"
            spins = spins + 1 if min(moments) == self.now else 0
            assert spins < 20_000, "it spins"
            self.now = min(moments)
            assert self.now < BEGIN + seconds, "it takes too long"
            while self.running and self.running[0][0] <= self.now:
                self.finish(*heapq.heappop(self.running)[2:])

    def feed(self):
        while self.read < len(self.lines) and self.dispatch.lines + BLOCK <= self.queue:
            part = self.lines[self.read : self.read + BLOCK]
            data = b"".join(line + b"\n" for line in part)
            offset = self.offsets[self.read]
            work = self.dispatch.admit(0, "jobs", "jobs", self.read + 1, data, len(part), offset).work
            self.read += len(part)
            found = prepare(
                Lines(data, len(part), "jobs", "jobs", work.first_line), self.scheme, mark="m", with_ids=False
            )
            answer = Answer(work.batch, found.digests, found.hashes, b"", found.notes)
            self.apply(self.dispatch.take_answer(answer, self.moment))
        if len(self.running) < self.workers:
            self.apply(self.dispatch.next_jobs(self.moment, self.workers - len(self.running)))

    def check(self):
        """Law 3, and that no line is lost from sight."""
        unsettled = self.read - len(self.ended) - len(self.dead) - self.doubles
        assert self.dispatch.lines + self.dispatch.aside == unsettled
        assert self.dispatch.lines <= self.queue + self.workers
        assert self.dispatch.in_flight == len(self.running)

    def apply(self, effects):
        for effect in effects:
            match effect:
                case do.RunJobs(batch, attempts, _):
                    (attempt,) = attempts
                    line = Line("jobs", "jobs", attempt.number, attempt.data)
                    self.start(batch, read_line(line, self.scheme), attempt)
                case do.Run():
                    raise AssertionError("a batch passed by the gate")
                case do.Bury():
                    self.dead[effect.line.number] = effect.reason
                case do.Double(_, each, _):
                    assert each.payload["n"] in self.done, "its first has not ended yet"
                    self.doubles += 1

    def start(self, batch, each, attempt):
        assert attempt.attempt == self.charged[attempt.number] + 1
        assert attempt.number not in self.ended
        assert len(self.running) < self.workers
        self.starts.append((self.now, each, attempt.number))
        seconds, failed = self.serve(each, self.now, attempt.attempt)
        self.tickets += 1
        heapq.heappush(self.running, (self.now + seconds, self.tickets, batch, attempt.number, seconds, failed))

    def finish(self, batch, number, seconds, failed):
        if failed is None:
            self.ended[number] = self.now
            self.done.add(json.loads(self.lines[number - 1])["payload"]["n"])
            self.dispatch.note_success(batch, [0], seconds, self.now)
            self.apply(self.dispatch.take_finished(batch, [0]))
        else:
            effects = self.dispatch.take_failure(batch, 0, failed._replace(duration=seconds), self.moment)
            self.charged[number] += failed.verdict != "snooze" and do.Spare() not in effects
            self.apply(effects)
        self.dispatch.take_end(batch)


def always(seconds=0.01):
    def serve(each, now, attempt):
        return seconds, None

    return serve


def down(begin, end, seconds=0.01, error=None):
    """Serve all but those that start from `begin` to `end`, in seconds of the run."""
    error = error or failure()

    def serve(each, now, attempt):
        return seconds, error if begin <= now - BEGIN < end else None

    return serve


def assert_rate(starts, rate, burst):
    """In no window more than burst + rate x t."""
    for first in range(0, len(starts), max(1, len(starts) // 100)):
        taken = 0.0
        for now, cost in starts[first:]:
            taken += cost
            assert taken <= burst + rate * (now - starts[first][0]) + 1e-6


def cost_of(job):
    return 1.0 if job.asks.cost is None else job.asks.cost


@pytest.mark.parametrize("workers", [1, 4, 50])
def test_starts_keep_the_rate_over_all_workers_retries_and_costs_included(workers):
    jobs = [job(n, cost=0.5 + n % 4) for n in range(400)]

    def flaky(each, now, attempt):
        return 0.02, failure() if each.payload["n"] % 3 == 0 and attempt == 1 else None

    night = Night(jobs, Flow(rate=Rate(20.0, 5)), flaky, workers=workers).run()
    assert len(night.ended) == 400
    assert len(night.starts) > 500
    assert_rate([(now, cost_of(each)) for now, each, _ in night.starts], 20.0, 5)
    if workers == 50:
        total = sum(cost_of(each) for _, each, _ in night.starts)
        assert night.now - BEGIN <= total / 20.0 * 1.02 + 1, "tokens were lost"


@settings(max_examples=25, deadline=None, database=None)
@given(
    rate=st.floats(1.0, 200.0),
    burst=st.integers(1, 30),
    workers=st.integers(1, 12),
    queue=st.integers(20, 400),
    seed=st.integers(0, 1000),
    is_keyed=st.booleans(),
)
def test_in_no_window_start_more_than_burst_and_rate_allow_whatever_fails_waits_or_is_set_aside(
    rate, burst, workers, queue, seed, is_keyed
):
    dice = random.Random(seed)
    jobs = [
        job(
            n,
            tenant=dice.choice("abc"),
            cost=dice.choice([0.5, 1, 1, burst]),
            **({"not_before": EPOCH + dice.uniform(0, 20)} if dice.random() < 0.2 else {}),
        )
        for n in range(200)
    ]

    calls = itertools.count()

    def serve(each, now, attempt):
        verdict = dice.choice(["", "", "error", "snooze", "limited"]) if next(calls) < 400 else ""
        return dice.choice([0.01, 0.3]), failure(verdict, after=dice.choice([0.1, 3.0])) if verdict else None

    flow = Flow(tenant_rate=Rate(rate, burst)) if is_keyed else Flow(rate=Rate(rate, burst))
    night = Night(jobs, flow, serve, workers=workers, queue=queue, spill=1 << 30, max_attempts=99).run()
    assert len(night.ended) == 200
    for tenant in "abc" if is_keyed else [None]:
        assert_rate(
            [(now, cost_of(each)) for now, each, _ in night.starts if tenant in (None, each.asks.tenant)], rate, burst
        )


def test_each_tenant_has_a_rate_of_its_own_and_a_named_one_another():
    jobs = [job(n, tenant=("a", "b", 7)[n % 3]) for n in range(300)]
    flow = Flow(tenant_rate=Rate(10.0, 1), tenants={"7": Rate(2.0, 1)})
    night = Night(jobs, flow, always(), workers=8).run()
    for tenant, rate in (("a", 10.0), ("b", 10.0), (7, 2.0)):
        starts = [(now, 1.0) for now, each, _ in night.starts if each.asks.tenant == tenant]
        assert len(starts) == 100
        assert_rate(starts, rate, 1)
        assert starts[-1][0] - BEGIN == pytest.approx(99 / rate, rel=0.01)


def test_a_rate_may_hold_for_each_value_in_the_payload():
    jobs = [job(n, more={"host": "ab"[n % 2]}) for n in range(60)]
    night = Night(jobs, Flow(rate=Rate(10.0, 1), rate_key="host"), always()).run()
    for host in "ab":
        assert_rate([(now, 1.0) for now, each, _ in night.starts if each.payload["host"] == host], 10.0, 1)
    assert night.now - BEGIN == pytest.approx(2.91, rel=0.01)


def test_a_throttled_tenant_costs_another_under_5_percent():
    calm = [job(n, tenant="calm") for n in range(2000)]
    greedy = [job(10_000 + n, tenant="greedy") for n in range(2000)]
    mixed = [each for pair in zip(greedy, calm, strict=True) for each in pair]
    flow = Flow(tenants={"greedy": Rate(2.0, 1)})
    alone = Night(calm, flow, always()).run().now - BEGIN
    for spill in (None, 1 << 30):
        night = Night(mixed, flow, always(), spill=spill, queue=200 if spill else 10_000).run()
        last = max(now for number, now in night.ended.items() if number % 2 == 0) - BEGIN
        assert last <= 1.05 * alone
        assert len(night.ended) == 4000
        order = [number for _, each, number in night.starts if each.asks.tenant == "greedy"]
        assert order == sorted(order)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_throttled_tenants_there_are_they_cost_another_under_5_percent(seed):
    """Several of them, in any order, slower or faster, whose jobs fail, wait for a moment, or are told to slow down."""
    dice = random.Random(seed)
    greedy = {f"greedy-{n}": Rate(dice.uniform(0.5, 20.0), dice.randrange(1, 5)) for n in range(dice.randrange(1, 4))}
    calm = [job(n, tenant="calm") for n in range(600)]
    jobs = calm + [
        job(10_000 + n, tenant=dice.choice(list(greedy)), **({"not_before": EPOCH + 30} if n % 5 == 0 else {}))
        for n in range(800)
    ]
    if seed % 2:
        dice.shuffle(jobs)
    else:
        jobs.reverse()

    def serve(each, now, attempt):
        told = dice.choice([None, None, failure(), failure("limited", after=9.0), failure("snooze", after=5.0)])
        return 0.01, None if each.asks.tenant == "calm" or attempt > 1 else told

    alone = Night(calm, Flow(tenants=greedy), serve).run().now - BEGIN
    night = Night(jobs, Flow(tenants=greedy), serve, queue=200, spill=1 << 30).run()
    greedily = sum(each.asks.tenant != "calm" and now - BEGIN <= alone for now, each, _ in night.starts)
    last = max(now for number, now in night.ended.items() if b"calm" in night.lines[number - 1]) - BEGIN
    assert last - greedily * 0.01 / night.workers <= 1.05 * alone, "beyond what their own work takes"
    assert len(night.ended) == 1400


def greedy_first(calm=500, greedy=5000):
    return [job(10_000 + n, tenant="greedy") for n in range(greedy)] + [job(n, tenant="calm") for n in range(calm)]


def test_a_throttled_tenant_that_fills_the_queue_many_times_costs_another_under_5_percent():
    flow = Flow(tenants={"greedy": Rate(2.0, 1)})
    alone = Night([job(n, tenant="calm") for n in range(500)], flow, always()).run().now - BEGIN
    night = Night(greedy_first(), flow, always(), queue=200, spill=1 << 30).run()
    calm = [now for number, now in night.ended.items() if number > 5000]
    assert max(calm) - BEGIN <= 1.05 * alone + 0.05
    assert len(night.ended) == 5500
    order = [number for _, each, number in night.starts if each.asks.tenant == "greedy"]
    assert order == sorted(order)
    assert not night.scratch.data


def test_where_there_is_no_more_room_reading_stops_and_nothing_is_lost():
    flow = Flow(tenants={"greedy": Rate(50.0, 1)})
    night = Night(greedy_first(), flow, always(), queue=200, spill=20_000).run()
    assert len(night.ended) == 5500
    assert max(now for number, now in night.ended.items() if number > 5000) - BEGIN > 50


def test_of_jobs_that_are_set_aside_duplicates_wait_and_none_runs_twice():
    jobs = greedy_first(10, 300) + greedy_first(10, 300)
    night = Night(jobs, Flow(tenants={"greedy": Rate(2.0, 1)}), always(), queue=100, spill=1 << 30).run()
    assert (len(night.ended), night.doubles, night.dead) == (310, 310, {})
    assert set(night.ended) == set(range(1, 311))


def test_jobs_that_are_set_aside_expire_as_others_do():
    jobs = [job(n, tenant="greedy", expires=EPOCH + 20) for n in range(300)]
    night = Night(jobs, Flow(tenant_rate=Rate(2.0, 1)), always(), queue=100, spill=1 << 30).run()
    assert (len(night.ended), len(night.dead)) == (40, 260)
    assert set(night.dead.values()) == {"expired"}


def test_the_jobs_of_an_outage_of_one_key_are_set_aside_and_no_other_key_waits():
    def serve(each, now, attempt):
        return 0.01, failure() if each.asks.tenant == "greedy" and now - BEGIN < 100 else None

    flow = Flow(trip=Trip(0.5, 10.0), breaker_key="tenant")
    night = Night(greedy_first(), flow, serve, queue=200, spill=1 << 30).run()
    assert not night.dead
    assert max(now for number, now in night.ended.items() if number > 5000) - BEGIN < 5
    assert len(night.ended) == 5500


def test_a_dear_job_is_not_passed_by_for_ever():
    jobs = [job(n, cost=30, tenant="dear") if n == 7 else job(n, tenant="cheap") for n in range(1000)]
    night = Night(jobs, Flow(rate=Rate(10.0, 30)), always()).run()
    assert night.ended[8] - BEGIN < 10.0


def test_tenants_take_turns_at_the_limit_of_all():
    jobs = [*(job(n, tenant="many") for n in range(500)), *(job(n, tenant="few") for n in range(1000, 1010))]
    night = Night(jobs, Flow(rate=Rate(10.0, 1)), always()).run()
    assert max(night.ended[number] for number in range(501, 511)) - BEGIN < 2.5


@pytest.mark.parametrize("error", [failure(), failure("timeout"), failure("retry")], ids=lambda each: each.verdict)
def test_no_job_dies_of_an_outage_and_few_calls_are_made_in_it(error):
    begin, end, window = 2.0, 300.0, 5.0
    night = Night([job(n) for n in range(5000)], Flow(trip=Trip(0.5, window)), down(begin, end, error=error)).run()
    assert not night.dead
    assert len(night.ended) == 5000
    calls = [now for now, _, _ in night.starts if begin <= now - BEGIN < end]
    assert len(calls) <= Trip(0.5, window).in_a_row + night.workers + (end - begin) / window + 2
    assert max(night.charged.values()) < 5
    assert max(night.ended.values()) - BEGIN <= end + window + 20


def test_who_waits_in_vain_for_an_hour_is_stuck():
    night = Night([job(n) for n in range(30)], Flow(trip=Trip(0.5, 5.0)), down(0.0, 1e9))
    with pytest.raises(AssertionError, match="too long"):
        night.run(seconds=3500)
    assert not night.gate.is_stuck
    with pytest.raises(AssertionError, match="too long"):
        night.run(seconds=4000)
    assert night.gate.is_stuck
    assert not night.dead


@settings(max_examples=40, deadline=None, database=None)
@given(
    share=st.floats(0.2, 0.9),
    window=st.floats(1.0, 30.0),
    workers=st.integers(1, 8),
    begin=st.floats(0.0, 0.6),
    length=st.floats(0.0, 300.0),
    tenants=st.integers(1, 4),
)
def test_whenever_an_outage_comes_and_however_long_it_is_nobody_dies_of_it(
    share, window, workers, begin, length, tenants
):
    jobs = [job(n, tenant=n % tenants) for n in range(600)]
    begin = begin * 600 * 0.01 / workers
    flow = Flow(trip=Trip(share, window))
    night = Night(jobs, flow, down(begin, begin + length), workers=workers, max_attempts=3, backoff_base=0.01).run()
    assert not night.dead
    assert len(night.ended) == 600
    calls = sum(begin <= now - BEGIN < begin + length for now, _, _ in night.starts)
    assert calls <= flow.trip.in_a_row + 1 + 2 * workers + length / window + 1


@pytest.mark.parametrize("workers", [1, 4])
def test_no_job_uses_up_its_attempts_before_a_breaker_opens(workers):
    quick = {"max_attempts": 3, "backoff_base": 0.0001, "backoff_max": 0.0001}
    night = Night([job(n) for n in range(500)], Flow(trip=Trip(0.5, 5.0)), down(1.0, 60.0), workers=workers, **quick)
    night.run()
    assert not night.dead
    assert max(night.charged.values()) == 1


def test_the_same_few_jobs_are_probes_again_and_again_and_do_not_die_of_it():
    night = Night([job(n) for n in range(12)], Flow(trip=Trip(0.5, 5.0)), down(0.0, 600.0)).run()
    assert not night.dead
    assert len(night.starts) > 120


@pytest.mark.parametrize("workers", [1, 4])
def test_all_that_a_breaker_holds_goes_on_when_it_closes(workers):
    jobs = [job(n, tenant="abc"[n % 3]) for n in range(300)]
    night = Night(jobs, Flow(trip=Trip(0.5, 20.0)), down(0.0, 10.0), workers=workers).run()
    back = min(now for now, _, _ in night.starts if now - BEGIN >= 10.0)
    for tenant in "abc":
        assert min(now for now, each, _ in night.starts if now >= back and each.asks.tenant == tenant) - back < 1.0


def test_only_the_key_that_is_down_is_parked():
    jobs = [job(n, tenant="ab"[n % 2]) for n in range(2000)]

    def serve(each, now, attempt):
        return 0.01, failure() if each.asks.tenant == "a" and now - BEGIN < 200 else None

    night = Night(jobs, Flow(trip=Trip(0.5, 10.0), breaker_key="tenant"), serve).run()
    assert not night.dead
    assert max(now for number, now in night.ended.items() if number % 2 == 0) - BEGIN < 10
    assert min(now for number, now in night.ended.items() if number % 2) - BEGIN >= 200
    in_outage = [each for now, each, _ in night.starts if each.asks.tenant == "a" and now - BEGIN < 200]
    assert len(in_outage) <= LEAST_CALLS + night.workers + 200 / 10 + 1


@pytest.mark.parametrize("verdict", ["crash", "timeout", "snooze", "limited", "reject"])
def test_it_does_not_stick_on_a_probe_that_ends_in_any_way(verdict):
    """Fault 39: the first probe does not just fail."""
    seen = []

    def serve(each, now, attempt):
        if now - BEGIN < 10:
            return 0.01, failure()
        seen.append(now)
        return 0.01, failure(verdict, after=1.0) if len(seen) == 1 else None

    night = Night([job(n) for n in range(200)], Flow(trip=Trip(0.5, 5.0)), serve).run(seconds=200)
    assert len(night.ended) + len(night.dead) == 200
    assert set(night.dead.values()) <= {"rejected"}
    assert seen[1] - seen[0] < (6 if verdict in ("crash", "timeout") else 1.5)


def test_a_probe_that_hangs_is_followed_by_another():
    def serve(each, now, attempt):
        if now - BEGIN < 10:
            return 0.01, failure()
        return (5000.0 if not night.ended else 0.01), None

    night = Night([job(n) for n in range(100)], Flow(trip=Trip(0.5, 5.0)), serve, workers=3)
    with pytest.raises(AssertionError, match="too long"):
        night.run(seconds=100)  # all workers hang then, and every one of them at a probe's call
    assert len(night.running) == 3


def test_jobs_that_fail_while_others_succeed_die_of_it_and_open_nothing():
    jobs = [job(n) for n in range(1000)]

    def serve(each, now, attempt):
        return 0.01, failure() if each.payload["n"] % 3 == 0 else None

    night = Night(jobs, Flow(trip=Trip(0.5, 30.0)), serve).run()
    assert len(night.dead) == 334
    assert night.gate.tripped is None


def test_slow_down_pauses_the_tenant_that_was_told_so_and_is_no_attempt():
    jobs = [job(n, tenant="ab"[n % 2]) for n in range(40)]

    def serve(each, now, attempt):
        assert attempt == 1
        told = each.asks.tenant == "a" and now - BEGIN < 30
        return 0.01, failure("limited", after=31.0) if told else None

    night = Night(jobs, Flow(rate=Rate(1000.0, 100)), serve, max_attempts=1).run()
    assert not night.dead
    assert max(now for number, now in night.ended.items() if number % 2 == 0) - BEGIN < 1
    told = [now for now, each, _ in night.starts if each.asks.tenant == "a" and now - BEGIN < 31]
    assert len(told) <= night.workers


def test_slow_down_turns_the_gate_on_where_nothing_was_asked_for():
    night = Night([job(n) for n in range(30)], Flow(), always())
    assert not night.gate.is_on
    night.gate.is_on = True
    night.run()
    assert len(night.ended) == 30


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_retries_keep_to_their_budget_and_none_dies_of_it(share):
    def serve(each, now, attempt):
        return 0.02, failure() if attempt < 4 else None

    night = Night([job(n) for n in range(600)], Flow(budget=share), serve, backoff_base=0.1, workers=10).run()
    assert not night.dead
    seen: set[int] = set()
    firsts = retries = 0
    for now, _, number in night.starts:
        firsts += number not in seen
        retries += number in seen
        seen.add(number)
        assert retries <= share * (FREE_JOBS + firsts) + 1 + FLOOR.per_second * (now - BEGIN) + 1
    assert retries == 1800
    assert night.now - BEGIN <= (1800 - share * (FREE_JOBS + 600)) / FLOOR.per_second + 3


def test_jobs_in_flight_find_the_level_of_what_they_call():
    night = None

    def serve(each, now, attempt):
        return 0.1 * max(1.0, (len(night.running) + 1) / 10), None

    night = Night([job(n) for n in range(12_000)], Flow(level=60), serve, workers=60)
    levels = []
    note = night.gate.succeed

    def watch(pending, seconds, now):
        note(pending, seconds, now)
        levels.append(len(night.running))

    night.gate.succeed = watch
    night.run()
    late = levels[len(levels) // 2 : -200]
    assert abs(sum(late) / len(late) - 10) <= 2.5


def test_moments_of_lines_hold_behind_the_gate_too():
    jobs = [
        job(0, not_before=EPOCH + 50),
        job(1, expires=EPOCH + 0.5),
        *(job(n) for n in range(2, 12)),
        job(99, expires=EPOCH + 0.5),
    ]
    night = Night(jobs, Flow(rate=Rate(2.0, 1)), always()).run()
    assert night.ended[1] - BEGIN >= 50
    assert night.dead == {13: "expired"}


@pytest.mark.parametrize("jump", [86400.0, -86400.0, 1e9, -1e6])
def test_a_wall_clock_that_jumps_moves_no_start_and_loses_no_job(jump):
    """Fault 37: limits, breakers, backoffs and the budget go by the monotonic clock."""
    jobs = [job(n, tenant="ab"[n % 2]) for n in range(600)]
    flow = Flow(rate=Rate(50.0, 5), tenant_rate=Rate(40.0, 5), trip=Trip(0.5, 5.0), budget=0.2)

    def starts(by):
        night = Night(jobs, flow, down(3.0, 20.0))
        night.jump = lambda seconds: by if 2.0 <= seconds < 12.0 else 0.0
        night.run(seconds=200)
        assert len(night.ended) == 600
        return [(now, number) for now, _, number in night.starts]

    assert starts(jump) == starts(0.0)


@pytest.mark.parametrize("jump", [86400.0, -86400.0])
def test_a_wall_clock_that_jumps_makes_no_wait_negative_and_none_endless(jump):
    jobs = [job(n, not_before=EPOCH + n, expires=EPOCH + 90_000) for n in range(60)]
    night = Night(jobs, Flow(rate=Rate(50.0)), always())
    night.jump = lambda seconds: jump if seconds >= 5.0 else 0.0
    night.run(seconds=100)
    assert len(night.ended) + len(night.dead) == 60


def test_many_jobs_for_later_hold_up_no_other_and_take_no_memory():
    """10,000 that may start in 5 s, twice the queue and more, and ready ones behind them."""
    jobs = [*(job(n, not_before=EPOCH + 5.1) for n in range(10_000)), *(job(10_000 + n) for n in range(500))]
    for flow in (Flow(rate=Rate(1e5, 1e4)), Flow(tenant_rate=Rate(1e5, 1e4))):
        night = Night(jobs, flow, always(), queue=4000, spill=1 << 30)
        peak = 0
        note = night.check

        def check(night=night, note=note):
            nonlocal peak
            note()
            peak = max(peak, night.dispatch.lines)
            assert night.dispatch._backlog.waiting == 0

        night.check = check
        night.run()
        ready = [now for number, now in night.ended.items() if number > 10_000]
        assert max(ready) - BEGIN <= 500 * 0.01 / night.workers + 0.1
        assert min(now for number, now in night.ended.items() if number <= 10_000) - BEGIN >= 5.1
        assert len(night.ended) == 10_500
        assert night.now - BEGIN <= 5.4 + 10_000 * 0.01 / night.workers
        assert peak <= 2000 + 500 + BLOCK, "those that come back fill the memory"
        assert night.scratch.peak == 10_000
        assert sum(map(len, night.scratch.data.values())) == 0


@pytest.mark.parametrize("is_dead", [False, True])
def test_duplicates_of_what_waits_hold_up_no_other_either_and_share_its_fate(is_dead):
    late = [job(n % 3, not_before=EPOCH + 30) for n in range(5000)]
    jobs = [*late, *(job(10_000 + n) for n in range(500)), *late[:20]]

    def serve(each, now, attempt):
        return 0.01, failure("reject") if is_dead and each.payload["n"] < 3 else None

    night = Night(jobs, Flow(rate=Rate(1e5, 1e4)), serve, queue=100, spill=1 << 30).run()
    assert max(now for number, now in night.ended.items() if number > 5000) - BEGIN < 3
    assert len(night.starts) == 503
    if is_dead:
        assert Counter(night.dead.values()) == {"rejected": 3, "duplicate_of_dead": 5017}
    else:
        assert (len(night.ended), night.doubles) == (503, 5017)
    assert night.now - BEGIN < 31


def test_duplicates_of_what_runs_are_kept_in_memory():
    night = Night([job(n % 5) for n in range(400)], Flow(rate=Rate(1e5, 1e4)), always(), spill=1 << 30).run()
    assert night.doubles == 395
    assert night.scratch.peak == 0


def first_starts(night):
    """Return when each job was begun for the first time."""
    return {number: now for now, _, number in reversed(night.starts)}


def once_more(jobs, verdict):
    """Return a night in which each job's first attempt ends like that, to go on a minute later."""

    def serve(each, now, attempt):
        is_again = night.calls[each.payload["n"]] > 0
        night.calls[each.payload["n"]] += 1
        return 0.01, None if is_again else failure(verdict, after=None if verdict == "error" else 60.0)

    policy = {"backoff": "fixed", "backoff_base": 60.0, "backoff_max": 60.0}
    night = Night(jobs, Flow(rate=Rate(1e5, 1e4)), serve, queue=100, spill=1 << 30, **policy)
    night.calls = Counter()
    return night


def test_jobs_that_snooze_for_over_a_second_are_set_aside_with_all_that_happened():
    night = once_more([job(n) for n in range(3000)], "snooze")
    night.run(seconds=100)
    assert len(night.ended) == 3000
    firsts = first_starts(night)
    assert max(firsts.values()) - BEGIN < 10, "what waits for a minute holds up others"
    waits = [night.ended[number] - firsts[number] for number in night.ended]
    assert min(waits) >= 60.0
    assert max(waits) < 70.0
    assert set(night.charged.values()) == {0}
    assert night.scratch.peak >= 2900


@pytest.mark.parametrize("verdict", ["error", "retry"])
def test_jobs_that_wait_for_their_retry_pause_the_admission(verdict):
    night = once_more([job(n) for n in range(300)], verdict)
    night.run(seconds=300)
    assert len(night.ended) == 300
    firsts = sorted(now - BEGIN for now in first_starts(night).values())
    assert firsts[99] < 10
    assert firsts[100] > 60, "where everything fails, the rest of the input is not to be tried too"
    assert night.scratch.peak == 0


def test_jobs_set_aside_that_a_wall_clock_moves_are_still_those():
    jobs = [job(n, not_before=EPOCH + 5 + n % 7, expires=EPOCH + 9) for n in range(700)]
    night = Night(jobs, Flow(rate=Rate(1e5, 1e4)), always(), queue=50, spill=1 << 30).run()
    early = {number for number in range(1, 701) if 5 + (number - 1) % 7 < 8}
    assert early <= set(night.ended)
    assert len(night.ended) + len(night.dead) == 700
    assert set(night.dead.values()) == {"expired"}
    assert {number for number in night.dead if (number - 1) % 7 < 3} == set()


def test_retries_that_the_budget_holds_back_do_not_keep_first_attempts_out_of_the_queue():
    def serve(each, now, attempt):
        return 0.01, failure() if each.payload["n"] % 2 and attempt == 1 else None

    night = Night([job(n) for n in range(4000)], Flow(budget=0.01), serve, queue=200, spill=1 << 30, backoff_base=0.01)
    night.run()
    assert len(night.ended) == 4000
    assert max(first_starts(night).values()) - BEGIN < 20, "they wait for the retries, which wait for them"
    assert night.now - BEGIN > 100
