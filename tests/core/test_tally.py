"""Laws of the counts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jqcli.core.tally import Tally, fingerprint

LIGHT = settings(max_examples=60, deadline=None, database=None)


@LIGHT
@given(st.lists(st.sampled_from(["completed", "duplicate", "skipped", "dead", "read"]), max_size=40))
def test_read_is_the_sum_of_all_outcomes_and_of_what_is_unfinished(steps):
    tally = Tally()
    for step in steps:
        tally.read += 1
        if step == "dead":
            tally.count_dead("max_attempts", "builtins.KeyError", "m", "a")
        elif step != "read":
            setattr(tally, step, getattr(tally, step) + 1)
    assert tally.unfinished == steps.count("read")
    assert tally.read == tally.completed + tally.duplicate + tally.skipped + tally.dead + tally.unfinished
    assert sum(group.count for group in tally.groups.values()) == tally.dead


@LIGHT
@given(st.lists(st.integers(1, 10**10), min_size=1, max_size=200))
def test_percentiles_are_right_within_five_percent(durations):
    tally = Tally()
    for each in durations:
        tally.count_latency(each)
    ordered = sorted(durations)
    for share, found in zip((0.50, 0.95, 0.99), tally.percentiles(), strict=True):
        exact = ordered[max(0, math.ceil(len(ordered) * share) - 1)] / 1e6
        assert found == pytest.approx(exact, rel=0.05)


def test_counting_many_at_once_is_counting_each():
    one, many = Tally(), Tally()
    many.count_latency(500, 30)
    for _ in range(30):
        one.count_latency(500)
    assert one.percentiles() == many.percentiles()
    assert one.busy == pytest.approx(many.busy) == pytest.approx(0.015)


def test_there_are_no_percentiles_before_the_first_attempt():
    assert Tally().percentiles() == (None, None, None)


def test_an_attempt_too_short_to_measure_is_counted():
    tally = Tally()
    tally.count_latency(0)
    assert tally.percentiles()[0] == pytest.approx(1e-6, rel=0.05)


def test_groups_of_errors_stay_bounded_and_count_every_failure():
    tally = Tally()
    for number in range(1500):
        tally.count_dead(f"reason{number % 3}", f"mine.Error{number}", "x" * 10_000, number)
    assert len(tally.groups) <= 210
    assert sum(group.count for group in tally.groups.values()) == tally.dead == 1500
    assert all(len(group.message) <= 300 for group in tally.groups.values())
    further = [group.type for group in tally.groups.values() if group.fingerprint == "other"]
    assert set(further) == {"jqcli.other"}, "errors of many types have not that of the first"


@pytest.mark.parametrize(
    "one, other",
    [
        ("no user 'anna'", "no user 'bob'"),
        ('no user "anna"', 'no user "bob"'),
        ("took 3.5 s", "took 12 s"),
        ("no file /srv/a/1.txt", "no file /home/b.txt"),
        ("id 9f0c11aa22", "id deadbeef"),
        ("at 0x7f00", "at 0xAB12"),
        ("id 4f3a9c1e-beef-4afe-bcde-00c0ffee0001", "id 01234567-89ab-4def-8123-456789abcdef"),
        ("charge ch_3MmlLrLkdIwHu7ix0snN0B15", "charge ch_1KpaQrLkdIwHu7iyZsnAbc9D"),
        ("order 01ARZ3NDEKTSV4RRFFQ69G5FAV", "order 01BX5ZZKBKACTAV9WEVGEMMVRZ"),
        ("line 1, column 7", "line 100, column 8"),
    ],
)
def test_failures_that_differ_in_numbers_names_and_paths_look_alike(one, other):
    assert fingerprint("builtins.KeyError", one) == fingerprint("builtins.KeyError", other)


def test_failures_of_other_types_or_words_do_not_look_alike():
    prints = {fingerprint(kind, text) for kind in ("a.KeyError", "a.ValueError") for text in ("no user", "no file")}
    assert len(prints) == 4
    words = ("international_customers_2", "international_addresses_2", "a-wholly-hyphenated-word")
    assert len({fingerprint("a.KeyError", f"no such table: {word}") for word in words}) == len(words)


@LIGHT
@given(st.text(max_size=50), st.text(max_size=400))
def test_a_fingerprint_is_short_and_never_fails(kind, message):
    assert len(fingerprint(f"mine.{kind}", message)) <= len(kind) + 170


def test_groups_that_differ_in_reason_are_two():
    tally = Tally()
    tally.count_dead("timeout", "jqcli.JobTimeout", "took 3 s", "a")
    tally.count_dead("max_attempts", "jqcli.JobTimeout", "took 4 s", "b")
    tally.count_dead("timeout", "jqcli.JobTimeout", "took 5 s", "c")
    top = tally.top_errors(1)
    assert [(group.reason, group.count, group.sample_id) for group in top] == [("timeout", 2, "a")]


def test_the_rate_is_that_of_the_last_seconds_and_leaves_out_earlier_runs():
    tally = Tally(read=1000, completed=400, settled_before=400)
    assert tally.rate() == 0.0
    tally.mark(10.0)
    tally.completed += 100
    tally.mark(12.0)
    assert tally.rate() == 50.0
    for second in range(13, 40):
        tally.completed += 10
        tally.mark(float(second))
    assert tally.rate() == pytest.approx(10.0)


def test_what_earlier_runs_did_and_this_one_just_read_is_no_rate():
    tally = Tally()
    tally.mark(10.0)
    tally.completed = tally.settled_before = 400
    tally.mark(12.0)
    assert tally.rate() == 0.0


def test_two_marks_of_one_moment_are_no_rate():
    tally = Tally()
    tally.mark(1.0)
    tally.completed += 5
    tally.mark(1.0)
    assert tally.rate() == 0.0
