"""Laws of the retry decision: one row of DESIGN's table each, and the bounds of every backoff."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jqcli.core.batch import Pending
from jqcli.core.retry import Again, Dead, decide, matches
from jqcli.core.rules import Rules
from jqcli.model import NO_ASKS, Asks, Failure, Job, Line
from jqcli.policy import DEFAULTS, Policy

LIGHT = settings(max_examples=80, deadline=None, database=None)
KEY_ERROR = (
    "builtins.KeyError",
    "builtins.LookupError",
    "builtins.Exception",
    "builtins.BaseException",
    "builtins.object",
)
VALUE_ERROR = ("builtins.ValueError", "builtins.Exception", "builtins.BaseException", "builtins.object")


def pend(attempts=1, crashes=0):
    job = Job(1, "a", has_own_id=True, key=b"k" * 16, key_text="k", payload_hash=None, asks=NO_ASKS)
    return Pending(Line("s", "s", 1, b"1"), job, 0, 1, 0, attempts=attempts, crashes=crashes)


def fail(verdict="error", names=KEY_ERROR, **more):
    return Failure(verdict, names[0], "m", "", names, 0.1, **more)


def rule(pending, failure, chance=0.5, **said):
    return decide(pending, failure, Policy(**said).over(DEFAULTS), chance)


# The table


@pytest.mark.parametrize("attempts", [1, 4])
def test_an_exception_is_tried_again_while_attempts_are_left(attempts):
    assert isinstance(rule(pend(attempts), fail()), Again)


def test_when_attempts_ran_out_the_reason_says_whether_the_last_one_timed_out():
    timeout = fail("timeout", ("jqcli.JobTimeout",))
    assert rule(pend(5), fail()) == Dead("max_attempts")
    assert rule(pend(5), timeout) == Dead("timeout")
    assert isinstance(rule(pend(4), timeout), Again)
    assert rule(pend(1), fail("retry"), max_attempts=1) == Dead("max_attempts")


def test_a_rejection_is_dead_at_once():
    assert rule(pend(), fail("reject", ("jqcli.errors.Reject", "builtins.Exception"))) == Dead("rejected")


@pytest.mark.parametrize("name", ["KeyError", "builtins.KeyError", "LookupError", "builtins.Exception"])
def test_a_type_named_by_reject_on_is_rejected_by_bare_or_dotted_name_of_any_base(name):
    assert rule(pend(), fail(), reject_on=(name,)) == Dead("rejected")
    assert isinstance(rule(pend(), fail(), reject_on=("ValueError", "mine.KeyError")), Again)


def test_reject_on_wins_over_retry_on():
    assert rule(pend(), fail(), retry_on=("KeyError",), reject_on=("LookupError",)) == Dead("rejected")


@pytest.mark.parametrize("name", ["KeyError", "builtins.LookupError", "Exception"])
def test_a_type_outside_retry_on_is_not_retryable(name):
    assert isinstance(rule(pend(), fail(), retry_on=(name,)), Again)
    assert rule(pend(), fail(names=VALUE_ERROR), retry_on=("KeyError",)) == Dead("not_retryable")


def test_a_base_exception_that_is_no_exception_is_not_retryable():
    names = ("builtins.SystemExit", "builtins.BaseException", "builtins.object")
    assert rule(pend(), fail(names=names, is_exception=False)) == Dead("not_retryable")


def test_a_handler_that_raises_retry_is_tried_again_whatever_retry_on_says():
    assert isinstance(rule(pend(), fail("retry"), retry_on=("OSError",)), Again)


def test_a_result_that_is_no_json_is_dead_at_once():
    assert rule(pend(), fail("unserializable")) == Dead("unserializable_result")


@pytest.mark.parametrize("most", [1, 2, 4])
def test_crashes_have_a_limit_of_their_own(most):
    crash = fail("crash", ("jqcli.WorkerCrash",))
    for crashes in range(1, most):
        assert isinstance(rule(pend(crashes, crashes), crash, max_crashes=most, max_attempts=1), Again)
    assert rule(pend(most, most), crash, max_crashes=most, max_attempts=99) == Dead("worker_crash")


def test_crashes_do_not_use_up_attempts():
    assert isinstance(rule(pend(attempts=6, crashes=2), fail()), Again)
    assert rule(pend(attempts=7, crashes=2), fail()) == Dead("max_attempts")


def test_a_crash_is_tried_again_whatever_retry_on_and_reject_on_say():
    crash = fail("crash", ("jqcli.WorkerCrash",))
    assert isinstance(rule(pend(1, 1), crash, retry_on=("OSError",), reject_on=("WorkerCrash",)), Again)


def test_a_snooze_never_ends_a_job():
    assert rule(pend(99), fail("snooze", after=60.0)) == Again(60.0)


# Backoffs


@LIGHT
@given(st.integers(1, 1000), st.floats(0, 1, exclude_max=True), st.floats(0, 3600), st.floats(0, 1e6))
def test_full_jitter_is_between_nothing_and_the_cap(attempt, chance, base, most):
    wait = rule(pend(attempt), fail(), chance, max_attempts=9999, backoff_base=base, backoff_max=most).after
    assert 0 <= wait <= min(most, base * 2.0 ** (attempt - 1))


def test_no_backoff_stays_none_however_often_a_job_is_tried():
    assert rule(pend(2000), fail(), max_attempts=9999, backoff_base=0.0).after == 0.0


@pytest.mark.parametrize("attempt, expected", [(1, 0.5), (2, 1.0), (3, 2.0), (7, 32.0), (8, 60.0), (5000, 60.0)])
def test_an_exponential_backoff_doubles_up_to_its_cap(attempt, expected):
    assert rule(pend(attempt), fail(), max_attempts=9999, backoff="exponential").after == expected
    assert rule(pend(attempt), fail(), 0.25, max_attempts=9999).after == expected / 4


@pytest.mark.parametrize("attempt", [1, 2, 50])
def test_a_fixed_backoff_is_its_base_and_never_over_its_cap(attempt):
    assert rule(pend(attempt), fail(), max_attempts=99, backoff="fixed", backoff_base=3.0).after == 3.0
    assert rule(pend(attempt), fail(), max_attempts=99, backoff="fixed", backoff_base=3.0, backoff_max=1.0).after == 1.0


@LIGHT
@given(st.floats(min_value=0, allow_infinity=False), st.sampled_from(["retry", "snooze"]))
def test_what_a_handler_asks_for_replaces_the_backoff(after, verdict):
    least = 0.01 if verdict == "snooze" else 0.0
    assert rule(pend(), fail(verdict, after=after)).after == max(after, least)


def test_a_snooze_that_costs_no_attempt_never_spins():
    assert rule(pend(), fail("snooze", after=0.0)).after > 0


def test_retry_without_a_time_waits_for_the_usual_backoff():
    assert rule(pend(2), fail("retry"), 0.5) == Again(0.5)
    assert rule(pend(2), fail("retry", after=0.0), 0.5) == Again(0.0)


def test_an_after_on_any_other_failure_means_nothing():
    assert rule(pend(1), fail(after=100.0), 0.5) == Again(0.25)


# Names and precedence


def test_names_match_bare_or_whole_and_nothing_in_between():
    names = ("requests.exceptions.ConnectionError", "builtins.OSError")
    assert matches(names, ("ConnectionError",))
    assert matches(names, ("requests.exceptions.ConnectionError",))
    assert not matches(names, ("exceptions.ConnectionError",))
    assert not matches(names, ("requests.ConnectionError",))
    assert not matches(names, ())


def test_the_line_wins_over_the_handler_and_the_handler_over_the_defaults():
    rules = Rules({None: Policy(max_attempts=3, timeout=9.0), "slow": Policy(timeout=99.0)})
    assert rules.of_job(NO_ASKS) == Policy(max_attempts=3, timeout=9.0).over(DEFAULTS)
    assert rules.of_job(Asks(timeout=1.0)).timeout == 1.0
    assert rules.of_job(Asks(timeout=1.0)).max_attempts == 3
    assert rules.of_job(Asks(handler="slow", max_attempts=8)) == Policy(max_attempts=8, timeout=99.0).over(DEFAULTS)
    assert rules.of_job(Asks(handler="slow")).max_attempts == DEFAULTS.max_attempts
