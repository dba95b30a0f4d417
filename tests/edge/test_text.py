"""Laws of text that reaches a terminal."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from jqcli.core.tally import ErrorGroup, FlowState, Parked
from jqcli.edge.text import describe_error, describe_flow, safe

INVISIBLE = "\u034f\u115f\u3164\ufe0f\uffa0\U000e0100"


def test_no_character_of_unicode_gets_through_unless_it_prints():
    for start in range(0, sys.maxunicode + 1, 4096):
        chars = "".join(map(chr, range(start, start + 4096)))
        assert safe(chars, most=10**6).isprintable()


def test_no_control_format_or_surrogate_character_gets_through():
    for code in range(0x3000):
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            assert safe(chr(code)).isascii()


@pytest.mark.parametrize("char", INVISIBLE)
def test_a_character_that_draws_nothing_is_made_visible(char):
    assert safe(char).startswith("\\")


@pytest.mark.parametrize("text", ["grün", "漢字", "naïve café", "Ωμέγα", "😀", "a b", "[/] [link=x]"])
def test_printable_text_of_any_script_stays(text):
    assert safe(text) == text


def test_a_line_break_cannot_start_a_line():
    assert safe("a\nb\r\nc\td\u2028e") == "a\\nb\\r\\nc\\td\\u2028e"


def test_terminal_commands_become_text():
    assert safe("\x1b]52;c;aGk=\x07\x9b2J\ud800") == "\\x1b]52;c;aGk=\\x07\\x9b2J\\ud800"


@pytest.mark.parametrize("most", [1, 2, 10, 200])
def test_the_result_is_never_longer_than_asked_for(most):
    assert len(safe("\x00" * 1_000_000, most)) == most
    assert safe("x" * (most + 1), most).endswith("…")
    assert safe("x" * most, most) == "x" * most


def test_an_error_is_named_by_its_bare_type_and_message():
    group = ErrorGroup("f", "max_attempts", "builtins.KeyError", "no\x1b[2J", 1, "a")
    assert describe_error(group) == "KeyError: no\\x1b[2J"
    group.message = ""
    assert describe_error(group) == "KeyError"


def test_what_holds_jobs_up_is_said_and_what_does_not_is_left_out():
    assert describe_flow(FlowState(budget=0)) == []
    much = FlowState(
        throttled=1200, parked=3, delayed=4, aside=1000, open=1, trips=2, probes=5, pauses=6, level=7,
        budget=20, deadline=90.0, not_admitted=None,
    )  # fmt: skip
    assert describe_flow(much) == [
        "1 breaker open",
        "3 parked",
        "1,200 wait for a rate",
        "4 retries wait for the budget",
        "1,000 set aside",
        "deadline in 1m30s",
        "7 at once",
        "budget for 20 retries",
        "opened 2x",
        "5 probes",
        "told to slow down 6x",
    ]


def test_at_the_end_it_is_said_what_the_deadline_kept_from_starting_and_not_when_it_was():
    late = FlowState(deadline=0.5, not_admitted=1400, budget=3)
    assert describe_flow(late, is_over=True) == ["1,400 kept from starting by the deadline"]


def test_breakers_are_named_where_there_are_several_and_harmlessly():
    keys = (Parked("acme\x1b[2J", 5, 12.0), Parked("b", 2, 0.0), Parked("c", 1, 1.0))
    assert describe_flow(FlowState(open=3, keys=keys))[0] == r"3 breakers open (acme\x1b[2J for 12.0 s, b probed, …)"
    assert describe_flow(FlowState(open=1, keys=(Parked(None, 5, 12.0),))) == ["1 breaker open"]
