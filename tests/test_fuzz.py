"""Laws of what users write: every text is a value within its bounds or a ValueError that says why, and nothing else.

What the search has found stands as an example.
"""

from __future__ import annotations

import json
import tempfile
from math import inf, isfinite, nan
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jqcli import value as v
from jqcli.config import load_config
from jqcli.config.flow import read_deadline, read_tolerance, read_trip
from jqcli.config.handler import HandlerSpec, check_name, check_spec, find_handler
from jqcli.core.codec import value_at
from jqcli.engine.handler import load_handler
from jqcli.errors import HandlerLoadError, UsageError
from jqcli.policy import POLICY_PARSERS
from jqcli.quantity import parse_duration, parse_share, parse_size

NINES = "9" * 400
TEXTS = st.one_of(
    st.text(max_size=20),
    st.text("0123456789.eE+-_msdhKkMGiB% ,:$/", max_size=20),
    st.from_regex(r"([0-9]{1,3}(\.[0-9])?(ms|s|m|h|d|KB|MiB|G|%)?){1,4}", fullmatch=True),
    st.builds(str.__mul__, st.sampled_from("9.sm%[\x00\ud800"), st.integers(300, 5000)),
)
VALUES = st.one_of(
    TEXTS,
    st.integers(),
    st.sampled_from([0, -1, 2**63, 10**18, 10**400, -(10**400), True, None, -0.0, 1e308, inf, nan]),
    st.floats(),
    st.lists(TEXTS, max_size=3),
    st.dictionaries(TEXTS, TEXTS, max_size=2),
)


def read(parse, value):
    """Return the value, or None where it is refused with a reason."""
    try:
        return parse(value)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - either way is right
        return None


@given(VALUES.filter(lambda value: isinstance(value, (str, int, float))))
@example(NINES + "s")
@example(10**400)
@example("1" + "0" * 308 + "d")
def test_a_duration_is_finite_and_not_negative_or_refused(value):
    seconds = read(parse_duration, value)
    assert seconds is None or (isfinite(seconds) and seconds >= 0)


@given(VALUES.filter(lambda value: isinstance(value, (str, int))))
@example(NINES + "MB")
@example(NINES)
@example(NINES + ".5")
@example("9" * 5000)
@example(2**63)
@example("9007199254740993")
def test_a_size_is_what_a_file_can_have_or_refused(value):
    size = read(parse_size, value)
    assert size is None or (type(size) is int and 0 <= size < 2**63)
    if size is not None and (isinstance(value, int) or (value.strip().isascii() and value.strip().isdigit())):
        assert size == int(value)


@given(VALUES.filter(lambda value: isinstance(value, (str, int))))
@example(NINES)
@example("-0")
@example(10**400)
def test_a_share_is_a_whole_number_or_up_to_100_percent_or_refused(value):
    found = read(parse_share, value)
    if found is not None:
        number, is_percent = found
        assert isfinite(number)
        assert 0 <= number <= 100 if is_percent else number == int(number) >= 0


@pytest.mark.parametrize("name", sorted(POLICY_PARSERS))
@given(value=VALUES)
@example(value=10**30)
@example(value=NINES)
def test_a_policy_of_anything_is_a_value_that_can_travel_or_refused(name, value):
    found = read(POLICY_PARSERS[name], value)
    if found is not None:
        json.dumps(found, allow_nan=False)
        assert not isinstance(found, int) or found < 2**63


PARSERS = [
    *(v.text, v.flag, v.seconds, v.some_seconds, v.size, v.whole_or_auto, v.dotted_path, v.type_names),
    *(v.whole(0), v.whole(1, 10), v.choice("run", "off"), check_spec, lambda value: find_handler(value, REGISTERED)),
    *(read_tolerance, read_trip, read_deadline),
]
REGISTERED = {"resize": HandlerSpec("resize", "tasks.py:resize")}


@pytest.mark.parametrize("parse", PARSERS)
@given(value=VALUES)
@example(value=10**400)
@example(value="9" * 5000)
@example(value="\ud800")
@example(value="a" * 100_000)
def test_whatever_an_option_is_given_is_a_value_or_refused_with_a_reason(parse, value):
    read(parse, value)


@given(TEXTS, st.recursive(st.none() | TEXTS, lambda inner: st.dictionaries(TEXTS, inner, max_size=3)))
@example("", {"": {"": 1}})
def test_a_path_that_is_allowed_can_be_followed_into_any_payload(path, payload):
    if read(v.dotted_path, path) is not None:
        value_at(payload, path)


@given(TEXTS)
def test_a_name_that_is_allowed_can_stand_in_a_line_and_never_means_a_file_or_a_module(name):
    if read(check_name, name) is not None:
        assert not {":", "/", "\n", "\0"} & set(name)


@given(st.one_of(TEXTS, st.from_regex(r"[a-z./]{1,8}(\.py)?:no_[a-z.]{1,8}", fullmatch=True)))
@example("\x00.py:f")
@example("a.py:f.\ud800")
@example(".:x")
@example("..a:x")
@example("x/:f")
def test_a_handler_spec_is_loaded_or_says_why_not(spec):
    with pytest.raises(HandlerLoadError, match="handler"):
        load_handler(spec)


KEYS = ("max_attempts", "timeout", "max_line", "handler", "workers", "retry_on", "handlers", "profiles", "nothing")
TOML = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(str.encode),
    st.builds("{} = {}".format, st.sampled_from(KEYS), st.one_of(TEXTS.map(json.dumps), st.integers().map(str))).map(
        lambda text: text.encode("utf-8", "replace")
    ),
)


@given(TOML)
@example(b"timeout = " + b"9" * 400)
@example(b"timeout = " + b"9" * 5000)
@example(b"retry_on = " + b"[" * 5000 + b"]" * 5000)
@example(b"handlers = 3")
@example(b"[handlers.'']\nspec = 'a:b'")
@example(b"\xff")
def test_a_configuration_file_of_any_bytes_is_read_or_refused_by_name(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "jqcli.toml")
        path.write_bytes(data)
        try:
            load_config(str(path))
        except UsageError as error:
            assert str(path) in str(error)  # noqa: PT017 - as above
