"""What other runs have done and are doing, by identity: which job may run here, which is a duplicate, which waits.

Law: an identity that another run has claimed is not run here until that run lets it go, or is dead; what it did it lets
go of once that counts as done. What is done counts for as long as it is fresh; done is looked at before claims.
"""

from __future__ import annotations

from itertools import repeat
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from jqcli.core.codec import KEY_SIZE
from jqcli.core.prepare import ID_SIZE
from jqcli.core.settled import claim_key

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from jqcli.core.dedupe import Identities
    from jqcli.core.event import Answer
    from jqcli.core.settled import Settled

CLAIM, DONE, RELEASE, RELEASE_ROW = range(4)
REMEMBERED, ELSEWHERE = "remembered", "elsewhere"
_JITTER = 0.1
_NO_HASH = bytes(KEY_SIZE)


class Row(NamedTuple):
    """What a run appended to the store: `keys` are identities of 16 bytes; `at` Unix seconds, `ttl` seconds or None.

    `id` is the number of what was done, or among the run's own ones that of the claim that is made or released.
    """

    id: int
    run: int
    kind: int
    at: float
    ttl: float | None
    keys: bytes


class New(NamedTuple):
    """A row that is to be appended: what a run did, when (Unix seconds), and for how many seconds that counts."""

    run: int
    scope: int
    at: float
    ttl: float | None
    keys: bytes
    records: bytes


def fresh_until(key: bytes, done_at: float, ttl: float | None) -> float:
    """Return the moment (Unix seconds) at which what was done is no longer remembered.

    A life is up to a tenth shorter than `ttl`, by the last byte of the key, so that what was done in one night does not
    run out at one moment. All runs agree on it. A clock that was put back makes nothing older.

    >>> fresh_until(bytes(16), 1000.0, 60.0), fresh_until(bytes([128]) * 16, 1000.0, 60.0)
    (1060.0, 1057.0)
    """
    return inf if ttl is None else done_at + ttl * (1 - _JITTER * key[-1] / 256)


def shorter(one: float | None, other: float | None) -> float | None:
    """Return the shorter of two times to live; None is for ever."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def split_keys(keys: bytes) -> list[bytes]:
    """Return a row of identities one by one."""
    return [keys[at : at + KEY_SIZE] for at in range(0, len(keys), KEY_SIZE)]


def wanted_of(answer: Answer, identities: Identities, dead: Container[bytes] = ()) -> dict[str | None, bytes]:
    """Return the identities of a batch that this run would run, by the handler that the line chose.

    Left out is what is no job, what this run has taken, contradicts its owner, or is `dead` here, and what a record of
    an earlier run settles or makes a duplicate: nobody else should wait for that.
    """
    settled, taken = identities.settled, identities.taken
    notes = dict(answer.notes)
    found: dict[str | None, list[bytes]] = {}
    seen: set[bytes] = set()
    over: set[bytes] = set()  # dead, or wanted already
    for index, key in enumerate(split_keys(answer.keys)):
        note = notes.get(index, {})
        if "blank" in note or "reason" in note or key in taken or key in dead or key in over:
            continue
        if identities.is_contradiction(key, _given(answer, index)):
            continue
        status = _settled_as(answer, index, key, settled) if settled.records else None
        if status == "dead":
            over.add(key)  # and with it those that follow
        # A second line of one identity may find no further record.
        if status is None or (status not in ("completed", "dead") and key in seen):
            found.setdefault(note.get("asks", {}).get("handler"), []).append(key)
            over.add(key)
        seen.add(key)
    return {handler: b"".join(keys) for handler, keys in found.items()}


def _settled_as(answer: Answer, index: int, key: bytes, settled: Settled) -> str | None:
    """Return what an earlier run made of a line, "completed" also where it would be a duplicate of that."""
    claim = claim_key(key, _given(answer, index))
    if settled.done_at(claim) is not None:
        return "completed"
    return settled.peek(claim, answer.own_ids[ID_SIZE * index : ID_SIZE * (index + 1)] or bytes(ID_SIZE))


def _given(answer: Answer, index: int) -> bytes | None:
    """Return the hash of the payload of a line whose key is given, None of others."""
    given = answer.hashes[KEY_SIZE * index : KEY_SIZE * (index + 1)]
    return given if given and given != _NO_HASH else None


class Recall:
    """The rows of the store that one run has read, as far as they matter to it.

    `ttl` is this run's own; of two the shorter one counts.

    >>> recall = Recall(run=1, ttl=None)
    >>> recall.learn(Row(1, 2, CLAIM, 0.0, None, b"a" * 16 + b"b" * 16))
    >>> recall.learn(Row(2, 2, DONE, 0.0, None, b"a" * 16))
    >>> sorted(recall.judge(b"a" * 16 + b"b" * 16 + b"c" * 16, 1.0, lambda run: True).values())
    ['elsewhere', 'remembered']
    >>> recall.judge(b"b" * 16, 1.0, lambda run: False)
    {}
    """

    def __init__(self, run: int, ttl: float | None) -> None:
        self._run = run
        self._ttl = ttl
        self.cursor = 0
        self._done: dict[bytes, int] = {}
        self._claims: dict[bytes, int] = {}
        self._rows: dict[tuple[int, int], bytes] = {}  # of claims, by run and number
        self._lives: dict[int, tuple[float, float | None]] = {}

    def learn(self, row: Row) -> None:
        """Take what another run appended; this run knows its own."""
        if row.kind == DONE:
            self.cursor = max(self.cursor, row.id)
        if row.run == self._run:
            return
        if row.kind == DONE:
            self._done.update(zip(split_keys(row.keys), repeat(row.id)))
            self._lives[row.id] = (row.at, row.ttl)
        elif row.kind == CLAIM:
            self._claims.update(zip(split_keys(row.keys), repeat(row.run)))
            self._rows[row.run, row.id] = row.keys
        elif row.kind == RELEASE:
            self._release(row.run, row.keys)
        else:
            self._release(row.run, self._rows.pop((row.run, row.id), b""))

    def _release(self, run: int, keys: bytes) -> None:
        for key in split_keys(keys):
            if self._claims.get(key) == run:
                del self._claims[key]

    def judge(self, row: bytes, now: float, is_alive: Callable[[int], bool]) -> dict[bytes, str]:
        """Return REMEMBERED or ELSEWHERE for each identity that may not run here; a dead run's claims are dropped."""
        if not self._done and not self._claims:
            return {}
        keys = split_keys(row)
        found: dict[bytes, str] = {}
        if not self._done.keys().isdisjoint(keys):
            found = {key: REMEMBERED for key in keys if self._is_remembered(key, now)}
        if self._claims.keys().isdisjoint(keys):
            return found
        holders = {self._claims[key] for key in keys if key in self._claims}
        for run in holders:
            if not is_alive(run):
                self.drop_run(run)
        return {key: ELSEWHERE for key in keys if key in self._claims} | found

    def find(self, key: bytes) -> tuple[int, float, float | None] | None:
        """Return the row with which another run did an identity, when that was, and for how long it counts."""
        row = self._done.get(key)
        return None if row is None else (row, *self._lives[row])

    def fresh_until(self, key: bytes, done_at: float, ttl: float | None) -> float:
        """Return until when what was done counts for this run."""
        return fresh_until(key, done_at, shorter(ttl, self._ttl))

    def _is_remembered(self, key: bytes, now: float) -> bool:
        row = self._done.get(key)
        return row is not None and now < self.fresh_until(key, *self._lives[row])

    def drop_claims(self) -> None:
        """Forget all that is claimed: it is to be learnt anew."""
        self._claims, self._rows = {}, {}

    def drop_run(self, run: int) -> None:
        """Take a run for dead: what it had claimed is free."""
        self._claims = {key: holder for key, holder in self._claims.items() if holder != run}
        self._rows = {place: keys for place, keys in self._rows.items() if place[0] != run}


def leave_out(known: Mapping[bytes, str], keys: bytes) -> bytes:
    """Return the identities of a row that nothing is known of."""
    return b"".join(key for key in split_keys(keys) if key not in known) if known else keys
