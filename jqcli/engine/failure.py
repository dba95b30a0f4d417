"""An exception becomes a value that can travel: `Failure`, as JSON between worker and parent."""

from __future__ import annotations

from typing import Any

import orjson

from jqcli.engine.result import UnserializableError
from jqcli.errors import Reject, Retry, Snooze
from jqcli.model import Failure
from jqcli.quantity import parse_duration

TEXT_LIMIT = 4096  # characters of a message and of a stacktrace that are kept
_MAX_AFTER = 3600.0
_VERDICTS: dict[type[BaseException], str] = {
    Retry: "retry",
    Snooze: "snooze",
    Reject: "reject",
    UnserializableError: "unserializable",
}


def describe_failure(error: BaseException, duration: float) -> Failure:
    """Return what there is to say about an exception; `duration` in seconds. Never raises."""
    kind = type(error)
    return Failure(
        verdict=next((verdict for cls, verdict in _VERDICTS.items() if isinstance(error, cls)), "error"),
        type=dotted_name(kind),
        message=_message_of(error)[:TEXT_LIMIT],
        stacktrace=_stacktrace_of(error)[-TEXT_LIMIT:],
        names=tuple(dotted_name(cls) for cls in kind.__mro__),
        duration=duration,
        is_exception=isinstance(error, Exception),
        after=_clamp(error.after) if isinstance(error, (Retry, Snooze)) and error.after is not None else None,
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
    return _printable(f"{cls.__module__}.{cls.__qualname__}")


def _clamp(after: float | str) -> float | None:
    """Return seconds within [0, 1 h]; None, which means the usual backoff, for what is no duration."""
    try:
        if not isinstance(after, str):
            return min(max(float(after), 0.0), _MAX_AFTER) if after == after else None  # noqa: PLR0124 - NaN
        return min(parse_duration(after), _MAX_AFTER)
    except (TypeError, ValueError, OverflowError):
        return None


def _message_of(error: BaseException) -> str:
    try:
        return _printable(str(error))
    except BaseException as inner:  # noqa: BLE001 - a broken __str__ is the handler's, not ours
        return f"(no message: its __str__ raised {type(inner).__name__})"


def _stacktrace_of(error: BaseException) -> str:
    if isinstance(error, (Retry, Reject, UnserializableError)) and error.__cause__ is None:
        return ""
    import traceback  # noqa: PLC0415 - costs 1 ms, and is for failures only

    try:
        inner = error.__traceback__.tb_next if error.__traceback__ else None
        return _printable("".join(traceback.format_exception(type(error), error, inner, limit=-20)))
    except BaseException:  # noqa: BLE001 - as above
        return ""


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
