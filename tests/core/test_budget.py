"""Laws of the retry budget: an outage is not multiplied, and what it holds back goes on at the floor."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jqcli.core.budget import FLOOR, FREE_JOBS, Budget

STEPS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.floats(0, 2)), min_size=1, max_size=40)


@given(st.floats(0.001, 1.0), STEPS)
def test_in_no_window_are_more_retries_than_share_and_floor_allow(share, steps):
    budget, now, firsts = Budget(share), 50.0, 0
    log = []  # (moment, firsts) of each retry
    for first, wanted, gap in steps:
        now += gap
        firsts += first
        for _ in range(first):
            budget.note_first()
        for _ in range(wanted):
            if budget.free_at(now) > now:
                break
            budget.take(now)
            log.append((now, firsts))
    for index, (begin, firsts_then) in enumerate(log):
        for count, (end, firsts_now) in enumerate(log[index:], 1):
            paid = max(1.0, share * FREE_JOBS) + share * (firsts_now - firsts_then)
            assert count <= paid + FLOOR.burst + FLOOR.per_second * (end - begin) + 1e-6


@given(st.floats(0.001, 1.0))
def test_what_waits_drains_at_the_floor(share):
    budget, now, done = Budget(share), 50.0, 0
    while done < 300:
        now = max(now, budget.free_at(now))
        budget.take(now)
        done += 1
    assert now - 50.0 <= 300 / FLOOR.per_second + 1e-6


def test_a_run_begins_with_the_share_of_a_hundred_jobs():
    budget = Budget(0.2)
    taken = 0
    while budget.free_at(50.0) <= 50.0:
        budget.take(50.0)
        taken += 1
    assert taken == 21  # and one of the floor
