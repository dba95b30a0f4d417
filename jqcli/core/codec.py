"""Line to job: parses one line, finds its id and key, and says what is wrong with it.

Law: distinct payloads never get one key. The key hashes the canonical text of the payload, and what orjson
would round (integers outside 64 bits) or cannot write (over 254 levels) takes the slow way through stdlib json,
whose texts start with a mark of their own.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from jqcli.core.exact import MAX_DEPTH, depth_of, load_exact
from jqcli.errors import shorten, suggest
from jqcli.model import NO_ASKS, Asks, Job, Line, Unusable
from jqcli.quantity import parse_duration

SCHEME_VERSION = "1"
KEY_SIZE = 16
UNUSABLE_MARK = b"!"
_SORTED = orjson.OPT_SORT_KEYS
_MEMBERS = (
    "payload",
    "id",
    "key",
    "handler",
    "tenant",
    "timeout",
    "max_attempts",
    "not_before",
    "expires",
    "cost",
    "meta",
)
_PLAIN_MEMBERS = frozenset(("payload", "id", "key"))  # that ask for nothing
_FIRST_MOMENT, _END_OF_MOMENTS = -62_135_596_800, 253_402_300_800  # Unix seconds of the years that RFC 3339 can write
RECORD_START = re.compile(rb'\{"id":("(?:[^"\\\n]|\\[^\n])*"|-?[0-9]+),"key":"[0-9a-f]{6}:')


class Scheme(NamedTuple):
    """How lines of this run become jobs."""

    input_format: str = "auto"
    key_path: str | None = None
    tenant_path: str | None = None
    handlers: tuple[str, ...] = ()


class InvalidJobError(ValueError):
    """An envelope that is JSON but no job."""


def make_tag(handler: str, key_path: str | None, input_format: str) -> str:
    """Return the 6 hex digits that tell whose keys these are.

    >>> make_tag("tasks.py:charge", None, "auto") != make_tag("tasks.py:refund", None, "auto")
    True
    """
    text = "\0".join((SCHEME_VERSION, handler, key_path or "", input_format))
    return blake2b(text.encode(), digest_size=3).hexdigest()


def hash_bytes(data: bytes) -> bytes:
    """Return the first 128 bits of BLAKE2b (asking it for 128 costs a sixth of a small job's key more).

    >>> hash_bytes(b"").hex()
    '786a02f742015903c6c6fd852552d272'
    """
    return blake2b(data).digest()[:KEY_SIZE]


def hash_unusable(data: bytes) -> bytes:
    """Return the key of a line that is no job; its mark keeps it apart from every payload's."""
    return hash_bytes(UNUSABLE_MARK + data)


def canonical(payload: Any) -> bytes:
    """Return the canonical text of a payload.

    >>> canonical({"b": 1, "a": 1.0})
    b'{"a":1.0,"b":1}'
    """
    try:
        return orjson.dumps(payload, None, _SORTED)
    except TypeError:  # an integer outside 64 bits, or over 254 levels
        return _canonical_slow(payload)


def key_of_text(text: str) -> bytes:
    """Return the 16-byte identity of a record's key without its tag: 32 hex digits, or `=` and a given key.

    Raises ValueError where it is neither.
    """
    if text[:1] in ("=", "@"):
        return hash_bytes(text.encode())
    if len(text) != 32:
        raise ValueError(f"{text!r} is no key")
    return bytes.fromhex(text)


def is_record(line: bytes) -> bool:
    """Tell whether a line begins as our records and letters do.

    >>> is_record(b'{"id":"a","key":"5f01ab:9f","status":"completed"}'), is_record(b'{"id":"a","key":"k"}')
    (True, False)
    """
    return RECORD_START.match(line) is not None


def read_line(line: Line, scheme: Scheme) -> Job | Unusable | None:
    """Parse one line with every care; None for a blank one."""
    data = line.data
    if not data or data.isspace():
        return None
    try:
        document = _parse(data)
    except (ValueError, RecursionError) as error:
        return Unusable("invalid_json", f"not JSON ({_explain(error)})", hash_unusable(data))
    try:
        return _make_job(document, line, scheme)
    except InvalidJobError as error:
        return Unusable("invalid_job", shorten(str(error)), hash_unusable(data))


def _parse(data: bytes) -> Any:
    document = load_exact(data)
    nested = data.count(b"[") + data.count(b"{")
    if nested > MAX_DEPTH and depth_of(data) > MAX_DEPTH:
        raise ValueError(f"deeper than {MAX_DEPTH} levels")
    return document


def _explain(error: BaseException) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return str(error)


def _make_job(document: Any, line: Line, scheme: Scheme) -> Job:
    is_envelope = isinstance(document, dict) and "payload" in document and scheme.input_format != "raw"
    if scheme.input_format == "envelope" and not is_envelope:
        raise InvalidJobError("not an envelope: an object with a `payload` member is asked for")
    envelope = document if is_envelope else {}
    for member in envelope:
        if member not in _MEMBERS:
            raise InvalidJobError(f"unknown member {member!r}{suggest(member, _MEMBERS)}")
    payload = envelope["payload"] if is_envelope else document
    own_id = _word(envelope, "id")
    job_id = line.made_id if own_id is None else own_id
    asks = NO_ASKS
    if scheme.tenant_path is not None or not envelope.keys() <= _PLAIN_MEMBERS:
        asks = _read_asks(envelope, payload, scheme)
    given = _given_key(envelope, payload, scheme)
    mark = "" if asks.handler is None else f"@{asks.handler}"
    text = canonical(payload)
    if given is None:
        key = hash_bytes(f"{mark}\0".encode() + text if mark else text)
        return Job(payload, job_id, own_id is not None, key, key.hex(), None, asks)
    key_text = f"{mark}={given}"
    return Job(payload, job_id, own_id is not None, hash_bytes(key_text.encode()), key_text, hash_bytes(text), asks)


def _word(envelope: dict[str, Any], member: str) -> str | int | None:
    value = envelope.get(member)
    if member in envelope and (not isinstance(value, (str, int)) or isinstance(value, bool)):
        raise InvalidJobError(f"`{member}` is a string or an integer, not {_kind(value)}")
    return value


def _given_key(envelope: dict[str, Any], payload: Any, scheme: Scheme) -> str | int | None:
    given = _word(envelope, "key")
    if given is not None or scheme.key_path is None:
        return given
    found = value_at(payload, scheme.key_path)
    if found is None or isinstance(found, bool) or not isinstance(found, (str, int)):
        raise InvalidJobError(f"no string or integer at --key {scheme.key_path}")
    return found


def _read_asks(envelope: dict[str, Any], payload: Any, scheme: Scheme) -> Asks:
    handler = envelope.get("handler")
    if "handler" in envelope and handler not in scheme.handlers:
        near = suggest(handler, scheme.handlers) if isinstance(handler, str) else ""
        raise InvalidJobError(f"no handler {handler!r} is registered{near}")
    tenant = _word(envelope, "tenant")
    if tenant is None and scheme.tenant_path is not None:
        found = value_at(payload, scheme.tenant_path)
        tenant = found if isinstance(found, (str, int)) and not isinstance(found, bool) else None
    return Asks(
        handler=handler,
        tenant=tenant,
        timeout=_duration(envelope, "timeout"),
        max_attempts=_count(envelope, "max_attempts"),
        not_before=_moment(envelope, "not_before"),
        expires=_moment(envelope, "expires"),
        cost=_number(envelope, "cost"),
        meta=envelope.get("meta"),
    )


def _duration(envelope: dict[str, Any], member: str) -> float | None:
    value = envelope.get(member)
    if value is None:
        return None
    try:
        seconds = parse_duration(value)
    except (ValueError, TypeError):
        seconds = 0.0
    if seconds <= 0:
        raise InvalidJobError(f'`{member}` is a duration over 0, such as 30 or "1m"')
    return seconds


def _count(envelope: dict[str, Any], member: str) -> int | None:
    value = envelope.get(member)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidJobError(f"`{member}` is a whole number of at least 1")
    return value


def _number(envelope: dict[str, Any], member: str) -> float | None:
    value = envelope.get(member)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise InvalidJobError(f"`{member}` is a number of at least 0")
    return _to_float(member, value)


def _moment(envelope: dict[str, Any], member: str) -> float | None:
    value = envelope.get(member)
    if value is None:
        return None
    seconds = _unix_seconds(value)
    if seconds is None:
        raise InvalidJobError(f"`{member}` is RFC 3339 with a zone, such as 2026-01-31T06:00:00Z, or Unix seconds")
    if not _FIRST_MOMENT <= seconds < _END_OF_MOMENTS:
        raise InvalidJobError(f"`{member}` is outside the years 1 to 9999; a number is seconds, not milliseconds")
    return float(seconds)


def _unix_seconds(value: Any) -> float | None:
    if isinstance(value, (int, float)):
        return None if isinstance(value, bool) else value
    try:
        moment = datetime.fromisoformat(value.upper())  # RFC 3339 allows `t` and `z`
        return None if moment.tzinfo is None else moment.timestamp()
    except (ValueError, AttributeError, OverflowError):
        return None


def _to_float(member: str, value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise InvalidJobError(f"`{member}` is larger than any double") from None


def value_at(payload: Any, path: str) -> Any:
    """Return what stands at a dotted path, or None.

    >>> value_at({"user": {"id": 7}}, "user.id")
    7
    """
    for part in path.split("."):
        if not isinstance(payload, dict):
            return None
        payload = payload.get(part)
    return payload


def _kind(value: object) -> str:
    return {dict: "an object", list: "an array", bool: "a boolean", float: "a fraction"}.get(type(value), "null")


def _canonical_slow(payload: Any) -> bytes:
    """Canonical text by an explicit stack, so that depth costs no recursion; starts with a mark of its own."""
    out: list[str] = ["~"]
    todo: list[tuple[bool, Any]] = [(False, payload)]
    while todo:
        is_text, item = todo.pop()
        if is_text:
            out.append(item)
        elif isinstance(item, dict):
            todo.append((True, "}"))
            for number, name in enumerate(sorted(item, reverse=True), 1):
                comma = "," if number < len(item) else ""
                todo += [(False, item[name]), (True, f"{comma}{json.dumps(name)}:")]
            out.append("{")
        elif isinstance(item, list):
            todo.append((True, "]"))
            for number, value in enumerate(reversed(item), 1):
                todo.append((False, value))
                if number < len(item):
                    todo.append((True, ","))
            out.append("[")
        elif isinstance(item, int) and not isinstance(item, bool):
            out.append(str(item))
        else:
            out.append(orjson.dumps(item).decode())
    return "".join(out).encode()
