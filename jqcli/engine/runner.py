"""The worker's side: holds prepared batches and makes one attempt after the other; what came of them says its `teller`.

Law: a finished record is in the shared memory before the next attempt begins, so it survives this process.

The loop in `_run` is the fast path. It stands in one function because each call in it would cost a tenth of what
it does for a small job; everything that is not plain leaves it at once.
"""

from __future__ import annotations

import gc
import os
import time
from array import array
from itertools import repeat
from typing import TYPE_CHECKING, Any

import orjson

from jqcli.core.codec import read_line
from jqcli.core.exact import load_exact
from jqcli.core.prepare import Lines, Prepared, id_text, key_member, prepare
from jqcli.engine import frame
from jqcli.engine.frame import Kind, pack
from jqcli.engine.handler import Context
from jqcli.engine.memory import HEAD, READING, REVOKED, RUNNING, Writer
from jqcli.engine.teller import Run, Teller, make_tail
from jqcli.engine.voice import name_job
from jqcli.model import NO_ASKS, Asks, Job, Line
from jqcli.policy import DEFAULTS, Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jqcli.engine.handler import Handler
    from jqcli.engine.setup import Setup
    from jqcli.engine.voice import Voice

# A finished record is told after 50 ms at latest, or behind the next attempt; the parent fetches what waits for that.
TELL_NS = 50_000_000
_NULL = b"null"
# Ends of the records of first attempts, by microseconds: most jobs are short, and formatting a float costs 0.2 µs.
_TAILS = [b',"attempts":1,"duration":%.6f}\n' % (us / 1e6) for us in range(1000)]
_NULL_TAILS = [_NULL + tail for tail in _TAILS]
_NOTHING_FOUND: tuple[Run | None, int, tuple[bytes, str, int] | None] = None, 0, None


class Runner:
    """Prepares and runs batches; speaks through `send`, which takes whole frames."""

    def __init__(
        self,
        setup: Setup,
        handlers: dict[str | None, Handler],
        writer: Writer,
        send: Callable[[bytes], None],
        voice: Voice | None = None,
    ) -> None:
        self._setup = setup
        self._handlers = handlers
        self._writer = writer
        self._send = send
        self._teller = Teller(setup, writer, send)
        self._held: dict[int, Prepared] = {}
        self._is_revoked = False
        self._running: Run | None = None
        self._found = _NOTHING_FOUND
        self._voice = voice
        if voice is not None:
            voice.find_job = self.find_job
        self._announced = b""
        self._mark = "m" + os.urandom(8).hex()
        # A plain head is these with an id and a key in between; joining them is a third faster than `%`.
        self._start, self._middle, self._end = (self._teller.head + b'"completed","result":').split(b"%b")
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
            self._running, self._found = None, _NOTHING_FOUND
            if self._voice is not None:
                self._voice.settle()

    def find_job(self) -> tuple[bytes, str, int] | None:
        """Return id (as JSON), key and attempt of the job that this process is at; None where it is at none."""
        run = self._running
        if run is None:
            return None
        spot = run.spot
        if spot >= len(run.order):
            return None
        last_run, last_spot, job = self._found
        if job is None or run is not last_run or spot != last_spot:  # a print is many writes
            index = run.order[spot]
            job = name_job(run.prepared.ids[index], self._key_of(run, index), run.attempt(spot))
            self._found = run, spot, job
        return job

    def _key_of(self, run: Run, index: int) -> str:
        # As it stands in the record, between quotes and maybe with another member behind it.
        key = orjson.loads(b'{"key":"%b"}' % run.prepared.keys[index])["key"]
        return f"{self._setup.tag}:{key}"

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
        setup, words = self._setup, self._writer.words
        words[READING] = batch + 1
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
        words[READING] = 0
        self._send(pack(Kind.PREPARED, head, found.digests, found.hashes, own_ids, notes))

    def _run_prepared(self, body: bytes) -> None:
        batch = frame.BATCH.unpack_from(body)[0]
        prepared = self._held.pop(batch)
        if len(body) > frame.BATCH.size:
            self._run(Run(batch, prepared, array("I", body[frame.BATCH.size :])))
        else:
            self._run(Run(batch, prepared, range(len(prepared.payloads))))

    def _run_jobs(self, body: bytes) -> None:
        """Run jobs that were ruled before: each with source, line number, attempt, whether it probes, and bytes."""
        batch = frame.BATCH.unpack_from(body)[0]
        header, _, data = body[frame.BATCH.size :].partition(b"\n")
        keys: list[bytes] = []
        prepared, attempts, at = Prepared([], [], keys, b""), array("I"), 0
        probes: list[int] = []
        for source, number, attempt, is_probe, size in orjson.loads(header):
            name, stem = self._setup.names[source], self._setup.stems[source]
            job = read_line(Line(name, stem, number, data[at : at + size]), self._setup.scheme)
            assert isinstance(job, Job)  # noqa: S101 - the parent sends only lines that were jobs before
            if job.asks != NO_ASKS:
                prepared.asks[len(attempts)] = job.asks
            prepared.payloads.append(job.payload)
            prepared.ids.append(id_text(job.id))
            keys.append(key_member(job))
            if is_probe:
                probes.append(len(attempts))
            attempts.append(attempt)
            at += size
        self._run(Run(batch, prepared, range(len(attempts)), attempts, probes))

    def _run(self, run: Run) -> None:  # noqa: C901, PLR0912, PLR0915 - the fast path, see the top
        writer, words, teller = self._writer, self._writer.words, self._teller
        clock, dumps = time.monotonic_ns, orjson.dumps
        max_result, tails, null_tails = self._setup.max_result, _TAILS, _NULL_TAILS
        table_size = len(tails) if run.attempts is None else 0
        call, arguments = self._bind(run)
        ids, keys = run.prepared.ids, run.prepared.keys
        parts = zip(repeat(self._start), ids, repeat(self._middle), keys, repeat(self._end), strict=False)
        heads = list(map(b"".join, parts))
        order = run.order
        if len(order) < len(heads):
            arguments, heads = [arguments[index] for index in order], [heads[index] for index in order]
        note = run.durations.append
        writer.mark(0)
        self._running = run
        words[RUNNING] = run.batch + 1
        at, write = writer.head, writer.write
        now = clock()
        tell_at = now + TELL_NS
        for spot, argument, head in zip(range(len(heads)), arguments, heads, strict=True):
            try:
                result = call(argument)
            except BaseException as error:  # noqa: BLE001 - an attempt's failure is a value, whatever it is
                writer.head = at
                teller.take_error(run, spot, error, clock() - now)
                at, write, end = writer.head, writer.write, clock()
            else:
                end = clock()
                us = (end - now) // 1000
                note(us)
                record = None
                if result is None and us < table_size:
                    record = head + null_tails[us]
                else:
                    try:
                        text = dumps(result)
                        if result is None or (len(text) <= max_result and text.find(_NULL) < 0):
                            record = head + text + (tails[us] if us < table_size else make_tail(run, spot, us))
                    except TypeError:
                        pass
                try:
                    at += write(record)  # type: ignore[arg-type] # None raises TypeError
                    words[HEAD] = at
                except (TypeError, ValueError):  # not plain, or more than there is room for
                    writer.head = at
                    if record is None:
                        teller.put_careful(run, spot, result, us)
                    else:
                        teller.put(run, spot, record)
                    at, write, end = writer.head, writer.write, clock()
            # Behind every attempt, and behind the words that say so: see `Worker.next_step`. It costs 11 ns.
            if end >= tell_at or words[REVOKED]:
                writer.head = at
                if words[REVOKED]:
                    self._stop(run, spot + 1)
                    return
                teller.tell(run, spot + 1, is_last=False)
                end = clock()
                tell_at = end + TELL_NS
            now = end
        writer.head = at
        words[RUNNING] = 0
        teller.tell(run, len(heads), is_last=True)

    def _bind(self, run: Run) -> tuple[Callable[[Any], Any], Sequence[Any]]:
        """Return what to call and its arguments by index: the handler and the payloads where nothing else is asked."""
        default = self._handlers[None]
        if not default.wants_ctx and not run.prepared.asks:
            return default.call, run.prepared.payloads
        return (lambda index: self._call(run, index)), range(len(run.prepared.payloads))

    def _call(self, run: Run, index: int) -> Any:
        asks = run.prepared.asks.get(index, NO_ASKS)
        handler = self._handlers[asks.handler]
        payload = run.prepared.payloads[index]
        if not handler.wants_ctx:
            return handler.call(payload)
        return handler.call(payload, self._make_context(run, index, asks, handler))

    def _make_context(self, run: Run, index: int, asks: Asks, handler: Handler) -> Context:
        asked = Policy(max_attempts=asks.max_attempts, timeout=asks.timeout)
        policy = asked.over(handler.policy).over(DEFAULTS)
        ends = (None if policy.timeout is None else time.time() + policy.timeout, self._setup.deadline_at)
        return Context(
            id=load_exact(run.prepared.ids[index]),
            key=self._key_of(run, index),
            attempt=1 if run.attempts is None else run.attempts[index],
            max_attempts=policy.max_attempts or 1,
            deadline_at=min((end for end in ends if end is not None), default=None),
            tenant=asks.tenant,
            meta=asks.meta,
            run_deadline_at=self._setup.deadline_at,
            is_probe=index in run.probes,
        )

    def _stop(self, run: Run, spot: int) -> None:
        """Give the rest of this batch and all others back; what is in the channel before the RESUME is stale."""
        words = self._writer.words
        words[RUNNING] = 0
        self._teller.tell(run, spot, is_last=False)
        self._held.clear()
        self._is_revoked = True
        words[REVOKED] = 0
        self._send(pack(Kind.STOPPED))
