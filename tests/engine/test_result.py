"""Laws of results: exact JSON within its size, or an error that says why not."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import Enum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jqcli.engine.result import UnserializableError, dump_result

LIGHT = settings(max_examples=80, deadline=None, database=None)
MOST = 1 << 20
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@dataclass
class Point:
    x: float


class Broken(Enum):
    VALUE = math.nan


@LIGHT
@given(VALUES)
def test_a_result_is_json_of_the_very_value_on_one_line(value):
    text = dump_result(value, MOST)
    assert json.dumps(json.loads(text), sort_keys=True) == json.dumps(value, sort_keys=True)
    assert b"\n" not in text


def nest(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "result",
    [
        math.nan, math.inf, -math.inf, [1, {"a": (2.0, math.nan)}], {"a": None, "b": {"c": [math.inf]}},
        Point(math.nan), [Point(math.inf)],
        Broken.VALUE, [{"a": Broken.VALUE}], {math.nan: 1}, {1: math.nan}, [2**70, math.inf],
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_number_in_json_is_refused_wherever_it_stands(result):
    with pytest.raises(UnserializableError):
        dump_result(result, MOST)


@pytest.mark.parametrize(
    "result",
    [
        object(),
        b"x",
        {1, 2},
        iter([]),
        lambda: 1,
        "\ud800",
        {"\udfff": 1},
        [2**70, "\ud800"],
        {(1, 2): 3},
        10**5000,
        nest(1100),
        nest(100_000),
    ],
    ids=lambda result: type(result).__name__,
)
def test_what_is_no_json_is_refused_with_a_reason(result):
    with pytest.raises(UnserializableError, match=r"\S"):
        dump_result(result, MOST)


def test_a_circle_is_refused():
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(UnserializableError):
        dump_result(circle, MOST)
    circle.append(2**70)
    with pytest.raises(UnserializableError):
        dump_result(circle, MOST)


@pytest.mark.parametrize(
    "result, text",
    [
        (2**70, b"1180591620717411303424"), (10**400, b"1" + b"0" * 400),
        (-(2**63) - 1, b"-9223372036854775809"), ({1: "a"}, b'{"1":"a"}'),
        ({"n": 2**70}, b'{"n":1180591620717411303424}'),
        ("null", b'"null"'), (None, b"null"), ([None, "NaN"], b'[null,"NaN"]'), (1.0, b"1.0"),
        (-0.0, b"-0.0"), ((1, 2), b"[1,2]"),
        (Point(1.5), b'{"x":1.5}'), ([2**70, "\u00e9\n"], '[1180591620717411303424,"\u00e9\\n"]'.encode()),
        (nest(300), b"[" * 300 + b"1" + b"]" * 300),
    ],
)  # fmt: skip
def test_what_json_allows_is_written_exactly(result, text):
    assert dump_result(result, MOST) == text


@pytest.mark.parametrize("result", ["x" * 98, "\u00e9" * 49, [2**70] * 4, {1: "x" * 92}])
def test_the_limit_counts_the_bytes_of_the_text(result):
    size = len(json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode())
    assert len(dump_result(result, size)) == size
    with pytest.raises(UnserializableError, match=f"{size} bytes; --max-result is {size - 1}"):
        dump_result(result, size - 1)
