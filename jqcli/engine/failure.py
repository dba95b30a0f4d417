"""An exception becomes a value that can travel: `Failure`, as JSON between worker and parent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson

from jqcli.engine.result import UnserializableError
from jqcli.errors import TEXT_LIMIT, RateLimited, Reject, Retry, Snooze, printable, shorten
from jqcli.model import Failure
from jqcli.quantity import parse_wait

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType, TracebackType

_RUNNER = __file__.replace("failure.py", "runner.py")  # whose frames say nothing about a handler
_NAMES_AT = Failure._fields.index("names")
_MOST_FRAMES = -20  # the last ones
_MOST_KNOWN = 1000
# By identity, each beside what must live for as long as that holds.
_known_frames: dict[tuple[tuple[int, int], ...], tuple[str, list[CodeType]]] = {}
_known_names: dict[int, tuple[tuple[str, ...], type]] = {}
_PIECE_LIMIT = 1024  # bytes of a frame, or of a message, within a stacktrace
_VERDICTS: dict[type[BaseException], str] = {
    Retry: "retry",
    Snooze: "snooze",
    RateLimited: "limited",
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
        stacktrace=_stacktrace_of(error),
        names=_names_of(kind),
        duration=duration,
        is_exception=isinstance(error, Exception),
        after=after,
    )


def pack_failure(failure: Failure) -> bytes:
    """Return a failure as JSON."""
    return orjson.dumps(tuple(failure))


def unpack_failure(data: bytes) -> Failure:
    """Return the failure that `pack_failure` packed."""
    members: list[Any] = orjson.loads(data)
    members[_NAMES_AT] = tuple(members[_NAMES_AT])
    return Failure(*members)


def dotted_name(cls: type) -> str:
    """Return module and name of a class.

    >>> dotted_name(KeyError)
    'builtins.KeyError'
    """
    return printable(f"{getattr(cls, '__module__', '?')}.{cls.__qualname__}")


def _wish(error: BaseException) -> float | None:
    """Return the seconds that a `Retry`, a `Snooze` or a `RateLimited` asks for, None for none.

    Raises ValueError for what is no time: a subclass need not have asked its base.
    """
    if isinstance(error, RateLimited):
        return _read_header(error)
    after = getattr(error, "after", None) if isinstance(error, (Retry, Snooze)) else None
    if after is None:
        return None
    try:
        return parse_wait(after)
    except Exception as wrong:  # noqa: BLE001 - a handler may put anything there
        raise ValueError(message_of(wrong)) from error


def _read_header(error: RateLimited) -> float | None:
    """Return what a server said in `Retry-After`: seconds, or a date; None for what is neither, which is its fault."""
    after: Any = getattr(error, "after", None)
    for read in (parse_wait, _seconds_until):
        try:
            return read(after)
        except Exception:  # noqa: BLE001, S112 - a handler may hand over anything
            continue
    return None


def _seconds_until(date: str) -> float:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - costs 10 ms, and is for failures only

    return parse_wait(parsedate_to_datetime(date).timestamp() - time.time())


def message_of(error: BaseException) -> str:
    """Return an exception's text, cut; never raises."""
    try:
        return shorten(str(error))
    except BaseException as inner:  # noqa: BLE001 - a broken __str__ is the handler's, not ours
        return f"(no message: its __str__ raised {type(inner).__name__})"


def _stacktrace_of(error: BaseException) -> str:
    if isinstance(error, (Retry, RateLimited, Reject, UnserializableError)) and error.__cause__ is None:
        return ""
    import traceback  # noqa: PLC0415 - costs 1 ms, and is for failures only

    try:
        inner = error.__traceback__
        while inner is not None and inner.tb_frame.f_code.co_filename == _RUNNER:
            inner = inner.tb_next
        is_alone = error.__cause__ is None and (error.__context__ is None or error.__suppress_context__)
        if not is_alone or isinstance(error, (NameError, BaseExceptionGroup)):  # a name is guessed from its frame
            pieces = traceback.format_exception(type(error), error, inner, limit=_MOST_FRAMES)
            return _cut_middle(_join_pieces(pieces))
        head = "" if inner is None else "Traceback (most recent call last):\n" + _frames_of(inner)
        return _cut_middle(head + _join_pieces(traceback.format_exception_only(error)))
    except BaseException:  # noqa: BLE001 - as above
        return ""


def _join_pieces(pieces: Iterable[str]) -> str:
    bodies = [(piece.rstrip("\n"), piece) for piece in pieces]
    return "".join(shorten(body, _PIECE_LIMIT) + piece[len(body) :] for body, piece in bodies)


def _frames_of(inner: TracebackType) -> str:
    """Return the frames as text. Jobs fail at the same few places, and 30 µs is what each of their texts costs."""
    import traceback  # noqa: PLC0415 - as above

    codes, places = [], []
    at: TracebackType | None = inner
    while at is not None:
        codes.append(at.tb_frame.f_code)
        places.append((id(at.tb_frame.f_code), at.tb_lasti))  # equal code may stand in two files
        at = at.tb_next
    key = tuple(places[_MOST_FRAMES:])
    if key not in _known_frames:
        if len(_known_frames) >= _MOST_KNOWN:
            _known_frames.clear()
        text = _join_pieces(traceback.format_tb(inner, limit=_MOST_FRAMES))
        _known_frames[key] = (text, codes[_MOST_FRAMES:])
    return _known_frames[key][0]


def _names_of(kind: type) -> tuple[str, ...]:
    """Return the names of a class and of its bases."""
    if id(kind) not in _known_names:  # and not the class: its own class may refuse to hash it
        if len(_known_names) >= _MOST_KNOWN:
            _known_names.clear()
        _known_names[id(kind)] = (tuple(dotted_name(cls) for cls in kind.__mro__), kind)
    return _known_names[id(kind)][0]


def _cut_middle(text: str) -> str:
    """Return a stacktrace in its limit: a quarter of it from where it begins, and the rest from where it ends."""
    data = text.encode()
    if len(data) <= TEXT_LIMIT:
        return text
    mark = f"\n… ({len(data) - TEXT_LIMIT:,} bytes and more left out)\n".encode()
    kept = TEXT_LIMIT - len(mark)
    return (data[: kept // 4] + mark + data[-(kept - kept // 4) :]).decode(errors="ignore")
