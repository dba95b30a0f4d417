"""An exception becomes a value that can travel: `Failure`, as JSON between worker and parent."""

from __future__ import annotations

from math import isfinite, isnan
from typing import Any

import orjson

from jqcli.engine.result import UnserializableError
from jqcli.errors import TEXT_LIMIT, Reject, Retry, Snooze, printable, shorten
from jqcli.model import Failure
from jqcli.quantity import parse_duration

_RUNNER = __file__.replace("failure.py", "runner.py")  # whose frames say nothing about a handler
_MAX_AFTER = 3600.0  # seconds that a `Retry` may ask for
_PIECE_LIMIT = 1024  # bytes of a frame, or of a message, within a stacktrace
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
        message=message_of(error),
        stacktrace=_stacktrace_of(error),
        names=tuple(dotted_name(cls) for cls in kind.__mro__),
        duration=duration,
        is_exception=isinstance(error, Exception),
        after=_wish(error),
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
    """Return the seconds that a `Retry` (up to 1 h) or a `Snooze` asks for; None for none, and for what is none."""
    after = getattr(error, "after", None) if isinstance(error, (Retry, Snooze)) else None
    if after is None:
        return None
    try:
        seconds = parse_duration(after) if isinstance(after, str) else float(after)
    except Exception:  # noqa: BLE001 - a handler may hand over anything
        return None
    if isinstance(error, Retry) and not isnan(seconds):
        return min(max(seconds, 0.0), _MAX_AFTER)
    return max(seconds, 0.0) if isfinite(seconds) else None


def message_of(error: BaseException) -> str:
    """Return an exception's text, cut; never raises."""
    try:
        return shorten(str(error))
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
        pieces = traceback.format_exception(type(error), error, inner, limit=-20)
        return _cut_middle("".join(shorten(piece.rstrip("\n"), _PIECE_LIMIT) + "\n" for piece in pieces))
    except BaseException:  # noqa: BLE001 - as above
        return ""


def _cut_middle(text: str) -> str:
    """Return a stacktrace in its limit: a quarter of it from where it begins, and the rest from where it ends."""
    data = text.encode()
    if len(data) <= TEXT_LIMIT:
        return text
    mark = f"\n… ({len(data) - TEXT_LIMIT:,} bytes and more left out)\n".encode()
    kept = TEXT_LIMIT - len(mark)
    return (data[: kept // 4] + mark + data[-(kept - kept // 4) :]).decode(errors="ignore")
