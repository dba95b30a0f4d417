"""Records: how a duplicate's is written, and how all of them are read again.

A completed or skipped record is built in the worker (`runner` and `teller` there), a dead letter in `burial`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from jqcli.core.codec import RECORD_START, key_of_text
from jqcli.core.exact import load_exact
from jqcli.core.prepare import id_text
from jqcli.core.settled import claim_key
from jqcli.model import First

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jqcli.model import Job

_STATUS = b'"status":"'
_RESULT = b'","status":"completed","result":'
_ATTEMPTS = b',"attempts":'
_BEGIN = b'{"id":'
_ID = rb'("[^"\\\n]*+"|-?[0-9]+)'  # one with an escape in it is read the long way
BODIES = frozenset(("job", "raw", "raw_base64"))  # where a letter has the line that died
_RESULT_STATUSES = ("completed", "duplicate", "skipped")
_DURATION = re.compile(rb',"duration":([0-9.]+)\}\n')


def timestamp(at: float) -> str:
    """Return a moment (Unix seconds) as RFC 3339 in UTC.

    >>> timestamp(0.25)
    '1970-01-01T00:00:00.250Z'
    """
    second, milliseconds = divmod(round(at * 1e6) // 1000, 1000)
    return f"{_format_second(second)}.{milliseconds:03d}Z"


@lru_cache(maxsize=16)
def _format_second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def duplicate_record(tag: str, job: Job, first: First) -> bytes:
    """Return the record of a job whose identity completed, or was skipped, before."""
    record: dict[str, Any] = {"id": raw_json(id_text(job.id)), "key": f"{tag}:{job.key_text}"}
    if job.payload_hash is not None:
        record["payload_hash"] = job.payload_hash.hex()
    record |= {"status": "duplicate", "duplicate_of": raw_json(id_text(first.id)) if first.id is not None else None}
    if first.result is not None:
        record["result"] = raw_json(first.result)
    return orjson.dumps(record, None, orjson.OPT_APPEND_NEWLINE)


def durations_of(records: Sequence[bytes | memoryview]) -> list[tuple[int, int]]:
    r"""Return (microseconds, 1) for each record of results: for those whose worker died before it told them.

    >>> durations_of([b'{"result":{"duration":9},"attempts":1,"duration":0.000250}\n'])
    [(250, 1)]
    """
    return [(round(float(text) * 1e6), 1) for text in _DURATION.findall(b"".join(records))]


def read_first(record: bytes, members: dict[str, Any] | None = None) -> First:
    """Return what a duplicate needs of one of our records; the result's bytes are taken as they stand.

    `members` are those of the record, where it was parsed before. No JSON string can hold the text that is searched
    for: quotes inside strings are escaped.
    """
    if members is None:
        members = load_exact(record)
    given = members.get("payload_hash")
    payload_hash = None if given is None else bytes.fromhex(given)
    if members["status"] != "completed":
        return First(members["id"], members["status"], payload_hash=payload_hash)
    start = record.index(_RESULT) + len(_RESULT)
    return First(members["id"], "completed", record[start : record.rindex(_ATTEMPTS)], None, payload_hash)


def status_of(record: bytes) -> str:
    """Return the status of one of our result records, which is the first member of that name; empty for no record.

    >>> status_of(b'{"id":"a","key":"5f01ab:9f","status":"skipped","reason":"not ours"}')
    'skipped'
    """
    return record.partition(_STATUS)[2].partition(b'"')[0].decode("ascii", "replace")


def raw_json(text: bytes) -> orjson.Fragment:
    """Embed JSON that was parsed before, byte for byte."""
    return orjson.Fragment(text)


# Reading again


class Record(NamedTuple):
    """A result or a dead letter as it stands in a file. `key` is its identity, `claim` what it settles."""

    tag: str
    key: bytes
    claim: bytes
    payload_hash: bytes | None
    id_json: bytes
    members: dict[str, Any]


def parse_result(line: bytes) -> Record | None:
    """Return the result record on a line, None where it is none of ours.

    >>> parse_result(b'{"id":"a","key":"5f01ab:=k","status":"completed"}').id_json
    b'"a"'
    """
    record = _parse_record(line)
    return record if record is not None and record.members.get("status") in _RESULT_STATUSES else None


def parse_letter(line: bytes) -> Record | None:
    """Return the dead letter on a line, None where it is none of ours.

    It is an object with the `id` and the `key` of a record, a `reason` that is text, and the line that died in one of
    `job`, `raw` and `raw_base64`; its `error`, where it has one, is an object. Whatever reads a DLQ asks here.
    """
    record = _parse_record(line)
    if record is None or not isinstance(record.members.get("reason"), str):
        return None
    is_whole = isinstance(record.members.get("error", {}), dict) and not BODIES.isdisjoint(record.members)
    return record if is_whole else None


def is_broken(line: bytes) -> bool:
    """Tell whether a line begins as a record does and is no JSON: a writer was cut off in it.

    >>> is_broken(b'{"id":"a","key":"5f01{"id":"b"}'), is_broken(b'{"id":"a"}'), is_broken(b"never ours")
    (True, False, False)
    """
    if not line.startswith(_BEGIN):
        return False
    try:
        orjson.loads(line)
    except ValueError:
        return True
    return False


def _parse_record(line: bytes) -> Record | None:
    try:
        members = load_exact(line)
        tag, colon, text = members["key"].partition(":")
        key = key_of_text(text)
        payload_hash = bytes.fromhex(members["payload_hash"]) if "payload_hash" in members else None
        match = RECORD_START.match(line)
        id_json = match[1] if match else id_text(members["id"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if not colon or len(tag) != 6 or not isinstance(members["id"], (str, int)):
        return None
    return Record(tag, key, claim_key(key, payload_hash), payload_hash, id_json, members)


def plain_results(tag: str) -> re.Pattern[bytes]:
    """Return what `find_plain` looks for: results with this tag whose keys were not given."""
    return re.compile(
        rb'^\{"id":' + _ID + rb',"key":"' + tag.encode() + rb':([0-9a-f]{32})","status":"(completed|duplicate|skipped)"'
        rb"[^\n]*\}$",
        re.MULTILINE,
    )


def find_plain(
    pattern: re.Pattern[bytes], block: bytes
) -> tuple[Sequence[bytes], Sequence[bytes], Sequence[bytes]] | None:
    """Return the keys, ids and statuses of a block of results, None where one of its lines needs to be parsed.

    Our own records begin in a known way, so one regular expression reads a block, checked to have matched every line.
    """
    found = pattern.findall(block)
    if not found or len(found) != block.count(b"\n"):
        return None
    ids, keys, statuses = zip(*found, strict=True)
    return Struct("16s" * len(keys)).unpack(bytes.fromhex(b"".join(keys).decode())), ids, statuses
