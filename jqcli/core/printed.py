"""A line that a handler printed or logged, and the job that it was at."""

from __future__ import annotations

import codecs
from typing import NamedTuple

# Characters of a line, a longer one comes in pieces; bytes of a logger's message, a longer one is cut.
LINE_MOST = 1 << 14
LOGGING = "logging"


class Ids(NamedTuple):
    """What tells an attempt from all others of a run; the key carries its tag."""

    job: str | int
    key: str
    attempt: int


class Printed(NamedTuple):
    """One line and when it was written (Unix seconds).

    `source` is stdout, stderr, logging, or output: what went past Python, of a program that the handler started, say.
    Of that only the `place` is known, the batch and the index that its worker was at when it arrived.
    """

    worker: int
    at: float
    text: str
    source: str
    level: str = "info"
    logger: str | None = None
    ids: Ids | None = None
    place: tuple[int, int] | None = None


def whole_size(text: bytes) -> int:
    """Return the size of a text up to a character at its end that is there in part.

    >>> [whole_size(text) for text in (b"", b"a", "aé".encode(), "aé".encode()[:-1])]
    [0, 1, 3, 1]
    """
    end = text[-3:]
    return len(text) - len(end) + codecs.utf_8_decode(end, "ignore", False)[1]  # noqa: FBT003 - the standard library's own
