"""What a worker tells of the batch that it runs: finished records in the shared memory, the rest in frames.

Law: a handler's exception becomes a value at one place (`take_error`).
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from jqcli.engine import frame
from jqcli.engine.failure import describe_failure, message_of, pack_failure
from jqcli.engine.frame import Kind, pack
from jqcli.engine.memory import HEAD, PAGE_SIZE, RUNNING, Writer
from jqcli.engine.result import UnserializableError, dump_result
from jqcli.errors import Skip, StopNow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from jqcli.core.prepare import Prepared
    from jqcli.engine.setup import Setup

_ROOM_WAIT = 0.0005  # seconds between two looks for room in the shared memory
_LARGE = PAGE_SIZE // 2  # a record over this goes as a frame of its own


class Run:
    """One run, as far as it has come: the indexes of a prepared batch to go through, and the attempt of each.

    `attempts` is None where all are the first; `probes` are those of them that are a breaker's probes.
    """

    def __init__(
        self,
        batch: int,
        prepared: Prepared,
        order: Sequence[int],
        attempts: Sequence[int] | None = None,
        probes: Collection[int] = (),
    ) -> None:
        self.batch = batch
        self.prepared = prepared
        self.order = order
        self.attempts = attempts
        self.probes = probes
        self.told = 0
        self.failed = 0
        self.skipped = 0
        self.durations: list[int] = []

    @property
    def spot(self) -> int:
        """The place in its order that it is at: each attempt that ended was told, has failed or has a duration."""
        return self.told + self.failed + len(self.durations)

    def attempt(self, spot: int) -> int:
        """Return the number of the attempt at a place in its order."""
        return 1 if self.attempts is None else self.attempts[self.order[spot]]


class Teller:
    """Speaks through `send`, which takes whole frames; `head` is how a record begins, less its id and its key."""

    def __init__(self, setup: Setup, writer: Writer, send: Callable[[bytes], None]) -> None:
        self._max_result = setup.max_result
        self._writer = writer
        self._send = send
        self.head = b'{"id":%b,"key":"' + setup.tag.encode() + b':%b","status":'

    def take_error(self, run: Run, spot: int, error: BaseException, duration: int) -> None:
        """Turn what a handler raised into a value: a skipped record or a failure."""
        if isinstance(error, StopNow):
            raise error
        if isinstance(error, Skip):
            us = duration // 1000
            run.durations.append(us)
            reason = b'"skipped","reason":%b%b' % (orjson.dumps(message_of(error)), make_tail(run, spot, us))
            self.put(run, spot, self._head_of(run, spot) + reason)
            run.skipped += 1
            return
        self._fail(run, spot, error, duration)

    def _head_of(self, run: Run, spot: int) -> bytes:
        index = run.order[spot]
        return self.head % (run.prepared.ids[index], run.prepared.keys[index])

    def _fail(self, run: Run, spot: int, error: BaseException, duration: int) -> None:
        failure = describe_failure(error, duration / 1e9)
        run.failed += 1
        self._send(pack(Kind.FAILED, frame.FAILED.pack(run.batch, spot), pack_failure(failure)))
        self._writer.mark(spot + 1)

    def put_careful(self, run: Run, spot: int, result: Any, us: int) -> None:
        """Put the record of a result that orjson refuses, or that wants a second look."""
        try:
            text = dump_result(result, self._max_result)
        except UnserializableError as error:
            run.durations.pop()  # a failure tells its own
            self._fail(run, spot, error, us * 1000)
            return
        end = make_tail(run, spot, us)
        self.put(run, spot, b'%b"completed","result":%b%b' % (self._head_of(run, spot), text, end))

    def put(self, run: Run, spot: int, record: bytes) -> None:
        """Put a record for which there may be no room right now, or which is larger than there ever is."""
        if len(record) > _LARGE:
            self._tell_before(run, spot)
            self._send(pack(Kind.RECORD, frame.BATCH.pack(run.batch), record))
            self._writer.mark(spot + 1)
            return
        with suppress(ValueError):
            self._writer.put(record)
            return
        self._writer.words[RUNNING] = 0  # the attempt is over; waiting for the parent is no part of it
        self._tell_before(run, spot)
        while not self._writer.can_turn:
            time.sleep(_ROOM_WAIT)
        self._writer.turn()
        self._writer.put(record)
        self._writer.words[RUNNING] = run.batch + 1

    def _tell_before(self, run: Run, spot: int) -> None:
        """Tell of what was before an attempt that ended; its own duration goes with its record."""
        own = run.durations.pop()
        self.tell(run, spot, is_last=False)
        run.durations.append(own)

    def tell(self, run: Run, spot: int, *, is_last: bool) -> None:
        """Tell how far a run is, and how long the attempts took that were not told of."""
        completed = spot - run.told - run.failed - run.skipped
        head = frame.TOLD.pack(run.batch, spot, self._writer.words[HEAD], completed, run.skipped, is_last)
        durations = orjson.dumps(list(Counter(run.durations).items()))
        run.told, run.failed, run.skipped = spot, 0, 0
        run.durations.clear()
        self._writer.mark(spot)
        self._send(pack(Kind.TOLD, head, durations))


def make_tail(run: Run, spot: int, us: int) -> bytes:
    """Return the end of a record, with the microseconds of its attempt."""
    return b',"attempts":%d,"duration":%.6f}\n' % (run.attempt(spot), us / 1e6)
