"""Which lines of a batch may run. Law 2: once per identity. Rulings are made in input order.

A batch of new, plain jobs is ruled as a whole; that is what keeps the parent's share of a small job at a quarter of a
microsecond. Everything else is ruled line by line.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from jqcli.core.codec import KEY_SIZE
from jqcli.core.prepare import ID_SIZE
from jqcli.core.settled import Settled, claim_key
from jqcli.core.taken import Taken

if TYPE_CHECKING:
    from jqcli.core.event import Answer

_NO_HASH = bytes(KEY_SIZE)
_NO_ID = bytes(ID_SIZE)


@dataclass(slots=True)
class Finding:
    """What a ruling says of a line that does not simply run.

    `kind`: blank, unusable, settled, duplicate, conflict, or asks (it may run, and asks for something).
    `detail`: an unusable line's note, a settled line's status, what a line asks for.
    """

    index: int
    kind: str
    detail: Any = None


class Ruling(NamedTuple):
    """The indexes that may run (None: all) and what there is to say of lines."""

    order: array[int] | None
    findings: list[Finding]


class Identities:
    """Rules over the identities of this run and of those before it."""

    def __init__(self, settled: Settled, *, dedupe: bool) -> None:
        self.settled = settled
        self.taken = Taken()
        self._owners: dict[bytes, bytes] = dict(settled.owners)
        self._dedupe = dedupe

    def owner_of(self, key: bytes) -> bytes | None:
        """Return the payload hash of the job that owns a given key."""
        return self._owners.get(key)

    def rule(self, batch: int, answer: Answer) -> Ruling:
        """Rule over a batch and take its identities."""
        is_plain = not answer.notes and not answer.hashes and not self.settled.records
        if is_plain and (not self._dedupe or self.taken.add_all(answer.keys, batch)):
            return Ruling(None, [])
        return self._rule_each(batch, answer)

    def _rule_each(self, batch: int, answer: Answer) -> Ruling:
        notes = dict(answer.notes)
        order = array("I")
        findings: list[Finding] = []
        for index, key in enumerate(self.taken.split(answer.keys)):
            note = notes.get(index)
            if note is not None and "blank" in note:
                findings.append(Finding(index, "blank"))
                continue
            payload_hash = answer.hashes[index * KEY_SIZE : (index + 1) * KEY_SIZE] or _NO_HASH
            own_id = answer.own_ids[index * ID_SIZE : (index + 1) * ID_SIZE] or _NO_ID
            given = None if payload_hash == _NO_HASH else payload_hash
            found = self._rule_line(batch, key, given, own_id, note)
            if found is None:
                order.append(index)
                if note is not None:
                    findings.append(Finding(index, "asks", note["asks"]))
            else:
                findings.append(Finding(index, *found))
        is_whole = len(order) == len(answer.keys) // KEY_SIZE
        return Ruling(None if is_whole else order, findings)

    def _rule_line(
        self, batch: int, key: bytes, payload_hash: bytes | None, own_id: bytes, note: dict[str, Any] | None
    ) -> tuple[str, Any] | None:
        """Return kind and detail of a line that may not run."""
        is_usable = note is None or "asks" in note
        status = self.settled.claim(claim_key(key, payload_hash), own_id) if self.settled.records else None
        if status is not None:
            if status != "conflict" and payload_hash is not None:
                self._owners.setdefault(key, payload_hash)
            if status == "dead" and is_usable and self._dedupe:
                self.taken.add(key, batch)
            return "settled", status
        if not is_usable:
            return "unusable", note
        if not self._dedupe:
            return None
        if payload_hash is not None and self._owners.setdefault(key, payload_hash) != payload_hash:
            return "conflict", None
        if key in self.taken or self.settled.done_at(claim_key(key, payload_hash)) is not None:
            return "duplicate", None
        self.taken.add(key, batch)
        return None
