"""What earlier runs have settled, by identity. Law 6: identity counts, never the line number.

A line with an id of its own takes only a record with its identity and id; a line whose id was made up takes any
unclaimed record of its identity whose id was made up. A letter of a given key settles only its own payload.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import repeat
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from jqcli.core.codec import hash_bytes, hash_unusable
from jqcli.core.grave import Graves
from jqcli.core.prepare import ID_SIZE, NO_ID, mark_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STATUSES = ("completed", "duplicate", "skipped", "dead", "conflict")

# One integer a record keeps a million of them in memory: 8 bytes of id, 1 bit "id looks made up", 3 bits of status,
# 1 bit "claimed", and the offset above.
_MADE = 1 << 64
_STATUS_SHIFT = 65
_CLAIMED = 1 << 68
_OFFSET_SHIFT = 69
_STATUS_BITS = {status.encode(): number << _STATUS_SHIFT for number, status in enumerate(STATUSES)}


def _looks_made(id_json: bytes) -> bool:
    """Tell whether an id is a text that ends in `:` and digits, as those do that were made up."""
    _, colon, number = id_json.rpartition(b":")
    return bool(colon) and number[:-1].isdigit() and number[-1:] == b'"'


def claim_key(key: bytes, payload_hash: bytes | None) -> bytes:
    """Return what a record settles: its identity, and its payload too where the key was given."""
    return key if payload_hash is None else hash_bytes(key + payload_hash)


class Kept(NamedTuple):
    """One record as it is remembered: where to look for it, its status, and a number that stands for its id."""

    offset: int
    status: str
    mark: int


def _unpack(entry: int) -> Kept:
    return Kept(entry >> _OFFSET_SHIFT, STATUSES[entry >> _STATUS_SHIFT & 7], entry & (_MADE - 1))


def _fitting(entry: int, wanted: int | None) -> int | None:
    """Return a record that no line has taken, if it has this id, or one that was made up (None)."""
    fits = entry & _MADE if wanted is None else entry & (_MADE - 1) == wanted
    return entry if fits and not entry & _CLAIMED else None


class _Many:
    """The records of one identity that has several, so that taking one costs the same however many there are."""

    def __init__(self, entries: list[int]) -> None:
        self._entries = entries
        self._taken = bytearray(len(entries))
        backwards = range(len(entries) - 1, -1, -1)  # so that the first is at the end, where taking it is cheap
        self._made = [at for at in backwards if entries[at] & _MADE]
        self._by_id: dict[int, list[int]] = {}
        for at in backwards:
            self._by_id.setdefault(entries[at] & (_MADE - 1), []).append(at)

    def split(self) -> tuple[list[int], list[int]]:
        """Return the records that were taken, and the others."""
        both = list(zip(self._entries, self._taken, strict=True))
        return [entry for entry, taken in both if taken], [entry for entry, taken in both if not taken]

    def take(self, wanted: int | None) -> int | None:
        """Take a record with this id, or with one that was made up (None); return None where there is none."""
        at = self._next(wanted)
        if at is None:
            return None
        self._taken[at] = 1
        return self._entries[at]

    def peek(self, wanted: int | None) -> int | None:
        """Return the record that `take` would take."""
        at = self._next(wanted)
        return None if at is None else self._entries[at]

    def _next(self, wanted: int | None) -> int | None:
        places = self._made if wanted is None else self._by_id.get(wanted, [])
        while places and self._taken[places[-1]]:
            places.pop()
        return places[-1] if places else None


@dataclass(slots=True)
class Settled:
    """The records of earlier runs.

    `owners` are the payload hashes of given keys that completed or were skipped; `unread` the keys of lines that ended
    their workers when they were read, so that nobody knows what job they are.
    """

    records: dict[bytes, int | list[int]] = field(default_factory=dict)
    owners: dict[bytes, bytes] = field(default_factory=dict)
    dead: Graves = field(default_factory=Graves)
    unread: set[bytes] = field(default_factory=set)
    count: int = 0
    _many: dict[bytes, _Many] = field(default_factory=dict)

    def add(self, claim: bytes, id_json: bytes, status: str, offset: int) -> None:
        """Remember one record; `id_json` is its id's JSON text, `offset` where to look for it in its file."""
        entry = int.from_bytes(mark_id(id_json), "little") | STATUSES.index(status) << _STATUS_SHIFT
        entry |= offset << _OFFSET_SHIFT
        if _looks_made(id_json):
            entry |= _MADE
        self.count += 1
        self._put(claim, entry)

    def _put(self, claim: bytes, entry: int) -> None:
        known = self.records.get(claim)
        if known is None:
            self.records[claim] = entry
        elif isinstance(known, list):
            known.append(entry)
        else:
            self.records[claim] = [known, entry]

    def add_all(
        self, keys: Sequence[bytes], ids: Sequence[bytes], statuses: Sequence[bytes], offset: int, step: int = 0
    ) -> None:
        """Remember the records of a block, as `add` does one; a quarter of the cost.

        Each is to be looked for `step` behind the one before it, the first at `offset`.
        """
        marks = Struct("<" + "Q56x" * len(ids)).unpack(b"".join([blake2b(text).digest() for text in ids]))
        at = offset << _OFFSET_SHIFT
        to_next = step << _OFFSET_SHIFT
        spots = range(at, at + len(ids) * to_next, to_next) if step else repeat(at, len(ids))
        entries = [
            mark | _STATUS_BITS[status] | spot | (_MADE if b":" in text and _looks_made(text) else 0)
            for mark, status, text, spot in zip(marks, statuses, ids, spots, strict=True)
        ]
        fresh = dict(zip(keys, entries, strict=True))
        self.count += len(keys)
        if len(fresh) == len(keys) and self.records.keys().isdisjoint(fresh):
            self.records.update(fresh)
            return
        for key, entry in zip(keys, entries, strict=True):
            self._put(key, entry)

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
        wanted = None if own_id == NO_ID else int.from_bytes(own_id, "little")
        if isinstance(known, list):
            entry = self._many_of(claim, known).take(wanted)
        else:
            entry = _fitting(known, wanted)
            if entry is not None:
                self.records[claim] = entry | _CLAIMED
        return None if entry is None else STATUSES[entry >> _STATUS_SHIFT & 7]

    def peek(self, claim: bytes, own_id: bytes) -> str | None:
        """Return the status of the record that `claim` would take."""
        known = self.records.get(claim)
        if known is None:
            return None
        wanted = None if own_id == NO_ID else int.from_bytes(own_id, "little")
        entry = self._many_of(claim, known).peek(wanted) if isinstance(known, list) else _fitting(known, wanted)
        return None if entry is None else STATUSES[entry >> _STATUS_SHIFT & 7]

    def _many_of(self, claim: bytes, entries: list[int]) -> _Many:
        many = self._many.get(claim)
        if many is None:
            many = self._many[claim] = _Many(entries)
        return many

    def blank_unread(self, data: bytes) -> tuple[bytes, list[int]]:
        """Return whole lines with the `unread` among them emptied, and the indexes of these; each takes its letter."""
        if not self.unread:
            return data, []
        lines = data.split(b"\n")
        found: list[int] = []
        for index, line in enumerate(lines):
            key = hash_unusable(line)
            if key in self.unread and self.claim(key, NO_ID) is not None:
                lines[index] = b""
                found.append(index)
        return b"\n".join(lines), found

    def take_all(self, claims: Sequence[bytes], own_ids: bytes) -> list[int]:
        """Claim the records of many lines, as `claim` does one, and forget them; return the indexes that found none.

        `own_ids` is a row of `mark_id`s. What has no further record is gone afterwards, so `done_at` is of no use.
        """
        pop, put = self.records.pop, self.records.__setitem__
        missing = []
        wanted = Struct(f"<{len(claims)}Q").unpack(own_ids)
        for index, (claim, mark) in enumerate(zip(claims, wanted, strict=True)):
            entry = pop(claim, None)
            if type(entry) is int and (entry & (_MADE - 1) == mark if mark else entry & _MADE):
                continue
            if entry is not None:
                put(claim, entry)
            if entry is None or self.claim(claim, own_ids[ID_SIZE * index : ID_SIZE * (index + 1)]) is None:
                missing.append(index)
        return missing

    def split_left(self) -> Iterator[tuple[list[Kept], list[Kept]]]:
        """Yield, for each identity with records that no line has taken, those that were taken, and those that were not.

        Speaks of lines that were taken by `take_all`.
        """
        for claim, known in self.records.items():
            if isinstance(known, int):
                yield [], [_unpack(known)]
                continue
            many = self._many.get(claim)
            taken, left = many.split() if many is not None else ([], known)
            if left:
                yield list(map(_unpack, taken)), list(map(_unpack, left))

    def done_at(self, claim: bytes) -> int | None:
        """Return from which offset on the record stands with which an identity completed or was skipped, if it did."""
        known = self.records.get(claim)
        if known is None:
            return None
        for entry in known if isinstance(known, list) else (known,):
            if STATUSES[entry >> _STATUS_SHIFT & 7] in ("completed", "skipped"):
                return entry >> _OFFSET_SHIFT
        return None
