"""Laws of the course of a run: it adds up, it knows the slowest, and it does not grow with the input."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqcli.core.batch import Batch, Pending
from jqcli.core.codec import Scheme
from jqcli.core.course import MOST_ATTEMPTS, MOST_LANES, MOST_SLOW, Course
from jqcli.core.event import Finished
from jqcli.core.tally import FlowState, WorkerRow
from jqcli.model import NO_ASKS, Failure, Job, Line
from tests.edge.snapshot import take_snapshot

SCHEME = Scheme("auto", None, None, ())
FAILURE = Failure("error", "builtins.KeyError", "x", "", (), 0.5)


def batch_of(count, jobs=None):
    data = b"".join(b'{"id":"job-%d","payload":%d}\n' % (n, n) for n in range(count))
    return Batch(1, 0, "jobs.jsonl", "jobs", 1, b"" if jobs else data, count, jobs=jobs)


def pending(number, attempts):
    job = Job(number, f"job-{number}", has_own_id=True, key=bytes(16), key_text="00", payload_hash=None, asks=NO_ASKS)
    return Pending(Line("jobs.jsonl", "jobs", number + 1, b""), job, 0, 1, number, attempts)


def finished(microseconds, status="completed", first=0, attempts=1, **changes):
    lines = [
        b'{"id":%s,"key":"5f01ab:00","status":"%s","result":"\\"duration\\":9}","attempts":%d,"duration":%.6f}\n'
        % (json.dumps(f"job-{first + n}").encode(), status.encode(), attempts, us / 1e6)
        for n, us in enumerate(microseconds)
    ]
    counts = list(Counter(microseconds).items())
    event = Finished(1, [b"".join(lines)], len(microseconds), 0, counts, range(len(microseconds)))
    return event._replace(**changes)


@given(st.lists(st.lists(st.integers(0, 10**7), min_size=1, max_size=40), min_size=1, max_size=12))
def test_the_slowest_are_the_slowest_of_all(batches):
    course, first, took = Course(SCHEME, 0.0), 0, {}
    for number, microseconds in enumerate(batches):
        course.finish(finished(microseconds, first=first), batch_of(len(microseconds)), number % 3, 10.0 * number)
        took |= {f"job-{first + n}": us / 1e6 for n, us in enumerate(microseconds)}
        first += len(microseconds)
    expected = sorted(took.values(), reverse=True)[:MOST_SLOW]
    assert [each.seconds for each in course.slowest] == [seconds for seconds in expected if seconds > 0]
    assert all(took[each.id] == each.seconds for each in course.slowest)


@pytest.mark.parametrize("told", [True, False], ids=["told", "found after the worker's death"])
def test_a_job_is_once_among_the_slowest_with_its_longest_attempt(told):
    course = Course(SCHEME, 0.0)
    course.fail(batch_of(4), 3, FAILURE, 1, 1.0, goes_on=True, is_charged=True)
    jobs = [pending(3, 1)]
    event = finished([300_000], first=3, attempts=2, **({} if told else {"durations": []}))
    course.finish(event, batch_of(1, jobs), 0, 2.0)
    (slow,) = course.slowest
    assert (slow.seconds, slow.id, slow.attempt, slow.end, slow.worker) == (0.5, "job-3", 1, "failed", 1)
    course.finish(finished([700_000], "skipped", first=3, attempts=2), batch_of(1, jobs), 0, 3.0)
    (slow,) = course.slowest
    assert (slow.seconds, slow.attempt, slow.end, slow.worker) == (0.7, 2, "skipped", 0)


def test_attempts_are_counted_by_their_number_and_the_last_row_takes_all_later_ones():
    course = Course(SCHEME, 0.0)
    course.finish(finished([1, 2, 3]), batch_of(3), 0, 1.0)
    course.fail(batch_of(1), 0, FAILURE, 0, 1.0, goes_on=True, is_charged=True)
    for attempts in (2, MOST_ATTEMPTS, 10**6):
        course.fail(batch_of(1, [pending(0, attempts)]), 0, FAILURE, 0, 1.0, goes_on=attempts == 2, is_charged=True)
    snooze = FAILURE._replace(verdict="snooze")
    course.fail(batch_of(1, [pending(0, 1)]), 0, snooze, 0, 1.0, goes_on=True, is_charged=False)
    course.finish(finished([5], attempts=3), batch_of(1, [pending(0, 2)]), 0, 1.0)
    assert course.made[:4] == [0, 4, 1, 1]
    assert course.made[-1] == course.failed[-1] == 2
    assert course.failed[:4] == [0, 1, 1, 0]
    assert course.again == [0, 1, 1, *[0] * (MOST_ATTEMPTS - 2)]
    assert course.lanes[0].attempts == sum(course.made) == 8


def test_a_lane_knows_when_its_worker_worked_crashed_ran_out_of_time_and_began_anew():
    course = Course(SCHEME, 100.0)
    course.finish(finished([500_000, 500_000]), batch_of(2), 1, 102.0)
    for verdict, now in (("crash", 103.0), ("timeout", 104.0)):
        failure = FAILURE._replace(verdict=verdict)
        course.fail(batch_of(1), 0, failure, 1, now, goes_on=False, is_charged=True)
    row = WorkerRow(1, 4001, "idle", "", None, 4, 2)
    course.update(replace(take_snapshot(workers=0), elapsed=4.5, workers=(row,)))
    lane, width = course.lanes[1], course.timeline.width
    assert sum(lane.busy.values) == pytest.approx(2.0)
    assert sum(lane.busy.values[int(1.0 / width) : int(2.0 / width)]) == pytest.approx(1.0)
    assert lane.crashes.values.index(1) == int(3.0 / width)
    assert lane.timeouts.values.index(1) == int(4.0 / width)
    assert lane.restarts.values.index(2) == int(4.5 / width)
    assert lane.restarted == 2


def test_over_time_all_of_this_run_is_there_and_nothing_of_earlier_ones():
    course = Course(SCHEME, 0.0)
    flow = FlowState(0, 0, 0, 1, 1, 0, 0, None)
    for step in range(1, 101):
        before = {"settled_before": 50, "dead_before": 7, "dead": 7 + step // 10, "completed": 43 + 3 * step}
        before |= {"duplicate": 0, "skipped": 0, "retries": step, "waiting": step % 7, "elapsed": step * 7.0}
        course.update(take_snapshot(**before, unfinished=90, in_flight=10, flow=flow if step == 40 else None))
    assert sum(course.settled.values) == pytest.approx(310)
    assert sum(course.dead.values) == pytest.approx(10)
    assert sum(course.retries.values) == pytest.approx(100)
    assert max(course.waiting.values) == 6
    assert (max(course.held.values), max(course.open.values)) == (80, 1)


def deep_size(value, seen):
    if id(value) in seen:
        return 0
    seen.add(id(value))
    inner = []
    if isinstance(value, dict):
        inner = [*value.keys(), *value.values()]
    elif isinstance(value, (list, tuple)):
        inner = list(value)
    elif hasattr(value, "__dict__"):
        inner = list(vars(value).values())
    elif hasattr(value, "__slots__"):
        inner = [getattr(value, name) for name in value.__slots__]
    return sys.getsizeof(value) + sum(deep_size(each, seen) for each in inner)


def test_its_size_is_bounded_whatever_the_input():
    def run(rounds):
        course, huge = Course(SCHEME, 0.0), b'{"id":"%s","payload":1}\n' % (b"x" * 100_000)
        for n in range(rounds):
            now, worker = n * 3600.0, n % 500
            course.finish(finished([n * 1000 + 1, n * 1000 + 2], first=2 * n), batch_of(2), worker, now)
            failure = FAILURE._replace(duration=float(n), verdict="crash")
            line = Batch(1, 0, "jobs.jsonl", "jobs", 1, huge, 1)
            course.fail(line, 0, failure, worker, now, goes_on=False, is_charged=True)
            course.update(take_snapshot(elapsed=now, completed=n, workers=2))
        return course

    small, large = run(1000), run(4000)
    assert deep_size(large, {id(SCHEME)}) < 1.1 * deep_size(small, {id(SCHEME)})
    assert len(large.lanes) == MOST_LANES
    assert large.workers == 500
    assert max(len(each.id) for each in large.slowest) <= 200


def test_a_batch_of_short_jobs_is_not_read():
    """The cost of a batch must not hang on its jobs: records are looked into only for one of the slowest."""

    class Unread(list):
        reads = 0

        def __iter__(self):
            self.reads += 1
            return super().__iter__()

    course = Course(SCHEME, 0.0)
    course.finish(finished([1000] * MOST_SLOW), batch_of(MOST_SLOW), 0, 1.0)
    records = Unread([b"".join(finished([1000] * 50, first=100).records)])
    course.finish(finished([1000] * 50)._replace(records=records), batch_of(50), 0, 2.0)
    assert records.reads == 0
    course.finish(finished([1001] * 50)._replace(records=records), batch_of(50), 0, 2.0)
    assert records.reads == 1
