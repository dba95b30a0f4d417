"""Laws of failures: whatever is raised becomes a value that can travel."""

from __future__ import annotations

import json
import math
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jqcli import Reject, Retry, Snooze
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
        OwnRetry(), Retry(after=HostileNumber()), Retry(after=timedelta(seconds=3)), KeyboardInterrupt(),
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


@pytest.mark.parametrize(
    "after, expected",
    [
        (None, None), (5, 5.0), ("500ms", 0.5), (0, 0.0), (-1, 0.0), (1e9, 3600.0), (math.inf, 3600.0),
        (-math.inf, 0.0),
        (math.nan, None), ("soon", None), ([], None), ("2d", 3600.0), (10**400, None), ("nan", None),
    ],
)  # fmt: skip
def test_a_retry_asks_for_seconds_within_an_hour_or_for_the_usual_backoff(after, expected):
    assert describe_failure(raised(Retry("m", after=after)), 0.1).after == expected


@pytest.mark.parametrize(
    "after,expected", [("2d", 172800.0), (1e9, 1e9), (-3, 0.0), ("soon", None), (math.inf, None), (math.nan, None)]
)
def test_a_snooze_asks_for_any_time_that_has_an_end(after, expected):
    assert describe_failure(raised(Snooze(after)), 0.1).after == expected


def test_an_error_of_the_handlers_comes_with_its_stacktrace_and_a_plain_word_without():
    assert "KeyError" in describe_failure(raised(KeyError("x")), 0.1).stacktrace
    assert describe_failure(raised(Reject("x")), 0.1).stacktrace == ""
