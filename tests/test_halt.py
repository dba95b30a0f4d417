"""A run stops for the first reason that comes, once, and at once where the user insists."""

from __future__ import annotations

import time
from math import inf
from types import SimpleNamespace

import pytest

from jqcli.core.aside import NO_ROOM, Aside
from jqcli.core.codec import Scheme
from jqcli.core.gate import Gate
from jqcli.core.lane import Flow
from jqcli.core.queue import Queue
from jqcli.core.stop import Tolerance
from jqcli.core.taken import Taken
from jqcli.core.tally import Tally
from jqcli.halt import Halt
from jqcli.intake import Bounds


class Scene:
    """A halt with what it looks at; `ceased` counts how often nothing new was to start."""

    def __init__(self, **bounds):
        asked = {"lines": 1, "bytes": 1, "limit": None, "grace": 30.0, "max_failures": None} | bounds
        self.interrupts = SimpleNamespace(received=[])
        self.tally, self.ceased = Tally(), 0
        aside = Aside(Queue(Scheme(), Taken()), NO_ROOM)
        self.halt = Halt(Bounds(**asked), self.interrupts, self.tally, Gate(Flow(), aside), self.cease)

    def cease(self):
        self.ceased += 1


def test_the_first_reason_counts_and_work_ceases_once():
    scene = Scene()
    scene.halt.begin(3, "one", grace=10.0)
    before = scene.halt.stop
    scene.halt.begin(74, "other")
    assert scene.halt.stop is before
    assert (before.code, before.message, scene.ceased) == (3, "one", 1)
    assert 9 < before.deadline - time.monotonic() <= 10


def test_one_signal_drains_within_the_grace_and_a_second_one_waits_for_nothing():
    scene = Scene(grace=60.0)
    scene.halt.heed_signals()
    assert scene.halt.stop is None
    scene.interrupts.received.append(15)
    scene.halt.heed_signals()
    assert scene.halt.stop.code == 143
    assert not scene.halt.is_overdue
    scene.interrupts.received.append(2)
    scene.halt.heed_signals()
    assert (scene.halt.stop.code, scene.halt.is_overdue) == (143, True)


def test_of_two_signals_that_came_together_the_first_says_the_code():
    scene = Scene()
    scene.interrupts.received += [15, 2]
    scene.halt.heed_signals()
    assert (scene.halt.stop.code, scene.halt.is_overdue) == (143, True)


def test_without_a_deadline_nobody_looks_at_one():
    scene = Scene()
    scene.halt.heed_deadline(1e9)
    assert (scene.halt.look_at, scene.halt.stop) == (inf, None)


def test_the_deadline_stops_the_run_once_a_job_would_not_end_before_it():
    scene = Scene(deadline=100.0)
    for _ in range(100):
        scene.tally.count_latency(2_000_000)
    scene.halt.heed_deadline(90.0)
    assert scene.halt.stop is None
    assert 90.0 < scene.halt.look_at <= 91.0
    scene.halt.heed_deadline(90.5)  # not yet
    scene.halt.heed_deadline(97.5)
    assert 97.9 < scene.halt.look_at < 98.1, "the last moment at which a job might begin"
    scene.halt.heed_deadline(99.0)
    assert scene.halt.stop.code == 3
    assert 0 < scene.halt.stop.deadline - time.monotonic() <= 1.0, "and not the grace of a signal"
    assert "deadline is in 1.0 s" in scene.halt.stop.message
    scene.halt.heed_deadline(101.0)
    assert scene.halt.look_at == inf


@pytest.mark.parametrize("before, is_stopped", [(0, True), (3, False)])
def test_only_what_died_in_this_run_counts_as_a_failure(before, is_stopped):
    scene = Scene(max_failures=Tolerance(3))
    scene.tally.dead, scene.tally.dead_before = 3, before
    scene.halt.heed_failures()
    assert (scene.halt.stop is not None) is is_stopped
