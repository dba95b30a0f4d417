"""The worker's side: holds prepared batches and makes one attempt after the other.

Laws kept here: a handler's exception becomes a value at one place (`_except`), and a finished record is in the
shared ring before the next attempt begins, so it survives this process.

The loop in `_run` is the fast path. It stands in one function because each call in it would cost a tenth of what
it does for a small job; everything that is not plain leaves it at once.
"""

from __future__ import annotations

import gc
import os
import time
from array import array
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson

from jqcli.core.codec import read_line
from jqcli.core.prepare import Lines, Prepared, id_text, key_member, prepare
from jqcli.engine import frame
from jqcli.engine.failure import describe_failure, message_of, pack_failure
from jqcli.engine.frame import Kind, pack
from jqcli.engine.handler import Context
from jqcli.engine.memory import BATCH, HEAD, PREPARING, REVOKED, RING_SIZE, SINCE, STARTED, Memory
from jqcli.engine.result import UnserializableError, dump_result
from jqcli.errors import Skip, StopNow
from jqcli.model import NO_ASKS, Asks, Job, Line
from jqcli.policy import DEFAULTS, Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jqcli.engine.handler import Handler
    from jqcli.engine.setup import Setup

# A finished record is told after 50 ms at latest. The parent's wish to have work back is looked at in the same place,
# so behind every attempt of that length.
TELL_NS = 50_000_000
_ROOM_WAIT = 0.0005  # seconds between two looks for room in the ring
_NULL = b"null"
_RESULT = b'"status":"completed","result":'
# Ends of the records of first attempts, by microseconds: most jobs are short, and formatting a float costs 0.2 µs.
_TAILS = [b',"attempts":1,"duration":%.6f}\n' % (us / 1e6) for us in range(1000)]
_NULL_TAILS = [_RESULT + _NULL + tail for tail in _TAILS]


class _Run:
    """One run: the indexes of a prepared batch to go through, and the attempt of each where it is not the first."""

    def __init__(
        self, batch: int, prepared: Prepared, order: Sequence[int], attempts: Sequence[int] | None = None
    ) -> None:
        self.batch = batch
        self.prepared = prepared
        self.order = order
        self.attempts = attempts
        self.told = 0
        self.failed = 0
        self.skipped = 0
        self.durations: list[int] = []


class Runner:
    """Prepares and runs batches; speaks through `send`, which takes whole frames."""

    def __init__(
        self, setup: Setup, handlers: dict[str | None, Handler], memory: Memory, send: Callable[[bytes], None]
    ) -> None:
        self._setup = setup
        self._handlers = handlers
        self._memory = memory
        self._send = send
        self._held: dict[int, Prepared] = {}
        self._is_revoked = False
        self._announced = b""
        self._mark = "m" + os.urandom(8).hex()
        self._head = b'{"id":%b,"key":"' + setup.tag.encode() + b':%b",'
        self._deed = {
            Kind.PREPARE: self._announce,
            Kind.LINES: self._prepare,
            Kind.RUN: self._run_prepared,
            Kind.JOBS: self._run_jobs,
            Kind.DROP: self._drop,
        }

    def handle(self, kind: Kind, body: bytes) -> None:
        """Do what one frame of the parent's asks for. After a revocation all is stale up to the RESUME."""
        if kind is Kind.RESUME:
            self._is_revoked = False
        elif not self._is_revoked:
            self._deed[kind](body)

    def close(self) -> None:
        """Leave the handlers that are context managers."""
        for handler in self._handlers.values():
            try:
                handler.exit.close()
            except Exception:  # noqa: BLE001 - all jobs are done; a handler that leaves badly spoils nothing
                import traceback  # noqa: PLC0415 - for failures only

                traceback.print_exc()

    def _drop(self, body: bytes) -> None:
        self._held.pop(frame.BATCH.unpack(body)[0], None)

    def _announce(self, body: bytes) -> None:
        self._announced = body

    def _prepare(self, data: bytes) -> None:
        batch, first_line, count, source, with_ids = frame.PREPARE.unpack(self._announced)
        setup, words = self._setup, self._memory.words
        words[BATCH], words[SINCE], words[STARTED] = batch, time.monotonic_ns(), PREPARING
        gc.disable()  # parsing makes many objects and no cycles; collecting among them costs 5-10 %
        try:
            lines = Lines(data, count, setup.names[source], setup.stems[source], first_line)
            found = prepare(lines, setup.scheme, mark=self._mark, with_ids=bool(with_ids))
        finally:
            gc.enable()
        self._held[batch] = found
        own_ids = found.own_ids if with_ids else b""
        head = frame.PREPARED.pack(batch, len(found.payloads), bool(found.hashes), bool(own_ids))
        notes = orjson.dumps(found.notes) if found.notes else b""
        words[STARTED] = 0
        self._send(pack(Kind.PREPARED, head, found.digests, found.hashes, own_ids, notes))

    def _run_prepared(self, body: bytes) -> None:
        batch = frame.BATCH.unpack_from(body)[0]
        prepared = self._held.pop(batch)
        if len(body) > frame.BATCH.size:
            self._run(_Run(batch, prepared, array("I", body[frame.BATCH.size :])))
        else:
            self._run(_Run(batch, prepared, range(len(prepared.payloads))))

    def _run_jobs(self, body: bytes) -> None:
        """Run jobs that were ruled before: each comes with its source, line number, attempt and bytes."""
        batch = frame.BATCH.unpack_from(body)[0]
        header, _, data = body[frame.BATCH.size :].partition(b"\n")
        keys: list[bytes] = []
        prepared, attempts, at = Prepared([], [], keys, b""), array("I"), 0
        for source, number, attempt, size in orjson.loads(header):
            name, stem = self._setup.names[source], self._setup.stems[source]
            job = read_line(Line(name, stem, number, data[at : at + size]), self._setup.scheme)
            assert isinstance(job, Job)  # noqa: S101 - the parent sends only lines that were jobs before
            if job.asks != NO_ASKS:
                prepared.asks[len(attempts)] = job.asks
            prepared.payloads.append(job.payload)
            prepared.ids.append(id_text(job.id))
            keys.append(key_member(job))
            attempts.append(attempt)
            at += size
        self._run(_Run(batch, prepared, range(len(attempts)), attempts))

    def _run(self, run: _Run) -> None:  # noqa: C901, PLR0912, PLR0915 - the fast path, see the top
        words, ring, clock, dumps = self._memory.words, self._memory.ring, time.monotonic_ns, orjson.dumps
        heads, max_result = (
            [self._head % pair for pair in zip(run.prepared.ids, run.prepared.keys, strict=False)],
            self._setup.max_result,
        )
        tails, null_tails = _TAILS, _NULL_TAILS
        table_size = len(tails) if run.attempts is None else 0
        call, arguments = self._bind(run)
        note = run.durations.append
        words[BATCH] = run.batch
        spot, base, limit = self._memory.room()
        now = clock()
        tell_at = now + TELL_NS
        position = 0
        for index in run.order:
            words[SINCE] = now
            position += 1
            words[STARTED] = position
            try:
                result = call(arguments[index])
            except BaseException as error:  # noqa: BLE001 - an attempt's failure is a value, whatever it is
                end = clock()
                self._except(run, position, index, error, end - now)
                spot, base, limit = self._memory.room()
                is_plain = False
            else:
                end = clock()
                us = (end - now) // 1000
                note(us)
                is_plain = True
                if result is None and us < table_size:
                    record = heads[index] + null_tails[us]
                else:
                    try:
                        text = dumps(result)
                        is_plain = result is None or (len(text) <= max_result and text.find(_NULL) < 0)
                        tail = tails[us] if us < table_size else _make_tail(run, index, us)
                        record = heads[index] + _RESULT + text + tail
                    except TypeError:
                        is_plain = False
                if is_plain:
                    after = spot + len(record)
                    if after <= limit:
                        ring[spot:after] = record
                        spot = after
                        words[HEAD] = base + spot
                    else:
                        self._put(run, position, record)
                        spot, base, limit = self._memory.room()
                        end = clock()
                else:
                    self._put_careful(run, position, index, result, us)
                    spot, base, limit = self._memory.room()
            if end >= tell_at or not is_plain:
                if end >= tell_at and words[REVOKED]:
                    self._stop(run, position)
                    return
                if end >= tell_at:
                    self._tell(run, position, is_last=False)
                end = clock()
                tell_at = end + TELL_NS if end >= tell_at else tell_at
            now = end
        words[STARTED] = 0
        self._tell(run, position, is_last=True)

    def _bind(self, run: _Run) -> tuple[Callable[[Any], Any], Sequence[Any]]:
        """Return what to call and its arguments by index: the handler and the payloads where nothing else is asked."""
        default = self._handlers[None]
        if not default.wants_ctx and not run.prepared.asks:
            return default.call, run.prepared.payloads
        return (lambda index: self._call(run, index)), range(len(run.prepared.payloads))

    def _call(self, run: _Run, index: int) -> Any:
        asks = run.prepared.asks.get(index, NO_ASKS)
        handler = self._handlers[asks.handler]
        payload = run.prepared.payloads[index]
        if not handler.wants_ctx:
            return handler.call(payload)
        return handler.call(payload, self._make_context(run, index, asks, handler))

    def _make_context(self, run: _Run, index: int, asks: Asks, handler: Handler) -> Context:
        asked = Policy(max_attempts=asks.max_attempts, timeout=asks.timeout)
        policy = asked.over(handler.policy).over(DEFAULTS)
        key = run.prepared.keys[index].partition(b'"')[0]
        return Context(
            id=orjson.loads(run.prepared.ids[index]),
            key=f"{self._setup.tag}:{key.decode()}",
            attempt=1 if run.attempts is None else run.attempts[index],
            max_attempts=policy.max_attempts or 1,
            deadline_at=None if policy.timeout is None else time.time() + policy.timeout,
            tenant=asks.tenant,
            meta=asks.meta,
        )

    def _except(self, run: _Run, position: int, index: int, error: BaseException, duration: int) -> None:
        """Turn what a handler raised into a value: a skipped record or a failure."""
        if isinstance(error, StopNow):
            raise error
        if isinstance(error, Skip):
            run.durations.append(duration // 1000)
            tail = _make_tail(run, index, duration // 1000)
            reason = b'"status":"skipped","reason":%b%b' % (orjson.dumps(message_of(error)), tail)
            self._put(run, position, self._head % (run.prepared.ids[index], run.prepared.keys[index]) + reason)
            run.skipped += 1
            return
        self._fail(run, position, error, duration)

    def _fail(self, run: _Run, position: int, error: BaseException, duration: int) -> None:
        failure = describe_failure(error, duration / 1e9)
        run.failed += 1
        self._send(pack(Kind.FAILED, frame.FAILED.pack(run.batch, position - 1), pack_failure(failure)))

    def _put_careful(self, run: _Run, position: int, index: int, result: Any, us: int) -> None:
        """Put the record of a result that orjson refuses, or that wants a second look."""
        try:
            text = dump_result(result, self._setup.max_result)
        except UnserializableError as error:
            run.durations.pop()  # a failure tells its own
            self._fail(run, position, error, us * 1000)
            return
        record = self._head % (run.prepared.ids[index], run.prepared.keys[index])
        tail = _make_tail(run, index, us)
        self._put(run, position, b'%b"status":"completed","result":%b%b' % (record, text, tail))

    def _put(self, run: _Run, position: int, record: bytes) -> None:
        """Put a record where there is no room for it right now, or where it is larger than the ring."""
        if len(record) > RING_SIZE // 2:
            self._tell(run, position - 1, is_last=False)
            self._send(pack(Kind.RECORD, frame.BATCH.pack(run.batch), record))
            return
        if not self._memory.has_room(len(record)):
            self._memory.words[STARTED] = 0  # the attempt is over; waiting for the parent is no part of it
            self._tell(run, position - 1, is_last=False)
            while not self._memory.has_room(len(record)):
                time.sleep(_ROOM_WAIT)
        self._memory.put(record)

    def _tell(self, run: _Run, position: int, *, is_last: bool) -> None:
        completed = position - run.told - run.failed - run.skipped
        head = frame.TOLD.pack(run.batch, position, self._memory.words[HEAD], completed, run.skipped, is_last)
        durations = orjson.dumps(list(Counter(run.durations).items()))
        run.told, run.failed, run.skipped = position, 0, 0
        run.durations.clear()
        self._send(pack(Kind.TOLD, head, durations))

    def _stop(self, run: _Run, position: int) -> None:
        """Give the rest of this batch and all others back; what is in the channel before the RESUME is stale."""
        self._tell(run, position, is_last=False)
        self._held.clear()
        self._is_revoked = True
        self._memory.words[STARTED] = 0
        self._memory.words[REVOKED] = 0
        self._send(pack(Kind.STOPPED))


def _make_tail(run: _Run, index: int, us: int) -> bytes:
    attempts = 1 if run.attempts is None else run.attempts[index]
    return b',"attempts":%d,"duration":%.6f}\n' % (attempts, us / 1e6)
