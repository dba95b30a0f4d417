"""What is written of a line that is dead: its letter, with its error and its history."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import orjson

from jqcli.core.prepare import id_text
from jqcli.core.record import raw_json, timestamp
from jqcli.errors import shorten

if TYPE_CHECKING:
    from jqcli.core.effect import Bury
    from jqcli.model import Failure, Job

_HISTORY_BYTES = 512  # of a message in a history: one for each attempt, and thousands of jobs may be waiting
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


def history_entry(attempt: int, at: float, failure: Failure) -> dict[str, object]:
    """Return what a letter remembers of one failed attempt that began at `at` (Unix seconds)."""
    return {
        "attempt": attempt,
        "at": timestamp(at),
        "duration": round(failure.duration, 6),
        "type": failure.type,
        "message": shorten(failure.message, _HISTORY_BYTES),
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
    return {"type": "jqcli.key_conflict", "message": shorten(f"key {given!r} belongs to job {owner!r}")}


def letter(head: LetterHead, bury: Bury, dead_at: float) -> bytes:
    """Return a dead letter; `dead_at` in Unix seconds."""
    job, line, first = bury.job, bury.line, bury.first
    record: dict[str, Any] = {
        "id": raw_json(id_text(job.id)) if job is not None else line.made_id,
        "key": f"{head.tag}:{bury.key_text}",
    }
    if job is not None and job.payload_hash is not None:
        record["payload_hash"] = job.payload_hash.hex()
    record["reason"] = bury.reason
    if first is not None:
        name = "conflicts_with" if bury.reason == "key_conflict" else "duplicate_of"
        record[name] = raw_json(id_text(first.id)) if first.id is not None else None
    record["error"], record["attempts"], record["history"] = bury.error, bury.attempts, bury.history
    is_json = job is not None or bury.reason == "invalid_job"
    record.update({"job": raw_json(line.data.strip())} if is_json else _text_of(line.data))
    record.update(_origin(head, line.where, job, dead_at))
    return orjson.dumps(record, None, _NL)


def oversized_message(part: OversizedLine) -> str:
    """Return what is said of a line that was too long to be read."""
    return f"a line of {part.size} bytes; see --max-line"


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
    return orjson.dumps(record | _origin(head, f"{source}:{part.line}", None, dead_at), None, _NL)


def _origin(head: LetterHead, where: str, job: Job | None, dead_at: float) -> dict[str, object]:
    handler, tenant = (None, None) if job is None else (job.asks.handler, job.asks.tenant)
    paths = {"key_path": head.key_path, "tenant_path": head.tenant_path}
    return {
        "source": where,
        "handler": head.handlers.get(handler),
        "cwd": head.cwd,
        "output": head.output,
        "input_format": head.input_format,
        **{name: path for name, path in paths.items() if path is not None},
        "tenant": None if tenant is None else raw_json(id_text(tenant)),
        "run": head.run,
        "dead_at": timestamp(dead_at),
        "redrives": 0,
    }


def _text_of(data: bytes) -> dict[str, str]:
    try:
        return {"raw": data.decode()}
    except UnicodeDecodeError:
        return {"raw_base64": base64.b64encode(data).decode()}
