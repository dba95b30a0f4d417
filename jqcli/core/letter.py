"""What a dead letter says, which letters are asked for, and how a letter grows when its job dies once more.

What a letter is says `parse_letter` in `record`, for all who read one. What must stay to the last byte (ids and keys of
any size, the job's line) is taken from the line as it stands.

Two numbers name a letter. Its *job hash* is one of id, key and payload hash: the record of its job has the same. Its
*spot* is a hash of that and of `source`, for two lines of one input may share an id and a key.
"""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from jqcli.core.record import parse_letter
from jqcli.core.tally import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jqcli.core.record import Record

# A string without an end goes to the end of the line: looked for anew at each of its quotes, it would take for ever.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[{}\[\],:]', re.DOTALL)
_OPENING, _CLOSING = frozenset((b"{", b"[")), frozenset((b"}", b"]"))
_TEXT = rb'"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+"'
_START = re.compile(
    rb'\{"id":(' + _TEXT + rb'|-?[0-9]+),"key":(' + _TEXT + rb')(?:,"payload_hash":("[0-9a-f]{32}"))?,'
)  # as our own records begin, letters and results
_JOB, _SOURCE = b',"job":', b',"source":"'
_STATUS = b'"status":"'
_BODIES = (b"job", b"raw", b"raw_base64")
_IDENTITY = (b"id", b"key", b"payload_hash")
# What a job's next death does not change: who it is, where it came from, and to which command line it belongs.
_KEPT = frozenset((*_IDENTITY, b"source", b"handler", b"cwd", b"output", b"input_format", b"tenant"))
_OF_THIS_DEATH = frozenset((b"duplicate_of", b"conflicts_with", b"size", b"offset"))
_FOLLOWER = "duplicate_of_dead"
NO_JOB = frozenset(("invalid_json", "line_too_long"))  # reasons of letters whose line runs only once it is changed
JOB_HASH_SIZE = 10  # bytes; a million letters collide with a chance of 4e-13


class Verdict(NamedTuple):
    """Why a job is dead: the letter's reason and error, or those of its first where it is a duplicate."""

    reason: str
    type: str
    message: str

    @property
    def fingerprint(self) -> str:
        """The name of the group of errors, as the summary of a run has it."""
        return fingerprint(self.type, self.message)


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter: its line, what was parsed of it, and where it stands."""

    line: bytes
    record: Record
    path: str
    offset: int

    @property
    def parsed(self) -> Mapping[str, Any]:
        """Its members."""
        return self.record.members

    @property
    def job_hash(self) -> int:
        """The number that the record of its job has too."""
        return job_hash_of(self.line)

    @property
    def spot(self) -> int:
        """The number of this letter among all."""
        return spot_of(self.job_hash, str(self.parsed.get("source", "")))

    @property
    def verdict(self) -> Verdict:
        """Its own reason and error."""
        error = self.parsed.get("error")
        said = error if isinstance(error, dict) else {}
        return Verdict(str(self.parsed["reason"]), str(said.get("type", "")), str(said.get("message", "")))

    @property
    def follows(self) -> int | None:
        """The number of the identity whose first it died with; None for all but a `duplicate_of_dead`."""
        return self.identity if self.parsed["reason"] == _FOLLOWER else None

    @property
    def identity(self) -> int:
        """A number for its key."""
        return _number(str(self.parsed["key"]).encode("utf-8", "surrogatepass"))

    @property
    def id(self) -> str:
        """Its id as text, with all digits."""
        text = _identity(self.line)[0]
        return str(orjson.loads(text)) if text.startswith(b'"') else text.decode()

    @property
    def job(self) -> bytes | None:
        """The line of its job as it was read; None for what was no JSON."""
        if "job" not in self.parsed:
            return None
        # Where a run has put it; no string holds these quotes unescaped. Finding all members takes 30 µs.
        start, end = self.line.find(_JOB), self.line.rfind(_SOURCE)
        if 0 <= start < end:
            job = self.line[start + len(_JOB) : end]
            with suppress(ValueError, RecursionError):  # the second by comparing what is deep
                if orjson.loads(job) == self.parsed["job"]:
                    return job
        return (find_members(self.line) or {}).get(b"job")

    @property
    def has_job(self) -> bool:
        """Whether it holds the line of a job, so that it can be run again as it is."""
        return "job" in self.parsed

    @property
    def redrives(self) -> int:
        """How often it was given a new life."""
        said = self.parsed.get("redrives", 0)
        return said if isinstance(said, int) else 0

    def text(self, name: str) -> str:
        """Return a member as text, empty where there is none."""
        said = self.parsed.get(name)
        return "" if said is None else str(said)


def find_members(line: bytes) -> dict[bytes, bytes] | None:
    """Return the members of a JSON object by name, values as they stand; None for what is no object.

    Only brackets and strings are looked at, so numbers of any size and values of any depth keep their bytes.

    >>> find_members(b'{"id": "a,}", "job": {"n": 1.0}}')
    {b'id': b'"a,}"', b'job': b'{"n": 1.0}'}
    """
    body = line.strip()
    members: dict[bytes, bytes] = {}
    depth, begin, name = 0, 1, None
    for token in _TOKEN.finditer(body):
        sign = token[0]
        if sign in _OPENING:
            depth += 1
        if depth == 1 and sign == b":" and name is None:
            name, begin = body[begin : token.start()].strip().strip(b'"'), token.end()
        elif depth == 1 and name is not None and sign in (b",", b"}"):
            members[name] = body[begin : token.start()].strip()
            name, begin = None, token.end()
        if sign in _CLOSING:
            depth -= 1
            if depth <= 0:
                is_whole = depth == 0 and token.end() == len(body) and body.startswith(b"{")
                return members if is_whole else None
    return None


def join_members(members: Mapping[bytes, bytes]) -> bytes:
    r"""Return the line of an object whose members are these.

    >>> join_members({b"id": b"1", b"job": b"[2]"})
    b'{"id":1,"job":[2]}\n'
    """
    return b"{%b}\n" % b",".join(b'"%b":%b' % pair for pair in members.items())


def letter_of(line: bytes, path: str = "", offset: int = 0) -> Letter | None:
    """Return the letter of a line, None where it is none; see `parse_letter`."""
    record = parse_letter(line)
    return None if record is None else Letter(line, record, path, offset)


def text_of(letter: Letter) -> bytes:
    """Return the line of a letter's job, or what there is of a line that is no JSON."""
    if letter.job is not None:
        return letter.job
    raw = letter.parsed.get("raw")
    return raw.encode() if isinstance(raw, str) else base64.b64decode(str(letter.parsed.get("raw_base64", "")))


def job_hash_of(record: bytes) -> int:
    """Return the number that a record shares with its letter: a hash of id, key and payload hash as they stand.

    >>> start = b'{"id":1,"key":"5f01ab:9f",'
    >>> job_hash_of(start + b'"status":"completed"}') == job_hash_of(start + b'"reason":"rejected","job":1}')
    True
    """
    return _number(b"\n".join(_identity(record)))


def result_status_of(record: bytes) -> bytes | None:
    """Return the status of a line that is a result of ours, None for any other line.

    >>> result_status_of(b'{"id":1,"key":"5f01ab:9f","status":"completed"}'), result_status_of(b'{"id":1}')
    (b'completed', None)
    """
    match = _START.match(record)
    if match is None or not record.startswith(_STATUS, match.end()):
        return None
    start = match.end() + len(_STATUS)
    return record[start : record.index(b'"', start)]


def spot_of(job_hash: int, source: str) -> int:
    """Return the number of a letter among all."""
    return _number(b"%d\n%b" % (job_hash, source.encode("utf-8", "surrogatepass")))


def _identity(record: bytes) -> tuple[bytes, bytes, bytes]:
    """Return id, key and payload hash as they stand."""
    match = _START.match(record)
    if match:
        return match[1], match[2], match[3] or b""
    members = find_members(record) or {}
    return members.get(b"id", b""), members.get(b"key", b""), members.get(b"payload_hash", b"")


def _number(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=JOB_HASH_SIZE).digest(), "big")


def extend_letter(old: bytes, new: bytes, *, is_amended: bool = False) -> bytes:
    """Return the letter of a job that died again: `new`, with the history of `old` before its own.

    Who the job is, its line and its origin are the old letter's; of an amended job, id, key and line are the new one's.
    """
    before, after = find_members(old) or {}, find_members(new) or {}
    has_own = is_amended and b"job" in after
    kept = _KEPT - {*_IDENTITY, b"tenant"} if has_own else _KEPT
    grown: dict[bytes, bytes] = {}
    for name, value in after.items():
        if name in _BODIES and not has_own:
            grown |= {body: before[body] for body in _BODIES if body in before}
        elif name == b"history":
            grown[name] = _join_arrays(before.get(name, b"[]"), value)
        elif name not in _IDENTITY or has_own or name in before:
            grown[name] = before.get(name, value) if name in kept else value
    strange = before.keys() - after.keys() - {*_BODIES, *_OF_THIS_DEATH, b"payload_hash"}
    grown |= {name: before[name] for name in before if name in strange}
    if not has_own and b"payload_hash" in before:
        start = {name: before[name] for name in _IDENTITY}
        grown = start | {name: value for name, value in grown.items() if name not in start}
    said = before.get(b"redrives", b"0")
    grown[b"redrives"] = b"%d" % ((int(said) if said.isdigit() else 0) + 1)
    return join_members(grown)


def _join_arrays(one: bytes, other: bytes) -> bytes:
    """Return one JSON array of two.

    >>> _join_arrays(b"[1,2]", b"[3]"), _join_arrays(b"[]", b"[3]")
    (b'[1,2,3]', b'[3]')
    """
    inside = [text for text in (one.strip()[1:-1].strip(), other.strip()[1:-1].strip()) if text]
    return b"[%b]" % b",".join(inside)
