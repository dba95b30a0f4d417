"""Laws of the circuit breaker: during an outage few calls, after it all, and no probe on which it sticks."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from jqcli.core.breaker import Breaker, Breakers, State, Trip

TRIP = Trip(0.5, 30.0)


def opened(at=100.0):
    breaker = Breaker(TRIP)
    for _ in range(TRIP.least - 1):
        assert not breaker.fail(breaker.start(at), at)
    assert breaker.fail(breaker.start(at), at)
    return breaker


def test_too_few_calls_say_nothing():
    breaker = Breaker(TRIP)
    for _ in range(TRIP.least - 1):
        breaker.fail(0, 100.0)
    assert (breaker.state, breaker.free_at() <= 100.0) == (State.CLOSED, True)


def test_it_opens_at_the_share_and_not_below():
    breaker = Breaker(TRIP)
    for number in range(30):
        breaker.succeed(0, 100.0)
        if number % 2:
            breaker.fail(0, 100.0)
    assert breaker.state is State.CLOSED
    tripped = [breaker.fail(0, 101.0) for _ in range(15)]
    assert tripped == [False] * 14 + [True]


def test_so_many_failures_in_a_row_open_it_whatever_was_before():
    breaker = Breaker(TRIP)
    for _ in range(10_000):
        breaker.succeed(0, 100.0)
    assert [breaker.fail(0, 101.0) for _ in range(20)] == [False] * 19 + [True]


def test_failures_count_for_a_time_only():
    breaker = Breaker(TRIP)
    for number in range(100):
        breaker.fail(0, 100.0 + number * 5)
        if number % 9 == 8:
            breaker.succeed(0, 100.0 + number * 5)
    assert breaker.state is State.CLOSED


def test_of_calls_that_are_too_slow_for_the_window_as_many_in_a_row_open_it():
    breaker = Breaker(TRIP)
    tripped = [breaker.fail(0, 100.0 + number * 60) for number in range(TRIP.least)]
    assert tripped == [False] * (TRIP.least - 1) + [True]


def test_open_lets_nothing_through_and_then_one_probe():
    breaker = opened()
    assert breaker.free_at() == 130.0
    assert breaker.start(130.0) == 1
    assert breaker.free_at() > 130.0


def test_a_probe_that_succeeds_closes_and_one_that_fails_opens_again():
    breaker = opened()
    assert not breaker.fail(breaker.start(130.0), 131.0)
    assert (breaker.state, breaker.free_at()) == (State.OPEN, 161.0)
    breaker.succeed(breaker.start(161.0), 162.0)
    assert (breaker.state, breaker.free_at() <= 162.0) == (State.CLOSED, True)


def test_a_probe_that_never_answers_is_followed_by_another_and_its_late_answer_is_not_heard():
    breaker = opened()
    late = breaker.start(130.0)
    assert breaker.free_at() == 160.0
    probe = breaker.start(160.0)
    breaker.succeed(late, 161.0)
    assert breaker.state is State.HALF_OPEN
    breaker.succeed(probe, 162.0)
    assert breaker.state is State.CLOSED


def test_a_probe_that_says_nothing_makes_room_for_the_next():
    breaker = opened()
    breaker.ignore(breaker.start(130.0), 131.0)
    assert breaker.free_at() == 131.0


def test_calls_from_before_it_opened_are_not_heard():
    breaker = opened()
    breaker.succeed(0, 101.0)
    breaker.fail(0, 102.0)
    assert (breaker.state, breaker.free_at()) == (State.OPEN, 130.0)


def test_a_job_that_fails_while_others_succeed_says_nothing():
    breaker = Breaker(TRIP)
    assert breaker.speaks(None)
    breaker.fail(0, 100.0)
    assert breaker.speaks(100.0)
    breaker.succeed(0, 101.0)
    assert not breaker.speaks(100.0)
    assert breaker.speaks(102.0)


@settings(deadline=None, max_examples=60)
@given(
    st.floats(0.05, 1.0),
    st.floats(1.0, 60.0),
    st.floats(0.01, 20),
    st.floats(0, 100),
    st.floats(1, 500),
)
def test_calls_during_an_outage_are_at_most_threshold_and_probes(share, window, gap, start, length):
    """One caller, `gap` seconds between calls; the world is down from `start` on for `length` seconds."""
    trip = Trip(share, window)
    breaker, now, down, before = Breaker(trip), 0.0, 0, 0
    while now < start + length:
        probe = breaker.start(now)
        if now < start:
            breaker.succeed(probe, now)
            before += 1
        else:
            breaker.fail(probe, now)
            down += 1
        now = max(now + gap, breaker.free_at())
    # As many failures as make a share of what the window holds of good calls, and at least the least.
    good = min(before, window / gap + 1)
    by_share = share / (1 - share) * good + 2 if share < 1 else window / gap + 1
    threshold = max(trip.least, min(by_share, trip.in_a_row + 1))
    probes = length / window + 1
    assert down <= threshold + probes + 1
    if now >= start + length and breaker.is_open:
        breaker.succeed(breaker.start(now), now)
        assert not breaker.is_open


def test_of_many_breakers_those_are_forgotten_that_are_closed_and_that_nobody_waits_for(monkeypatch):
    monkeypatch.setattr("jqcli.core.breaker._KEPT", 3)
    breakers = Breakers(TRIP, lambda: {"used"})
    kept = {name: breakers.of(name) for name in ("used", "open", "idle")}
    for _ in range(TRIP.least):
        kept["open"].fail(0, 100.0)
    breakers.of("new")
    assert [name for name, _ in breakers.all()] == ["used", "open", "new"]
    assert all(breakers.of(name) is kept[name] for name in ("used", "open"))
