"""Laws of the rate limit: in no window more than burst + rate x t starts, and every token that there is can be used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqcli.core.limit import Bucket, Buckets, Rate

RATES = st.floats(0.01, 1e6)
BURSTS = st.floats(1, 1000)
PAUSES = st.lists(st.one_of(st.just(0.0), st.floats(0, 0.01), st.floats(0, 50)), min_size=1, max_size=60)


def starts_of(bucket, gaps, costs):
    """Return (moment, cost) of starts that are tried after each gap, as soon as the bucket lets them."""
    now, starts = 1000.0, []
    for gap, cost in zip(gaps, costs, strict=False):
        now = max(now + gap, bucket.free_at(cost))
        assert bucket.free_at(cost) <= now, "its own moment is not enough: a loop that waits for it would spin"
        bucket.take(now, cost)
        starts.append((now, cost))
    return starts


@given(RATES, BURSTS, PAUSES, st.data())
def test_in_no_window_are_more_starts_than_burst_and_rate_allow(rate, burst, gaps, data):
    costs = data.draw(st.lists(st.floats(0, burst), min_size=len(gaps), max_size=len(gaps)))
    starts = starts_of(Bucket(Rate(rate, burst)), gaps, costs)
    for first, (begin, _) in enumerate(starts):
        taken = 0.0
        for end, cost in starts[first:]:
            taken += cost
            assert taken <= (burst + rate * (end - begin)) * (1 + 1e-9) + rate * 1e-9 + 1e-6


@given(RATES, BURSTS, st.integers(1, 200))
def test_who_always_wants_to_start_gets_the_whole_rate(rate, burst, number):
    starts = starts_of(Bucket(Rate(rate, burst)), [0.0] * number, [1.0] * number)
    took = starts[-1][0] - starts[0][0]
    assert took <= max(0.0, number - burst) / rate * (1 + 1e-6) + 1e-6


def test_a_cost_above_the_burst_waits_for_a_full_bucket_and_is_paid_off():
    bucket = Bucket(Rate(10.0, 5))
    bucket.take(100.0, 2.0)
    assert bucket.free_at(50.0) == pytest.approx(100.2)
    bucket.take(100.2, 50.0)
    assert bucket.free_at() == pytest.approx(100.2 + 5.0 - 0.4)


def test_nothing_starts_in_a_pause_and_no_burst_behind_it():
    bucket = Bucket(Rate(10.0, 5))
    bucket.pause(200.0)
    assert bucket.free_at() == pytest.approx(200.0)
    bucket.take(200.0)
    assert bucket.free_at() == pytest.approx(200.1)
    bucket.pause(150.0)
    assert bucket.free_at() == pytest.approx(200.1), "an earlier pause shortens no later one"


def test_a_bucket_without_a_rate_only_pauses():
    bucket = Bucket()
    for _ in range(1000):
        bucket.take(5.0, 7.0)
    assert bucket.free_at() <= 5.0
    bucket.pause(8.0)
    assert bucket.free_at() == 8.0


def test_full_buckets_are_forgotten_and_others_are_kept():
    buckets = Buckets(lambda _: Rate(1.0, 1))
    buckets.of("late", 0.0).take(1e6)
    for number in range(50_000):
        buckets.of(number, float(number)).take(float(number))
    assert len(buckets._by_key) < 25_000
    assert buckets.of("late", 6e4).free_at() == 1e6 + 1.0
