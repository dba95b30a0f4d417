"""Frames between parent and worker: length, kind, body; JSON or raw bytes, never pickle.

Either side may be killed between any two bytes, so a frame counts only when it is whole.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jqcli.core.effect import Attempt, Work

HEADER = Struct("<IB")


class Kind(IntEnum):
    """What a frame is. The first group goes to the worker, the second comes from it."""

    SETUP = 1
    PREPARE = 2
    RUN = 3
    JOBS = 4
    DROP = 5
    RESUME = 6
    STOP = 7
    LINES = 8  # behind its PREPARE, as a frame of its own, so that the worker receives them without a copy

    READY = 20
    LOST = 21
    PREPARED = 22
    TOLD = 23
    FAILED = 24
    RECORD = 25
    STOPPED = 26


PREPARE = Struct("<QQIIB")  # batch, first line, lines, source, with ids
BATCH = Struct("<Q")
PREPARED = Struct("<QIBB")  # batch, lines, has hashes, has ids
TOLD = Struct("<QIQIIB")  # batch, positions dealt with, head of the records, completed, skipped, is the last
FAILED = Struct("<QI")  # batch, position


class FrameError(Exception):
    """The bytes of a channel are no frames."""


def pack(kind: Kind, *parts: bytes) -> bytes:
    """Return one frame."""
    body = b"".join(parts)
    return HEADER.pack(len(body), kind) + body


def announce(work: Work) -> bytes:
    """Return what PREPARE says of the lines that follow it."""
    return PREPARE.pack(work.batch, work.first_line, work.lines, work.source, work.with_ids)


def pack_jobs(batch: int, attempts: Sequence[Attempt]) -> bytes:
    """Return what JOBS says: of each its source, line number, attempt, whether it is a probe and size; and its line."""
    header = orjson.dumps([[a.source, a.number, a.attempt, a.is_probe, len(a.data)] for a in attempts])
    return b"".join((BATCH.pack(batch), header, b"\n", *(a.data for a in attempts)))


class Decoder:
    """Cuts received bytes into frames; raises FrameError for a length over `limit` or an unknown kind."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    @property
    def is_inside(self) -> bool:
        """Whether a frame has begun and is not whole."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[tuple[Kind, bytes]]:
        """Yield every frame that is whole now."""
        buffer = self._buffer
        buffer += data
        at, size = 0, len(buffer)
        try:
            while size - at >= HEADER.size:
                length, kind = HEADER.unpack_from(buffer, at)
                if length > self._limit or kind not in _KINDS:
                    raise FrameError(f"a frame of kind {kind} and {length} bytes")
                if size - at - HEADER.size < length:
                    break
                start = at + HEADER.size
                at = start + length
                yield _KINDS[kind], bytes(memoryview(buffer)[start:at])
        finally:
            del buffer[:at]


_KINDS = {int(kind): kind for kind in Kind}
