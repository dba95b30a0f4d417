"""Laws of `--set`: what it takes is JSON as a line's is, and what it makes is a line."""

from __future__ import annotations

import json

import pytest

from jqcli.core.amend import change_line, parse_change


@pytest.mark.parametrize("value", ["NaN", "-Infinity", '"\\ud800"', "[" * 50_000, "1 2", "", "\udcff"])
def test_what_would_be_no_json_in_a_line_is_none_here(value):
    with pytest.raises(ValueError, match="is no JSON"):
        parse_change(f"n={value}")


def test_integers_keep_all_of_their_digits():
    number = 10**400 + 1
    assert change_line(b"{}", (parse_change(f"n={number}"),), is_raw=False) == b'{"n":%d}' % number


def test_what_becomes_too_deep_to_be_written_is_the_users_mistake():
    line, deep = b"[" * 400 + b"]" * 400, "[" * 900 + "]" * 900
    with pytest.raises(ValueError, match="nested too deeply"):
        change_line(b'{"payload":{"a":%b}}' % line, (parse_change(f"{'x.' * 200}n={deep}"),), is_raw=False)


def test_a_text_of_any_script_stays_as_it_is():
    change = parse_change('n="漢字 \\u00e9"')
    assert json.loads(change_line(b"{}", (change,), is_raw=False)) == {"n": "漢字 é"}
