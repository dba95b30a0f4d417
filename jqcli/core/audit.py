"""Law 1, counted again: every line of the input is exactly one record.

Theory: all records are remembered by identity, and then every line takes the one that is its own, by the rules of
going on (law 6). A line that finds none is missing. A record that is left over is double where a line took another
that says the same; else its line is gone from the input, and it is an orphan.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import orjson

from jqcli.core.codec import KEY_SIZE, Scheme, read_line
from jqcli.core.prepare import ID_SIZE, Lines, Prepared, id_text, mark_id, prepare
from jqcli.core.settled import Kept, Settled, claim_key
from jqcli.model import Job, Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jqcli.core.record import Record

RESULTS, LETTERS = 0, 1
STREAM = "stdout"  # what letters are counted under whose run's results went to a stream
_NO_HASH = bytes(KEY_SIZE)
_FILE_SHIFT = 40  # a spot is a line's number and, above it, which file it stands in
_NUMBER = (1 << _FILE_SHIFT) - 1
_FIRSTS = ("completed", "skipped", "dead")
# Letters of lines that say nothing of the first job with their identity; remembered as conflicts are.
_FOLLOWING = frozenset({"duplicate_of_dead", "key_conflict", "invalid_json", "invalid_job", "line_too_long"})


class Spot(NamedTuple):
    """A line: the index of its file (an input's, or RESULTS or LETTERS) and its number, from 1."""

    file: int
    line: int


def pack_spot(file: int, line: int) -> int:
    """Return a spot as one integer.

    >>> unpack_spot(pack_spot(1, 17))
    Spot(file=1, line=17)
    """
    return file << _FILE_SHIFT | line


def unpack_spot(packed: int) -> Spot:
    """Return the spot that an integer stands for."""
    return Spot(packed >> _FILE_SHIFT, packed & _NUMBER)


class Left(NamedTuple):
    """The records that no line has taken: (one too many, the one beside it), and packed, those whose line is gone."""

    doubles: list[tuple[Spot, Spot]]
    orphans: array[int]


class Audit:
    """Counts lines against records. First all records are added, then the lines take theirs.

    `output` is how letters name the results file; `mark` is text that begins with a letter and that no line can hold.
    With `dedupe`, an identity that has two records of its own was run twice, whatever their ids are.
    `foreign` holds packed spots by tag, "" for what is no record; `others` counts letters by the results that they
    name; `missing` holds packed spots of the input. Memory: some 200 bytes a record, 8 a line without one.
    """

    def __init__(self, tag: str, output: str, scheme: Scheme, *, mark: str, dedupe: bool) -> None:
        self.tag = tag
        self._output = output
        self._scheme = scheme
        self._mark = mark
        self._dedupe = dedupe
        self._settled = Settled()
        self._streamed = Settled()
        self._statuses: Counter[str] = Counter()
        self.lines = 0
        self.missing = array("Q")
        self.foreign: dict[str, array[int]] = {}
        self.others: Counter[str] = Counter()

    # Records

    def add_plain(self, found: tuple[Sequence[bytes], Sequence[bytes], Sequence[bytes]], line: int) -> None:
        """Remember a block of results as `find_plain` has found it; the first stands on that line."""
        self._settled.add_all(*found, pack_spot(RESULTS, line), 1)
        for status, count in Counter(found[2]).items():
            self._statuses[status.decode()] += count

    def add_result(self, record: Record | None, line: int) -> None:
        """Remember one result, or that there is none of ours on this line."""
        if record is None or record.tag != self.tag:
            self._refuse(record, RESULTS, line)
            return
        status = record.members["status"]
        self._settled.add(record.claim, record.id_json, status, pack_spot(RESULTS, line))
        self._statuses[status] += 1

    def add_letter(self, letter: Record | None, line: int) -> None:
        """Remember one dead letter.

        Letters that name other results are not ours. One of a run whose results went to a stream names none: it
        serves a line that has no other record, and is nobody's otherwise.
        """
        output = None if letter is None else letter.members.get("output")
        if letter is None or (output == self._output and letter.tag != self.tag):
            self._refuse(letter, LETTERS, line)
        elif output != self._output and (output is not None or letter.tag != self.tag):
            self.others[str(output)] += 1
        elif output is None:
            self._streamed.add(letter.claim, letter.id_json, "dead", line)
        else:
            status = "conflict" if letter.members["reason"] in _FOLLOWING else "dead"
            add = self._settled.add_redriven if letter.members.get("redrives") else self._settled.add
            before = self._settled.count
            add(letter.claim, letter.id_json, status, pack_spot(LETTERS, line))
            self._statuses[status] += self._settled.count - before

    def _refuse(self, record: Record | None, file: int, line: int) -> None:
        tag = "" if record is None else record.tag
        self.foreign.setdefault(tag, array("Q")).append(pack_spot(file, line))

    # Lines

    def take(self, lines: Lines, source: int) -> int:
        """Let whole lines of the input number `source` take their records; return how many are jobs."""
        prepared = prepare(lines, self._scheme, mark=self._mark, with_ids=True)
        claims, own_ids = _claims_of(prepared, lines.total)
        blank = {index for index, note in prepared.notes if "blank" in note}
        unsure = {index for index, note in prepared.notes if note.get("reason") == "invalid_job"}
        for index in self._settled.take_all(claims, own_ids):
            own_id = own_ids[ID_SIZE * index : ID_SIZE * (index + 1)]
            if index in blank or (index in unsure and self._take_by_name(lines, index)):
                continue
            self._take_streamed(claims[index], own_id, pack_spot(source, lines.first_number + index))
        self.lines += lines.total - len(blank)
        return lines.total - len(blank)

    def take_oversized(self, digest: bytes, source: int, line: int) -> None:
        """Let a line that was too long to be read take its letter."""
        self.lines += 1
        if self._settled.take_all([digest], bytes(ID_SIZE)):
            self._take_streamed(digest, bytes(ID_SIZE), pack_spot(source, line))

    def _take_streamed(self, claim: bytes, own_id: bytes, spot: int) -> None:
        if self._streamed.take_all([claim], own_id):
            self.missing.append(spot)
        else:
            self._statuses["dead"] += 1

    def _take_by_name(self, lines: Lines, index: int) -> bool:
        """Let a line take its record that names a handler which was registered only where it ran."""
        line = Line(lines.source, lines.stem, lines.first_number + index, lines.data.split(b"\n")[index])
        try:
            name = str(orjson.loads(line.data)["handler"])
        except (ValueError, TypeError, KeyError):
            return False
        job = read_line(line, self._scheme._replace(handlers=(*self._scheme.handlers, name)))
        if not isinstance(job, Job):
            return False
        own_id = mark_id(id_text(job.id) if job.has_own_id else b"")
        return not self._settled.take_all([claim_key(job.key, job.payload_hash)], own_id)

    # What came of it

    def find_left(self) -> Left:
        """Tell what the records are that no line has taken, in the order of their files; ask once, at the end."""
        doubles: list[tuple[Spot, Spot]] = []
        orphans = []
        for taken, others in self._settled.split_left():
            for kept in others:
                beside = _find_beside(kept, taken, dedupe=self._dedupe)
                self._statuses[kept.status] -= 1
                if beside is None:
                    orphans.append(kept.offset)
                else:
                    doubles.append((unpack_spot(kept.offset), unpack_spot(beside.offset)))
        unused = sum(len(others) for _, others in self._streamed.split_left())
        self.others += Counter({STREAM: unused})  # which drops a zero
        return Left(sorted(doubles), array("Q", sorted(orphans)))

    @property
    def has_records(self) -> bool:
        """Whether any record of this run was added."""
        return self._settled.count > 0

    @property
    def outcomes(self) -> dict[str, int]:
        """How many lines have which outcome, once `find_left` was asked."""
        dead = self._statuses["dead"] + self._statuses["conflict"]
        return {name: self._statuses[name] for name in ("completed", "duplicate", "skipped")} | {"dead": dead}


def _claims_of(prepared: Prepared, total: int) -> tuple[list[bytes], bytes]:
    """Return what the lines of a batch claim, and the marks of their ids."""
    digests = prepared.digests
    claims = [digests[at : at + KEY_SIZE] for at in range(0, KEY_SIZE * total, KEY_SIZE)]
    if prepared.hashes:
        hashes = [prepared.hashes[at : at + KEY_SIZE] for at in range(0, KEY_SIZE * total, KEY_SIZE)]
        claims = [key if each == _NO_HASH else claim_key(key, each) for key, each in zip(claims, hashes, strict=True)]
    return claims, prepared.own_ids


def _find_beside(kept: Kept, taken: list[Kept], *, dedupe: bool) -> Kept | None:
    """Return the taken record that a left one doubles: of the same id, or also one that was run."""
    same = next((each for each in taken if each.mark == kept.mark), None)
    if same is not None or not dedupe or kept.status not in _FIRSTS:
        return same
    return next((each for each in taken if each.status in _FIRSTS), None)
