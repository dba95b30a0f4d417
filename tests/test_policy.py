"""Laws of policies and of the decorator beside a handler."""

from __future__ import annotations

import json

import pytest

from jqcli import handler
from jqcli.policy import DEFAULTS, POLICY_NAMES, POLICY_PARSERS, Policy

FULL = Policy(
    max_attempts=3,
    timeout=1.5,
    retry_on=("ConnectionError",),
    reject_on=("builtins.ValueError",),
    backoff="fixed",
    backoff_base=0.1,
    backoff_max=2.0,
    max_crashes=1,
    rate=0.5,
)


def policy_of(target):
    return target.__jqcli_policy__


def test_the_upper_policy_wins_and_the_lower_fills_what_it_does_not_say():
    assert Policy(timeout=1.0).over(Policy(timeout=2.0, max_attempts=7)) == Policy(timeout=1.0, max_attempts=7)


def test_an_empty_policy_changes_nothing():
    assert Policy().over(FULL) == FULL == FULL.over(Policy())


def test_a_policy_survives_a_trip_as_json():
    assert Policy.from_dict(json.loads(json.dumps(FULL.to_dict()))) == FULL
    assert Policy.from_dict(json.loads(json.dumps(Policy().to_dict()))) == Policy()


def test_every_member_of_a_policy_has_a_parser():
    assert tuple(POLICY_PARSERS) == POLICY_NAMES


def test_the_defaults_are_those_of_the_design():
    assert DEFAULTS.to_dict() == {
        "max_attempts": 5,
        "backoff": "full-jitter",
        "backoff_base": 0.5,
        "backoff_max": 60.0,
        "max_crashes": 2,
    }


def test_the_decorator_works_bare_and_with_keywords_and_returns_the_same_object():
    def charge(payload):
        return payload

    assert handler(charge) is charge
    assert policy_of(charge) == Policy()
    assert handler(max_attempts=2)(charge) is charge
    assert policy_of(charge) == Policy(max_attempts=2)


def test_the_decorator_works_on_classes():
    @handler(timeout="1m30s")
    class Model:
        pass

    assert policy_of(Model) == Policy(timeout=90.0)


@pytest.mark.parametrize(
    "given, names",
    [
        (ConnectionError, ("builtins.ConnectionError",)),
        ((ConnectionError, "requests.Timeout"), ("builtins.ConnectionError", "requests.Timeout")),
        ("ValueError,KeyError", ("ValueError", "KeyError")),
    ],
)
def test_exception_types_are_classes_or_names_one_or_a_tuple(given, names):
    assert policy_of(handler(retry_on=given)(print_nothing)) == Policy(retry_on=names)


def print_nothing():
    """Stand in for a handler."""


def test_an_exception_class_defined_in_a_function_may_be_named():
    class LocalError(Exception):
        pass

    (name,) = policy_of(handler(reject_on=LocalError)(print_nothing)).reject_on
    assert name == f"{__name__}.{LocalError.__qualname__}"


@pytest.mark.parametrize(
    "said, error, text",
    [
        ({"max_attempt": 3}, TypeError, "did you mean 'max_attempts'?"),
        ({"max_attempts": 0}, ValueError, "max_attempts: 0 is not a whole number of at least 1"),
        ({"max_attempts": True}, ValueError, "max_attempts: True is not a whole number"),
        ({"timeout": "soon"}, ValueError, "timeout: 'soon' is not a duration"),
        ({"timeout": 0}, ValueError, "timeout: 0 leaves no time"),
        ({"backoff": "full-jiter"}, ValueError, "did you mean 'full-jitter'?"),
        ({"retry_on": 3}, ValueError, "is not a list of type names"),
        ({"retry_on": int}, TypeError, "int is not an exception class"),
        ({"retry_on": "not a name"}, ValueError, "is not the name of a type"),
        ({"backoff_base": "2m"}, ValueError, "raise backoff_max too"),
    ],
)
def test_a_wrong_policy_fails_at_import_and_says_why(said, error, text):
    with pytest.raises(error, match="@handler") as caught:
        handler(**said)
    assert text in str(caught.value)


def test_something_that_cannot_be_called_is_no_handler():
    with pytest.raises(TypeError, match="no function and no class"):
        handler("30s")
