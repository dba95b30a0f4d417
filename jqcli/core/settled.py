"""What earlier runs have settled, by identity. Law 6: identity counts, never the line number.

A line with an id of its own takes only a record with its identity and id; a line whose id was made up takes any
unclaimed record of its identity whose id was made up. A letter of a given key settles only its own payload.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jqcli.core.codec import hash_bytes
from jqcli.core.prepare import ID_SIZE, mark_id

if TYPE_CHECKING:
    from jqcli.model import First

STATUSES = ("completed", "duplicate", "skipped", "dead", "conflict")
_MADE_ID = re.compile(rb'".*:[0-9]+"', re.DOTALL)
_NO_ID = bytes(ID_SIZE)

# One integer a record keeps a million of them in memory: 8 bytes of id, 1 bit "id looks made up", 3 bits of status,
# 1 bit "claimed", and the offset above.
_ID_BITS = 64
_MADE = 1 << 64
_STATUS_SHIFT = 65
_CLAIMED = 1 << 68
_OFFSET_SHIFT = 69


def claim_key(key: bytes, payload_hash: bytes | None) -> bytes:
    """Return what a record settles: its identity, and its payload too where the key was given."""
    return key if payload_hash is None else hash_bytes(key + payload_hash)


@dataclass(slots=True)
class Settled:
    """The records of earlier runs. `owners` are the payload hashes of given keys that completed or were skipped."""

    records: dict[bytes, int | list[int]] = field(default_factory=dict)
    owners: dict[bytes, bytes] = field(default_factory=dict)
    dead: dict[bytes, First] = field(default_factory=dict)
    count: int = 0

    def add(self, claim: bytes, id_json: bytes, status: str, offset: int) -> None:
        """Remember one record; `id_json` is its id's JSON text, `offset` its place in its file."""
        entry = int.from_bytes(mark_id(id_json), "little") | STATUSES.index(status) << _STATUS_SHIFT
        entry |= offset << _OFFSET_SHIFT
        if _MADE_ID.fullmatch(id_json):
            entry |= _MADE
        self.count += 1
        known = self.records.get(claim)
        if known is None:
            self.records[claim] = entry
        elif isinstance(known, list):
            known.append(entry)
        else:
            self.records[claim] = [known, entry]

    def add_redriven(self, claim: bytes, id_json: bytes, status: str, offset: int) -> None:
        """Remember one letter of a redriven job, which supersedes the job's earlier one."""
        wanted = int.from_bytes(mark_id(id_json), "little")
        known = self.records.get(claim, [])
        for entry in known if isinstance(known, list) else (known,):
            if entry & (_MADE - 1) == wanted and STATUSES[entry >> _STATUS_SHIFT & 7] in ("dead", "conflict"):
                return
        self.add(claim, id_json, status, offset)

    def claim(self, claim: bytes, own_id: bytes) -> str | None:
        """Take the record that settles a line and return its status; None where there is none.

        `own_id` is the line's `mark_id`, zero where its id was made up.
        """
        known = self.records.get(claim)
        if known is None:
            return None
        entries = known if isinstance(known, list) else [known]
        wanted = int.from_bytes(own_id, "little")
        for at, entry in enumerate(entries):
            fits = entry & _MADE if own_id == _NO_ID else entry & (_MADE - 1) == wanted
            if fits and not entry & _CLAIMED:
                entries[at] = entry | _CLAIMED
                if not isinstance(known, list):
                    self.records[claim] = entries[0]
                return STATUSES[entry >> _STATUS_SHIFT & 7]
        return None

    def done_at(self, claim: bytes) -> int | None:
        """Return the offset of the record with which an identity completed or was skipped, if it did."""
        known = self.records.get(claim)
        if known is None:
            return None
        for entry in known if isinstance(known, list) else (known,):
            if STATUSES[entry >> _STATUS_SHIFT & 7] in ("completed", "skipped"):
                return entry >> _OFFSET_SHIFT
        return None
