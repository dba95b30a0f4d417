"""Laws of the level: it settles near what a server can do, and never cuts for a single call."""

from __future__ import annotations

import heapq
import random

import pytest

from jqcli.core.adapt import Level


def simulate(capacity, seed, seconds=120.0, most=200, base=0.05):
    """Return (moment, level) behind every call of a server that is slower in proportion above its capacity."""
    dice, level, now = random.Random(seed), Level(most), 10.0
    running: list[tuple[float, float]] = []
    seen = []
    while now < 10.0 + seconds:
        while len(running) < level.now:
            load = (len(running) + 1) / capacity
            took = base * max(1.0, load) * dice.uniform(0.9, 1.1)
            heapq.heappush(running, (now + took, took))
        now, took = heapq.heappop(running)
        level.note(took, len(running) + 1, now)
        seen.append((now, level.now))
    return seen


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("capacity", [5, 8, 20, 50])
def test_it_settles_within_a_fifth_of_the_capacity(capacity, seed):
    late = [level for now, level in simulate(capacity, seed) if now > 70.0]
    mean = sum(late) / len(late)
    assert abs(mean - capacity) <= 0.2 * capacity, mean


def test_it_stays_within_its_bounds():
    levels = [level for _, level in simulate(500, 1, most=12)]
    assert (min(levels), max(levels)) == (1, 12)


def grown(to=8):
    level, now = Level(to), 0.0
    while level.now < to:
        now += 0.05
        level.note(0.1, level.now, now)
    return level, now


def test_one_slow_call_or_one_answer_of_slow_down_cuts_nothing():
    level, now = grown()
    for number in range(200):
        now += 0.05
        level.note(0.15 if number % 10 == 5 else 0.1, 8, now, is_limited=number % 20 == 3)
        assert level.now == 8


def test_many_answers_of_slow_down_cut_once_a_window():
    level, now = grown(100)
    before = level.now
    for _ in range(20):
        now += 0.01
        level.note(0.0, 100, now, is_limited=True)
    assert level.now in (before, int(before * 0.8))


def test_a_server_that_became_slower_for_good_is_learnt():
    level, now = grown()
    for _ in range(2000):
        now += 0.05
        level.note(0.4, level.now, now)
    assert level.now > 1


def test_a_level_that_nobody_uses_up_does_not_grow():
    level, now = Level(100), 0.0
    for _ in range(2000):
        now += 0.05
        level.note(0.1, min(level.now, 3), now)
    assert level.now <= 4


def pass_window(level, now, limited=0, calls=8):
    for number in range(calls):
        level.note(0.0 if number < limited else 0.1, level.now, now + 0.1 * number, is_limited=number < limited)
    return now + 0.1 * calls


@pytest.mark.parametrize("limited, then", [(0, 16), (1, 16), (2, 6)])
def test_two_answers_of_slow_down_in_a_window_cut_the_level(limited, then):
    level, now = Level(64), 0.0
    while level.now < 8:
        now = pass_window(level, now)
    pass_window(level, now, limited)
    assert level.now == then


def test_few_calls_say_nothing_however_long_they_took():
    level = Level(64)
    for number in range(7):
        level.note(0.1, 1, 10.0 * number)
    assert level.now == 1
    level.note(0.1, 1, 70.0)
    assert level.now == 2


def test_one_job_may_run_in_any_case():
    level, now = Level(64), 0.0
    for _ in range(20):
        now = pass_window(level, now, limited=8)
    assert level.now == 1
