"""Laws of failures: whatever is raised becomes a value that can travel."""

from __future__ import annotations

import json
import math
import time
import traceback
from datetime import datetime, timedelta
from decimal import Decimal
from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jqcli import RateLimited, Reject, Retry, Snooze
from jqcli.engine import failure as module
from jqcli.engine.failure import describe_failure, dotted_name, pack_failure, unpack_failure
from jqcli.engine.result import UnserializableError
from jqcli.errors import TEXT_LIMIT, printable

LIGHT = settings(max_examples=60, deadline=None, database=None)


class UnprintableError(Exception):
    def __str__(self):
        raise KeyboardInterrupt


class NotTextError(Exception):
    def __str__(self):
        return 3  # noqa: PLE0307 - what a handler's author may get wrong


class OwnRetry(Retry):
    """A handler's own word, which forgets to tell its base."""

    def __init__(self):
        pass


class HostileNumber:
    def __float__(self):
        raise RuntimeError("no")

    def __repr__(self):
        return "HostileNumber()"  # the name of a test, which is to be the same in every process that runs some


class Unspeakable:
    def __repr__(self):
        raise RuntimeError("no")


def throw(error):
    raise error


def raised(error):
    try:
        throw(error)
    except BaseException as caught:  # noqa: BLE001 - to have its traceback
        return caught


@pytest.mark.parametrize(
    "error, verdict",
    [
        (KeyError("x"), "error"), (Retry("x"), "retry"), (Snooze(3), "snooze"), (Reject("x"), "reject"),
        (UnserializableError("x"), "unserializable"), (SystemExit(0), "error"), (OwnRetry(), "retry"),
    ],
    ids=repr,
)  # fmt: skip
def test_the_verdict_is_what_the_handler_asked_for(error, verdict):
    assert describe_failure(raised(error), 0.5).verdict == verdict


@pytest.mark.parametrize(
    "error",
    [
        UnprintableError(), NotTextError(), ValueError("\ud800"), ValueError("x" * 10**6),
        ExceptionGroup("many", [ValueError("a")]),
        OwnRetry(), KeyboardInterrupt(),
        GeneratorExit(), OSError(28, "full"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_whatever_is_raised_can_be_described_and_travels_unchanged(error):
    failure = describe_failure(raised(error), 0.5)
    assert unpack_failure(pack_failure(failure)) == failure
    json.loads(pack_failure(failure))
    assert len(failure.message.encode()) <= TEXT_LIMIT
    assert len(failure.stacktrace.encode()) <= TEXT_LIMIT
    assert failure.duration == 0.5
    assert failure.is_exception == isinstance(error, Exception)


@LIGHT
@given(st.text(st.characters(), max_size=50) | st.just("\udfff\x00\n"))
def test_any_message_survives(message):
    failure = describe_failure(raised(ValueError(message)), 0.1)
    assert unpack_failure(pack_failure(failure)) == failure
    assert failure.message == message.encode("utf-8", "backslashreplace").decode()


@pytest.mark.parametrize("text", ["x", "\u20ac", "\ud800", "\x1b"])
@pytest.mark.parametrize("cause", [None, KeyError("k" * 10**5)])
def test_an_error_of_a_megabyte_keeps_its_beginning_its_frames_and_a_mark(text, cause):
    """Fault 41: 4 KiB of UTF-8 each; the frame that raised is worth more than the megabyte."""
    error = raised(ValueError(text * 10**6))
    error.__cause__ = cause
    failure = describe_failure(error, 0.1)
    for said in (failure.message, failure.stacktrace):
        assert len(said.encode()) <= TEXT_LIMIT
        assert "… (1,000,0" in said
    assert len(failure.message.encode()) > TEXT_LIMIT - 8
    assert failure.message.startswith(printable(text) * 3)
    assert failure.stacktrace.rstrip().endswith("characters)")
    assert "in throw" in failure.stacktrace
    assert ("KeyError" in failure.stacktrace) == (cause is not None)


def test_a_long_stacktrace_keeps_where_it_begins_and_where_it_ends():
    error = raised(KeyError("first"))
    for number in range(9):
        above = raised(KeyError(f"{number}" * 900))
        above.__cause__, error = error, above
    stacktrace = describe_failure(error, 0.1).stacktrace
    assert TEXT_LIMIT - 8 < len(stacktrace.encode()) <= TEXT_LIMIT
    assert stacktrace.startswith("Traceback (most recent call last):\n")
    assert "KeyError: 'first'" in stacktrace
    assert "left out)" in stacktrace
    assert stacktrace.endswith("888'\n")


def test_names_are_those_of_the_whole_mro():
    class MineError(ConnectionResetError):
        pass

    failure = describe_failure(raised(MineError()), 0.1)
    assert failure.names == tuple(dotted_name(cls) for cls in MineError.__mro__)
    assert "builtins.ConnectionError" in failure.names
    assert failure.type == failure.names[0]


@pytest.mark.parametrize("word", [lambda after: Retry("m", after=after), Snooze], ids=["retry", "snooze"])
@pytest.mark.parametrize(
    "after, expected",
    [
        (5, 5.0), ("500ms", 0.5), (0, 0.0), (-1, 0.0), (1e9, 3600.0), (math.inf, 3600.0), (-math.inf, 0.0),
        ("2d", 3600.0), (10**400, 3600.0), (Decimal("0.5"), 0.5),
    ],
)  # fmt: skip
def test_a_number_or_a_duration_is_a_wait_of_at_most_an_hour(word, after, expected):
    assert describe_failure(raised(word(after)), 0.1).after == expected


@pytest.mark.parametrize(
    "after, expected",
    [(None, None), (5, 5.0), ("120", 120.0), ("2d", 3600.0), (-1, 0.0), ("soon", None), ([], None), (math.nan, None)],
)
def test_a_server_that_says_nothing_sensible_of_when_is_no_error_of_the_job(after, expected):
    failure = describe_failure(raised(RateLimited("m", retry_after=after)), 0.1)
    assert (failure.verdict, failure.after, failure.stacktrace) == ("limited", expected, "")


def test_a_date_of_a_header_is_time_from_now_and_a_past_one_none():
    """FAULTS 38."""

    def ask(seconds):
        date = formatdate(time.time() + seconds, usegmt=True)
        return describe_failure(raised(RateLimited(retry_after=date)), 0.1).after

    assert 110 < ask(120) <= 121
    assert ask(-120) == 0.0
    assert ask(1e9) == 3600.0


def test_a_retry_without_a_time_asks_for_the_usual_backoff():
    assert describe_failure(raised(Retry("m")), 0.1).after is None


GARBAGE = [
    math.nan, "soon", "", "-5", "nan", [], True, {"a": 1}, 1j, timedelta(seconds=3), datetime(2026, 1, 1),  # noqa: DTZ001
    Decimal("nan"), HostileNumber(), Unspeakable(),
]  # fmt: skip


@pytest.mark.parametrize("after", GARBAGE[:-1], ids=repr)
@pytest.mark.parametrize("word", [lambda after: Retry("m", after=after), Snooze], ids=["retry", "snooze"])
def test_what_is_no_time_is_an_error_where_the_handler_says_it(word, after):
    with pytest.raises(ValueError, match=r"is no time to wait|is not a duration"):
        word(after)


@pytest.mark.parametrize("after", GARBAGE, ids=lambda after: type(after).__name__)
def test_what_is_no_time_is_an_error_of_the_attempt_also_where_a_handler_puts_it_behind(after):
    error = Retry("m")
    error.after = after
    failure = describe_failure(raised(error), 0.1)
    assert (failure.verdict, failure.type, failure.after) == ("error", "builtins.ValueError", None)
    assert unpack_failure(pack_failure(failure)) == failure


def test_an_error_of_the_handlers_comes_with_its_stacktrace_and_a_plain_word_without():
    assert "KeyError" in describe_failure(raised(KeyError("x")), 0.1).stacktrace
    assert describe_failure(raised(Reject("x")), 0.1).stacktrace == ""


def deep(levels):
    if levels:
        return deep(levels - 1)
    raise KeyError("down here")


def chained():
    try:
        deep(2)
    except KeyError as error:
        raise ValueError("because") from error


def hidden():
    try:
        deep(2)
    except KeyError:
        raise ValueError("alone") from None


def in_passing():
    try:
        deep(2)
    except KeyError:
        raise ValueError("meanwhile")  # noqa: B904 - the context is what this is about


def noted():
    error = ValueError("m")
    error.add_note("a note")
    raise error


def misspelt():
    lenght = 1  # noqa: F841
    return lenth  # noqa: F821


def grouped():
    raise ExceptionGroup("many", [ValueError("a"), KeyError("b")])


@pytest.mark.parametrize(
    "fail",
    [
        lambda: deep(0), lambda: deep(3), lambda: deep(40), lambda: deep(5000), chained, hidden, in_passing, noted,
        misspelt, grouped, lambda: throw(OSError(2, "no such file", "x")), lambda: compile("f(:", "file", "exec"),
        lambda: {}.lenght,
    ],
)  # fmt: skip
def test_a_stacktrace_is_what_python_would_print_also_where_it_is_known_from_before(fail):
    seen = []
    for _ in range(2):
        try:
            fail()
        except BaseException as error:  # noqa: BLE001 - to have its traceback
            expected = "".join(traceback.format_exception(error, limit=-20))
            seen.append((describe_failure(error, 0.1).stacktrace, expected))
    for found, expected in seen:
        if len(expected.encode()) <= TEXT_LIMIT:
            assert found == expected
        else:
            assert (found[:500], found[-2000:]) == (expected[:500], expected[-2000:])


def test_equal_code_of_two_files_has_its_own_frames(tmp_path):
    for name in ("one", "other"):
        (tmp_path / f"{name}.py").write_text("def f():\n    raise KeyError(1)\n")
        space = {}
        exec(compile((tmp_path / f"{name}.py").read_text(), str(tmp_path / f"{name}.py"), "exec"), space)
        with pytest.raises(KeyError) as caught:
            space["f"]()
        assert f"{name}.py" in describe_failure(caught.value, 0.1).stacktrace


def test_what_is_remembered_of_places_and_classes_has_a_bound():
    for number in range(1100):
        space = {}
        exec(compile("\n" * number + "def f(): raise type('E', (Exception,), {})", "file", "exec"), space)
        with pytest.raises(Exception) as caught:  # noqa: PT011 - it is none of ours
            space["f"]()
        describe_failure(caught.value, 0.1)
    assert len(module._known_frames) <= 1000
    assert len(module._known_names) <= 1000
