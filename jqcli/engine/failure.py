"""An exception becomes a value that can travel: `Failure`, as JSON between worker and parent."""

from __future__ import annotations

from typing import Any

import orjson

from jqcli.engine.result import UnserializableError
from jqcli.errors import Reject, Retry, Snooze, printable
from jqcli.model import Failure
from jqcli.quantity import parse_wait

_RUNNER = __file__.replace("failure.py", "runner.py")  # whose frames say nothing about a handler
TEXT_LIMIT = 4096  # characters of a message and of a stacktrace that are kept
_VERDICTS: dict[type[BaseException], str] = {
    Retry: "retry",
    Snooze: "snooze",
    Reject: "reject",
    UnserializableError: "unserializable",
}


def describe_failure(error: BaseException, duration: float) -> Failure:
    """Return what there is to say about an exception; `duration` in seconds. Never raises."""
    try:
        return _describe(error, duration, _wish(error))
    except ValueError as wrong:  # asks for a wait that is none
        return _describe(wrong, duration, None)


def _describe(error: BaseException, duration: float, after: float | None) -> Failure:
    kind = type(error)
    return Failure(
        verdict=next((verdict for cls, verdict in _VERDICTS.items() if isinstance(error, cls)), "error"),
        type=dotted_name(kind),
        message=message_of(error),
        stacktrace=_stacktrace_of(error)[-TEXT_LIMIT:],
        names=tuple(dotted_name(cls) for cls in kind.__mro__),
        duration=duration,
        is_exception=isinstance(error, Exception),
        after=after,
    )


def pack_failure(failure: Failure) -> bytes:
    """Return a failure as JSON."""
    return orjson.dumps(failure._asdict())


def unpack_failure(data: bytes) -> Failure:
    """Return the failure that `pack_failure` packed."""
    members: dict[str, Any] = orjson.loads(data)
    return Failure(**{**members, "names": tuple(members["names"])})


def dotted_name(cls: type) -> str:
    """Return module and name of a class.

    >>> dotted_name(KeyError)
    'builtins.KeyError'
    """
    return printable(f"{cls.__module__}.{cls.__qualname__}")


def _wish(error: BaseException) -> float | None:
    """Return the seconds that a `Retry` or a `Snooze` asks for, None for none.

    Raises ValueError for what is no time: a subclass need not have asked its base.
    """
    after = getattr(error, "after", None) if isinstance(error, (Retry, Snooze)) else None
    if after is None:
        return None
    try:
        return parse_wait(after)
    except Exception as wrong:  # noqa: BLE001 - a handler may put anything there
        raise ValueError(message_of(wrong)) from error


def message_of(error: BaseException) -> str:
    """Return an exception's text, cut; never raises."""
    try:
        return printable(str(error))[:TEXT_LIMIT]
    except BaseException as inner:  # noqa: BLE001 - a broken __str__ is the handler's, not ours
        return f"(no message: its __str__ raised {type(inner).__name__})"


def _stacktrace_of(error: BaseException) -> str:
    if isinstance(error, (Retry, Reject, UnserializableError)) and error.__cause__ is None:
        return ""
    import traceback  # noqa: PLC0415 - costs 1 ms, and is for failures only

    try:
        inner = error.__traceback__
        while inner is not None and inner.tb_frame.f_code.co_filename == _RUNNER:
            inner = inner.tb_next
        return printable("".join(traceback.format_exception(type(error), error, inner, limit=-20)))
    except BaseException:  # noqa: BLE001 - as above
        return ""
