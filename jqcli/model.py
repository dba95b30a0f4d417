"""The nouns: what travels between the parts. No rule and no effect lives here."""

from __future__ import annotations

from typing import Any, NamedTuple


class Line(NamedTuple):
    """One input line: its bytes without the newline, its source and its number (from 1)."""

    source: str
    stem: str
    number: int
    data: bytes

    @property
    def made_id(self) -> str:
        """The id of a job whose line gives none."""
        return f"{self.stem}:{self.number}"

    @property
    def where(self) -> str:
        """`source:number`, as messages and letters say it."""
        return f"{self.source}:{self.number}"


class Asks(NamedTuple):
    """What an envelope asks for beyond being run; moments in Unix seconds, durations in seconds."""

    handler: str | None = None
    tenant: str | int | None = None
    timeout: float | None = None
    max_attempts: int | None = None
    not_before: float | None = None
    expires: float | None = None
    cost: float | None = None
    meta: Any = None


NO_ASKS = Asks()


class Job(NamedTuple):
    """A line that parsed. `key` is its 16-byte identity, `key_text` the same as records show it (no tag)."""

    payload: Any
    id: str | int
    has_own_id: bool
    key: bytes
    key_text: str
    payload_hash: bytes | None
    asks: Asks


class Unusable(NamedTuple):
    """A line that is no job: `reason` as in a letter, `key` the hash of its bytes."""

    reason: str
    message: str
    key: bytes


class Failure(NamedTuple):
    """One attempt that did not end in a result.

    `verdict` is what the handler asked for: error, retry, snooze, limited, reject, unserializable, crash or timeout.
    `names` are the dotted names of the error's class and its bases; `after` seconds, where the handler said so.
    """

    verdict: str
    type: str
    message: str
    stacktrace: str
    names: tuple[str, ...]
    duration: float
    is_exception: bool = True
    after: float | None = None


class First(NamedTuple):
    """The settled first job of an identity, as its duplicates need it.

    `error` only where it is dead; `payload_hash` only where it was read from a record and its key was given.
    """

    id: str | int | None
    status: str
    result: bytes | None = None
    error: dict[str, object] | None = None
    payload_hash: bytes | None = None
