"""What a run asks its store and tells it; where the store may fail and the run go on, that choice is kept here.

Law 5: `note` gathers what is done, and only `commit`, which comes after the records are in their file and synced,
makes it count for other runs. It does so beside the run, which goes on meanwhile; errors come with the next call.
"""

from __future__ import annotations

import time
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from jqcli.core.claimed import OwnClaims
from jqcli.core.gathered import Gathered, OwnRows, by_handler
from jqcli.core.recall import CLAIM, RELEASE, RELEASE_ROW, REMEMBERED, New, Recall, Row, leave_out
from jqcli.core.record import read_first
from jqcli.edge.errand import Errand
from jqcli.errors import FileError, LockedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from jqcli.core.gathered import Done
    from jqcli.edge.store import Store
    from jqcli.edge.storeclaims import Head
    from jqcli.edge.storereader import Found, ScopeName
    from jqcli.model import First, Job

GATHERED_BYTES = 8 << 20  # of records to commit at once; four times as much costs a third more a byte


class Terms(NamedTuple):
    """How a run uses its store: its number, and seconds to live (None: for ever).

    `scopes` are by the handler that a line chose; `warn` says that the run goes on without the store, None where a
    broken store stops it. With `waits`, each commit is waited for: handlers may fork this process.
    """

    run: int
    ttl: float | None
    scopes: Mapping[str | None, ScopeName]
    warn: Callable[[str], None] | None
    waits: bool = False


class Claimer:
    """The store as one run sees it. Raises FileError or LockedError, unless the run may go on without it."""

    def __init__(self, store: Store, terms: Terms) -> None:
        self._store: Store | None = store
        self._terms = terms
        self._gathered = Gathered()
        self._released: list[tuple[str | None, bytes]] = []
        self._committing: list[Done] = []
        self._errand: Errand[range] | None = None
        self._head: Head | None = None  # of the claims, when it was looked at last
        self._own_rows = OwnRows()
        self._own_claims = OwnClaims()
        self._found: dict[tuple[str | None, bytes], Found] = {}  # in the tree, by the last claim
        self._abandoned: Store | None = None
        try:
            self._enter(store)
        except BaseException:
            store.close()
            raise

    def _enter(self, store: Store) -> None:
        """Be a run of this store: take over from the dead, and read what is remembered."""
        from jqcli.edge.storetree import drop_expired, fold  # noqa: PLC0415 - with SQLite, which most runs do without

        drop_expired(store, time.time())
        fold(store)
        with store.transaction():
            if store.lock.is_deserted:
                store.claims.clear()
            else:
                self._leave_out(store)
            store.lock.enter(self._terms.run)
            self._scopes = {handler: store.scope(name) for handler, name in self._terms.scopes.items()}
            self._refresh(store)

    def _begin_anew(self, store: Store) -> None:
        self._epoch, self._folded = store.state()
        self._sieve = store.read_sieve()
        self._recall = Recall(self._terms.run, self._terms.ttl)

    # Before jobs run

    def claim(self, wanted: Mapping[str | None, bytes], batch: int | None = None) -> Mapping[bytes, str]:
        """Claim identities, given by the handler that their lines chose; return what those are that may not run.

        `batch` is that of which all of them are, None where there is no such batch.
        """
        known: dict[bytes, str] = {}
        if self._store is None or not any(wanted.values()):
            return known
        now = time.time()
        self._found = {}
        try:
            self._collect()
            with self._store.held():
                self._refresh(self._store)
                for handler, keys in wanted.items():
                    known |= self._judge(self._store, handler, keys, now)
                    whole = batch if len(wanted) == 1 else None
                    self._append_claim(self._store, handler, leave_out(known, keys), whole)
        except (FileError, LockedError) as error:
            self._go_on_without(error)
            known.clear()
        return known

    def _judge(self, store: Store, handler: str | None, keys: bytes, now: float) -> dict[bytes, str]:
        known = self._recall.judge(keys, now, store.lock.is_alive)
        likely = b"" if self._sieve is None else self._sieve.sift(keys)
        if likely:
            self._wait()
            found = store.look_up(self._scopes[handler], likely)
            fresh = {key: one for key, one in found.items() if now < self._recall.fresh_until(key, one.at, one.ttl)}
            self._found |= {(handler, key): one for key, one in fresh.items()}
            known |= dict.fromkeys(fresh, REMEMBERED)
        return known

    def _refresh(self, store: Store) -> None:
        """Read what other runs claimed, let go and did since, if they did anything; with the store held."""
        seen, head = self._head, store.claims.head()
        if head == seen:
            return
        self._head = head
        is_anew, was_moved = seen is None, seen is None or head.generation != seen.generation
        has_news = seen is None or head.news != seen.news
        if has_news:
            self._wait()
            is_anew = is_anew or store.state()[0] != self._epoch  # rows were taken away
        if is_anew:
            self._begin_anew(store)
        elif was_moved:
            self._recall.drop_claims()
        start = head.start if seen is None or is_anew or was_moved else seen.end
        scopes = list(self._scopes.values())
        for scope, row in store.claims.read(start, head.end):
            if scope in scopes:
                self._recall.learn(row)
        if has_news:
            for row in store.read(self._recall.cursor, self._folded, scopes):
                self._recall.learn(row)

    def _leave_out(self, store: Store) -> Head:
        """Leave out the claims that are worth nothing; of this run itself the lock must not be asked."""
        return store.claims.leave_out(lambda run: run == self._terms.run or store.lock.is_alive(run))

    def _append_claim(self, store: Store, handler: str | None, keys: bytes, batch: int | None) -> None:
        if keys:
            self._append(store, [(handler, CLAIM, self._own_claims.add(batch, keys), keys)])

    def _append(self, store: Store, rows: Iterable[tuple[str | None, int, int, bytes]]) -> None:
        """Append what this run claims or lets go; with the store held since all was read."""
        self._head = store.claims.append(self._rows(rows))

    def _rows(self, rows: Iterable[tuple[str | None, int, int, bytes]]) -> list[tuple[int, Row]]:
        """Return rows of claims, with their scopes, given handlers, kinds, numbers and identities."""
        run, scopes = self._terms.run, self._scopes
        return [(scopes[handler], Row(number, run, kind, 0.0, None, keys)) for handler, kind, number, keys in rows]

    # After they ran

    def note(
        self,
        batches: Collection[int],
        keys: bytes,
        handlers: list[str | None] | None,
        records: Sequence[bytes | memoryview],
    ) -> None:
        """Gather what is done: records in the order of their keys; `handlers` None where all are the default one.

        `batches` are those under which the jobs are looked for, see `find`.
        """
        if self._store is None:
            return
        text = b"".join(records)  # a copy, for their memory is written over
        for handler, part, lines in by_handler(keys, handlers, text):
            self._gathered.add(batches, handler, part, lines)
            self._own_claims.finish(batches, handler, part)

    @property
    def gathered(self) -> int:
        """Bytes of records that wait for the next commit."""
        return self._gathered.size

    def release(self, identities: list[tuple[str | None, bytes]]) -> None:
        """Gather what was claimed and is dead, with the handlers that lines chose: its letters are in their file."""
        if self._store is not None:
            self._released += identities

    def commit(self, *, waits: bool = False) -> None:
        """Let what was gathered count for other runs, and outlive a power cut; `waits` until it does."""
        try:
            self._wait()  # one at a time
            if self._store is not None and (self._gathered or self._released or self._own_claims.is_any_done):
                self._begin(self._store)
            if waits or self._terms.waits:
                self._wait()
        except (FileError, LockedError) as error:
            self._go_on_without(error)

    def _begin(self, store: Store) -> None:
        """Begin to write what is done; the store is held until it is written."""
        now, terms = time.time(), self._terms
        gathered = self._gathered.take()
        rows = [
            New(terms.run, self._scopes[done.handler], now, terms.ttl, b"".join(done.keys), b"".join(done.records))
            for done in gathered
        ]
        released, self._released = self._released, []
        own = self._own_claims.take()
        let_go = [
            *((handler, RELEASE_ROW, number, b"") for handler, number in own.rows),
            *((handler, RELEASE, 0, keys) for handler, keys in own.keys),
        ]
        with store.held():
            self._refresh(store)
            self._head = self._leave_out(store)
            self._append(store, [(handler, RELEASE, 0, key) for handler, key in released])
            if not rows:
                self._append(store, let_go)
                return
            self._head = store.claims.announce()
            self._committing = gathered
            store.lock.take()
            self._errand = Errand(lambda: _append_done(store, rows, self._rows(let_go)), store.lock.drop)

    def _collect(self) -> None:
        """Take what came of a commit, if that is over."""
        if self._errand is not None and self._errand.is_over:
            self._wait()

    def _wait(self) -> None:
        """Wait until no commit is going on beside the run, so that SQLite is free; raises what went wrong in it."""
        errand, self._errand = self._errand, None
        if errand is None:
            return
        committing, self._committing = self._committing, []
        for done, row in zip(committing, errand.wait(), strict=True):
            for batch in done.batches:
                self._own_rows.add(batch, row)

    def find(self, spot: tuple[int, float] | None, job: Job) -> tuple[First | None, float]:
        """Return the first of an identity as the store has it, and until when that is fresh.

        `spot` is the batch of this run that took the identity, if one did.
        """
        try:
            self._wait()
            record, until = self._find_own(spot, job.key), inf
            if record is None:
                record, until = self._find_others(job)
            return None if record is None else self._read(record), until
        except (FileError, LockedError) as error:
            self._go_on_without(error)
            return None, 0.0

    def _read(self, record: bytes) -> First:
        """Return what a record says; what SQLite took for whole may be none all the same."""
        try:
            return read_first(record)
        except (ValueError, KeyError, TypeError, AttributeError):
            path = "" if self._store is None else f"{self._store.path}: "
            raise FileError(f"{path}is damaged (a record in it is none); move it away to begin a new one") from None

    def _find_own(self, spot: tuple[int, float] | None, key: bytes) -> bytes | None:
        if spot is None or self._store is None:
            return None
        gathered = self._gathered.find(spot[0], key)
        if gathered is not None:
            return gathered
        return next((record for row in self._own_rows.of(spot[0]) if (record := self._store.record(row, key))), None)

    def _find_others(self, job: Job) -> tuple[bytes | None, float]:
        store, key, now = self._store, job.key, time.time()
        if store is None:
            return None, now
        found = self._recall.find(key)
        if found is None and self._sieve is not None:
            handler = job.asks.handler
            found = self._found.get((handler, key))
            if found is None:
                with store.held():
                    found = store.look_up(self._scopes[handler], key).get(key)
        if found is None:
            return None, now
        row, done_at, ttl = found
        return store.record(row, key), self._recall.fresh_until(key, done_at, ttl)

    # The end

    def end(self) -> None:
        """Let go of all that was claimed; what is done was committed before."""
        with suppress(FileError, LockedError):  # the last commit was waited for; after an error there is a worse one
            self._wait()
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _go_on_without(self, error: FileError | LockedError) -> None:
        if self._store is None:  # that was said
            return
        self._gathered.take()
        # Kept open to the end of the process: what is in flight here stays claimed, and no lock is waited for again.
        self._abandoned, self._store = self._store, None
        if self._terms.warn is None:
            raise error
        self._terms.warn(f"{error}; going on without the store: nothing more is looked up or remembered")


def _append_done(store: Store, rows: Sequence[New], let_go: list[tuple[int, Row]]) -> range:
    """Write what is done, and only then let it go: whoever looks finds the one or the other."""
    numbers = store.append_held(rows)
    store.claims.append(let_go)
    return numbers
