"""Which lines of a batch may run. Law 2: once per identity. Rulings are made in input order.

A batch of new, plain jobs is ruled as a whole; that is what keeps the parent's share of a small job at a quarter of a
microsecond. Everything else is ruled line by line.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from jqcli.core.codec import KEY_SIZE
from jqcli.core.prepare import ID_SIZE, NO_ID
from jqcli.core.settled import Settled, claim_key
from jqcli.core.taken import Taken

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jqcli.core.event import Answer

_NO_HASH = bytes(KEY_SIZE)
_NOTHING: Mapping[bytes, str] = MappingProxyType({})


@dataclass(slots=True)
class Finding:
    """What a ruling says of a line that does not simply run.

    `kind`: unusable, duplicate, conflict, asks (it may run, and asks for something), or what `core/recall.py` says of
    it: remembered, elsewhere; `detail`: an unusable line's note, or what a line asks for.
    """

    index: int
    kind: str
    detail: Any = None


class Ruling(NamedTuple):
    """The indexes that may run (None: all), and what there is to say of the other lines.

    `passed` are the indexes of lines that need no record of this run, `statuses` how many of them there are by status
    (None: blank), `dead` the identities among them that an earlier run buried.
    """

    order: array[int] | None
    findings: list[Finding]
    passed: list[int]
    statuses: dict[str | None, int]
    dead: list[bytes]


class Identities:
    """Rules over the identities of this run and of those before it."""

    def __init__(self, settled: Settled, *, dedupe: bool) -> None:
        self.settled = settled
        self.taken = Taken()
        self._owners: dict[bytes, bytes] = dict(settled.owners)
        self._dedupe = dedupe

    def adopt(self, key: bytes, payload_hash: bytes | None, batch: int, index: int) -> None:
        """Take one identity that another run had, and let go of."""
        if payload_hash is not None:
            self._owners.setdefault(key, payload_hash)
        self.taken.add(key, batch, index)

    def owner_of(self, key: bytes) -> bytes | None:
        """Return the payload hash of the job that owns a given key."""
        return self._owners.get(key)

    def is_contradiction(self, key: bytes, payload_hash: bytes | None) -> bool:
        """Tell whether another job owns a key that a line gives."""
        return self._dedupe and payload_hash is not None and self._owners.get(key, payload_hash) != payload_hash

    def rule(self, batch: int, answer: Answer) -> Ruling:
        """Rule over a batch and take its identities."""
        whole = self.rule_whole(batch, answer)
        return self.rule_each(batch, answer) if whole is None else whole

    def rule_whole(self, batch: int, answer: Answer) -> Ruling | None:
        """Rule over a batch if it is of new, plain jobs alone; else return None, and nothing is taken."""
        is_plain = not answer.notes and not answer.hashes and not self.settled.records
        if is_plain and (not self._dedupe or self.taken.add_all(answer.keys, batch)):
            return Ruling(None, [], [], {}, [])
        return None

    def rule_each(self, batch: int, answer: Answer, known: Mapping[bytes, str] = _NOTHING) -> Ruling:
        """Rule over a batch line by line; `known` are the identities that the store has, by what it says of them."""
        notes = dict(answer.notes)
        ruling = Ruling(array("I"), [], [], {}, [])
        order, statuses = array("I"), ruling.statuses
        keys = self.taken.split(answer.keys)
        for index, (key, payload_hash, own_id) in enumerate(zip(keys, *_columns(answer, len(keys)), strict=True)):
            note = notes.get(index) if notes else None
            is_usable = note is None or "asks" in note
            status: str | None = None
            if note is None or "blank" not in note:
                status = self._claim(key, payload_hash, own_id)
                if status is None:
                    is_foreign = key in known and is_usable and key not in self.taken
                    found = (
                        Finding(index, known[key])
                        if is_foreign
                        else self._rule_line(batch, index, key, payload_hash, note)
                    )
                    if found is not None:
                        ruling.findings.append(found)
                    if found is None or found.kind == "asks":
                        order.append(index)
                    continue
                if status == "dead" and is_usable and key not in self.taken:
                    ruling.dead.append(key)
                    if self._dedupe:
                        self.taken.add(key, batch, index)
            ruling.passed.append(index)
            statuses[status] = statuses.get(status, 0) + 1
        return ruling._replace(order=None if len(order) == len(keys) else order)

    def _claim(self, key: bytes, payload_hash: bytes | None, own_id: bytes) -> str | None:
        """Return the status of the earlier record that settles a line, None where there is none."""
        if not self.settled.records:
            return None
        status = self.settled.claim(key if payload_hash is None else claim_key(key, payload_hash), own_id)
        if status is None:
            return None
        if status != "conflict" and payload_hash is not None:
            self._owners.setdefault(key, payload_hash)
        return status

    def _rule_line(
        self, batch: int, index: int, key: bytes, payload_hash: bytes | None, note: dict[str, Any] | None
    ) -> Finding | None:
        """Return what there is to say of a line of this run; None where it simply runs."""
        if note is not None and "asks" not in note:
            return Finding(index, "unusable", note)
        if self._dedupe:
            if payload_hash is not None and self._owners.setdefault(key, payload_hash) != payload_hash:
                return Finding(index, "conflict")
            if key in self.taken or self.settled.done_at(claim_key(key, payload_hash)) is not None:
                return Finding(index, "duplicate")
            self.taken.add(key, batch, index)
        return None if note is None else Finding(index, "asks", note["asks"])


def _columns(answer: Answer, count: int) -> tuple[Iterable[bytes | None], Iterable[bytes]]:
    """Return the payload hashes of given keys (None: the key was not given) and the marks of ids, line by line."""
    hashes: Iterable[bytes | None] = repeat(None, count)
    if answer.hashes:
        rows = (answer.hashes[at : at + KEY_SIZE] for at in range(0, KEY_SIZE * count, KEY_SIZE))
        hashes = [None if row == _NO_HASH else row for row in rows]
    if not answer.own_ids:
        return hashes, repeat(NO_ID, count)
    return hashes, [answer.own_ids[at : at + ID_SIZE] for at in range(0, ID_SIZE * count, ID_SIZE)]
