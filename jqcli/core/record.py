"""The records that the parent writes itself: duplicates and dead letters. And how records are read again.

A completed or skipped record is built in the worker; see `engine/runner.py`.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import orjson

from jqcli.core.prepare import id_text
from jqcli.model import First

if TYPE_CHECKING:
    from jqcli.core.effect import Bury
    from jqcli.model import Failure, Job, Line

_RESULT = b'","status":"completed","result":'
_ATTEMPTS = b',"attempts":'
_NL = orjson.OPT_APPEND_NEWLINE


class LetterHead(NamedTuple):
    """What all letters of a run have in common; the paths are those of `--key` and `--tenant`."""

    tag: str
    handlers: dict[str | None, str]
    cwd: str
    output: str | None
    input_format: str
    run: str
    key_path: str | None = None
    tenant_path: str | None = None


class OversizedLine(Protocol):
    """A line over `--max-line`, as the source reports it."""

    @property
    def line(self) -> int:
        """Its number."""

    @property
    def offset(self) -> int:
        """The offset of its first byte."""

    @property
    def size(self) -> int:
        """Its bytes."""

    @property
    def head(self) -> bytes:
        """Its first 4 KiB."""

    @property
    def digest(self) -> bytes:
        """The hash of all of it."""


def timestamp(at: float) -> str:
    """Return a moment (Unix seconds) as RFC 3339 in UTC.

    >>> timestamp(0.25)
    '1970-01-01T00:00:00.250Z'
    """
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duplicate_record(tag: str, job: Job, first: First) -> bytes:
    """Return the record of a job whose identity completed, or was skipped, before."""
    record: dict[str, Any] = {"id": _raw(id_text(job.id)), "key": f"{tag}:{job.key_text}"}
    if job.payload_hash is not None:
        record["payload_hash"] = job.payload_hash.hex()
    record |= {"status": "duplicate", "duplicate_of": _raw(id_text(first.id)) if first.id is not None else None}
    if first.result is not None:
        record["result"] = _raw(first.result)
    return orjson.dumps(record, None, _NL)


def history_entry(attempt: int, at: float, failure: Failure) -> dict[str, object]:
    """Return what a letter remembers of one failed attempt that began at `at` (Unix seconds)."""
    return {
        "attempt": attempt,
        "at": timestamp(at),
        "duration": round(failure.duration, 6),
        "type": failure.type,
        "message": failure.message,
    }


def error_of(failure: Failure) -> dict[str, object]:
    """Return a letter's `error`."""
    error: dict[str, object] = {"type": failure.type, "message": failure.message}
    if failure.stacktrace:
        error["stacktrace"] = failure.stacktrace
    return error


def conflict_error(job: Job, owner: str | int | None) -> dict[str, object]:
    """Return the error of a job whose given key belongs to another payload."""
    given = job.key_text.partition("=")[2]
    return {"type": "jqcli.key_conflict", "message": f"key {given!r} belongs to job {owner!r}"}


def letter(head: LetterHead, bury: Bury, dead_at: float) -> bytes:
    """Return a dead letter; `dead_at` in Unix seconds."""
    job, line, first = bury.job, bury.line, bury.first
    record: dict[str, Any] = {
        "id": _raw(id_text(job.id)) if job is not None else line.made_id,
        "key": f"{head.tag}:{bury.key_text}",
    }
    if job is not None and job.payload_hash is not None:
        record["payload_hash"] = job.payload_hash.hex()
    record["reason"] = bury.reason
    if first is not None:
        name = "conflicts_with" if bury.reason == "key_conflict" else "duplicate_of"
        record[name] = _raw(id_text(first.id)) if first.id is not None else None
    record |= {"error": bury.error, "attempts": bury.attempts, "history": bury.history}
    record |= _body(line, is_json=job is not None or bury.reason == "invalid_job")
    tenant = job.asks.tenant if job is not None else None
    return orjson.dumps(record | _origin(head, line.where, job, tenant, dead_at), None, _NL)


def oversized_letter(
    head: LetterHead, source: str, made_id: str, part: OversizedLine, message: str, dead_at: float
) -> bytes:
    """Return the letter of a line that was too long to be read: its first bytes, its size and its place."""
    record: dict[str, Any] = {
        "id": made_id,
        "key": f"{head.tag}:{part.digest.hex()}",
        "reason": "line_too_long",
        "error": {"type": "jqcli.line_too_long", "message": message},
        "attempts": 0,
        "history": [],
        **_text_of(part.head),
        "size": part.size,
        "offset": part.offset,
    }
    return orjson.dumps(record | _origin(head, f"{source}:{part.line}", None, None, dead_at), None, _NL)


def _origin(
    head: LetterHead, where: str, job: Job | None, tenant: str | int | None, dead_at: float
) -> dict[str, object]:
    paths = {"key_path": head.key_path, "tenant_path": head.tenant_path}
    return {
        "source": where,
        "handler": head.handlers.get(job.asks.handler if job is not None else None),
        "cwd": head.cwd,
        "output": head.output,
        "input_format": head.input_format,
        **{name: path for name, path in paths.items() if path is not None},
        "tenant": tenant,
        "run": head.run,
        "dead_at": timestamp(dead_at),
        "redrives": 0,
    }


def read_first(record: bytes) -> First:
    """Return what a duplicate needs of one of our records; the result's bytes are taken as they stand.

    No JSON string can hold the text that is searched for: quotes inside strings are escaped.
    """
    members = orjson.loads(record)
    if members["status"] != "completed":
        return First(members["id"], members["status"])
    start = record.index(_RESULT) + len(_RESULT)
    return First(members["id"], "completed", record[start : record.rindex(_ATTEMPTS)])


def _body(line: Line, *, is_json: bool) -> dict[str, Any]:
    return {"job": _raw(line.data.strip())} if is_json else _text_of(line.data)


def _text_of(data: bytes) -> dict[str, str]:
    try:
        return {"raw": data.decode()}
    except UnicodeDecodeError:
        return {"raw_base64": base64.b64encode(data).decode()}


def _raw(text: bytes) -> orjson.Fragment:
    """Embed JSON that was parsed before, byte for byte."""
    return orjson.Fragment(text)
