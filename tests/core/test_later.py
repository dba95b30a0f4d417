"""Laws of jobs that wait for a moment."""

from __future__ import annotations

import json

import pytest

from jqcli.core.aside import Aside, Room
from jqcli.core.batch import Pending
from jqcli.core.codec import Scheme, read_line
from jqcli.core.later import Later
from jqcli.core.queue import Queue
from jqcli.core.rules import Moment
from jqcli.core.taken import Taken
from jqcli.model import Line
from tests.scratch import MemoryScratch

NOW = Moment(100.0, 1000.0)


def make():
    queue = Queue(Scheme(), Taken())
    aside = Aside(queue, Room(MemoryScratch(), lambda *_: b"", 1000, 1 << 30))
    return Later(aside), queue


def enter(queue, number, **asks):
    line = Line("in.jsonl", "in", number, json.dumps({"payload": number, **asks}).encode())
    one = Pending(line, read_line(line, Scheme()), 0, 0, number)
    queue.enter(one)
    return one


@pytest.mark.parametrize("due_at", [1e30, 1e300, 1e308, float("inf")])
def test_a_moment_may_be_as_far_as_numbers_go(due_at):
    later, queue = make()
    later.wait(enter(queue, 1), due_at, NOW, is_retry=False)
    assert later.due_at >= due_at
    assert later.wake(1e9) == []


@pytest.mark.parametrize("window", [0.01, 0.1, 0.25, 0.3])
def test_a_job_that_is_set_aside_comes_back_before_it_expires(window):
    later, queue = make()
    for number in range(100):
        begin = 1030.0 + number * 0.037
        asks = {"not_before": begin, "expires": begin + window}
        later.wait(enter(queue, number, **asks), begin - NOW.unix + NOW.monotonic, NOW, is_retry=False)
    assert (later.far, later.near) == (100, 0)
    for number in range(100):
        now = later.due_at
        assert later.wake(now) == []
        pending = later.take()
        assert pending.line.number == number
        assert now >= 130.0 + number * 0.037
        assert not pending.has_expired(now - NOW.monotonic + NOW.unix)


def test_jobs_of_about_one_moment_are_one_slot_also_where_they_expire_soon():
    later, queue = make()
    for number in range(1000):
        moment = 1030.0 + number * 1e-9
        later.wait(enter(queue, number, expires=1030.1), moment - 900.0, NOW, is_retry=False)
    assert len(later._slots) <= 2


def test_a_job_whose_moment_has_come_is_no_longer_one_that_waits_for_it():
    later, queue = make()
    for number in range(10):
        later.wait(enter(queue, number), 130.0, NOW, is_retry=False)
    assert (later.far, later.due) == (10, 0)
    later.wake(131.0)
    assert (later.far, later.due) == (0, 10)
    later.take()
    assert (later.far, later.due) == (0, 9)
