"""Counts a run's files again: reads all records, lets every line take its own, and says what does not add up."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from jqcli.config import HandlerSpec, VerifySettings
from jqcli.core.audit import LETTERS, RESULTS, Audit, Spot, unpack_spot
from jqcli.core.codec import Scheme
from jqcli.core.prepare import Lines
from jqcli.core.record import Record, find_plain, is_broken, parse_letter, parse_result, plain_results
from jqcli.edge.account import Account, Place
from jqcli.edge.feed import wait_for
from jqcli.edge.outputs import journal_path
from jqcli.edge.recorded import Recorded
from jqcli.edge.source import Oversized, Source
from jqcli.errors import printable
from jqcli.tag import Keys, explain_tag, find_difference, tag_of

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterable, Iterator, Sequence

_BLOCK_LINES = 4096
_BLOCK_BYTES = 1 << 17


class _Letter(NamedTuple):
    """What a letter says of the run that wrote it."""

    tag: str
    handler: str | None
    input_format: str | None


def verify(settings: VerifySettings) -> Account:
    """Count again and return what was found; raises FileError where a file cannot be read. Nothing is changed."""
    with ExitStack() as stack:
        source = Source(settings.inputs, max_line=settings.max_line)
        stack.callback(source.close)
        results = stack.enter_context(Recorded(settings.output))
        letters = stack.enter_context(Recorded(settings.dlq, may_miss=True))
        output = journal_path(settings.output) or ""
        letter = _peek_letter(letters, output)
        keys = _keys_of(settings, letter)
        tag = _peek_tag(results, letter) if settings.handler is None else tag_of(keys)
        names = tuple(handler.name for handler in settings.handlers if handler.name is not None)
        scheme = Scheme(keys.input_format, settings.key, settings.tenant, names)
        audit = Audit(tag, output, scheme, mark=f"a{os.urandom(12).hex()}", dedupe=settings.dedupe)
        torn = _read_results(results, audit, tag) + _read_letters(letters, audit)
        _take_lines(source, audit, settings.limit)
        return _make_account(source.names, (results, letters), audit, keys, torn)


# Whose records


def _peek_letter(letters: Recorded, output: str) -> _Letter | None:
    """Return what the first letter of this run says, or else the first of a run whose results went to a stream."""
    streamed = None
    for _, block in letters.read():
        for line in block.split(b"\n")[:-1]:
            letter = parse_letter(line)
            named = None if letter is None else letter.members.get("output")
            if letter is None or named not in (output, None):
                continue
            told = _Letter(letter.tag, _text_at(letter, "handler"), _text_at(letter, "input_format"))
            if named == output:
                return told
            streamed = streamed or told
    return streamed


def _text_at(letter: Record, member: str) -> str | None:
    found = letter.members.get(member)
    return found if isinstance(found, str) else None


def _peek_tag(results: Recorded, letter: _Letter | None) -> str:
    for _, block in results.read():
        for line in block.split(b"\n")[:-1]:
            record = parse_result(line)
            if record is not None:
                return record.tag
    return "" if letter is None else letter.tag


def _keys_of(settings: VerifySettings, letter: _Letter | None) -> Keys:
    """Return what the keys depend on: as asked, else as the letters say, else the default."""
    said = letter.input_format if letter is not None else None
    handler = settings.handler or HandlerSpec(None, (letter.handler if letter is not None else None) or "")
    return Keys(handler, settings.handlers, settings.key, settings.input_format or said or "auto")


# Records and lines


def _read_results(results: Recorded, audit: Audit, tag: str) -> list[Spot]:
    """Add all results; return the lines that are broken off."""
    plain = plain_results(tag)
    torn: list[Spot] = []
    for number, block in results.read():
        found = find_plain(plain, block)
        if found is not None:
            audit.add_plain(found, number)
        else:
            torn += _read_each(block, number, RESULTS, parse_result, audit.add_result)
    return torn + ([Spot(RESULTS, results.torn)] if results.torn else [])


def _read_letters(letters: Recorded, audit: Audit) -> list[Spot]:
    torn: list[Spot] = []
    for number, block in letters.read():
        torn += _read_each(block, number, LETTERS, parse_letter, audit.add_letter)
    return torn + ([Spot(LETTERS, letters.torn)] if letters.torn else [])


def _read_each(
    block: bytes,
    number: int,
    file: int,
    parse: Callable[[bytes], Record | None],
    add: Callable[[Record | None, int], None],
) -> Iterable[Spot]:
    """Add a block's records one by one; return the lines that are broken off."""
    torn = []
    for at, line in enumerate(block.split(b"\n")[:-1], number):
        record = parse(line)
        if record is None and is_broken(line):
            torn.append(Spot(file, at))
        else:
            add(record, at)
    return torn


def _take_lines(source: Source, audit: Audit, limit: int | None) -> None:
    """Let every line of the inputs take its record, until `limit` jobs have come."""
    left = _BLOCK_LINES if limit is None else limit
    while left > 0 and not source.ended:
        part = source.cut(min(_BLOCK_LINES, left), _BLOCK_BYTES, time.monotonic())
        if part is None:
            wait_for(source)
            continue
        jobs = 1
        if isinstance(part, Oversized):
            audit.take_oversized(part.digest, part.source, part.line)
        else:
            names = source.names[part.source], source.stems[part.source]
            jobs = audit.take(Lines(part.data, part.lines, *names, part.first_line), part.source)
        left -= 0 if limit is None else jobs


# What came of it


class _Places(Collection[Place]):
    """Packed lines of some files, made into places only when they are looked at; `groups` are (why, lines)."""

    def __init__(self, files: Sequence[str], groups: Sequence[tuple[str, array[int]]]) -> None:
        self._files = files
        self._groups = groups

    def __len__(self) -> int:
        return sum(len(spots) for _, spots in self._groups)

    def __iter__(self) -> Iterator[Place]:
        for why, spots in self._groups:
            for spot in map(unpack_spot, spots):
                yield Place(self._files[spot.file], spot.line, why)

    def __contains__(self, place: object) -> bool:
        return any(each == place for each in self)


def _make_account(
    names: Sequence[str], files: tuple[Recorded, Recorded], audit: Audit, keys: Keys, torn: list[Spot]
) -> Account:
    paths = tuple(printable(file.path) for file in files)
    left = audit.find_left()

    def place(spot: Spot, why: str = "", beside: Place | None = None) -> Place:
        return Place(paths[spot.file], spot.line, why, beside)

    return Account(
        lines=audit.lines,
        outcomes=audit.outcomes,
        missing=_Places(names, [("", audit.missing)]),
        double=[place(spot, beside=place(beside)) for spot, beside in left.doubles],
        torn=[place(spot, _why_torn(spot, files)) for spot in torn],
        foreign=_Places(
            paths, [(explain_tag(keys, tag) if tag else "no record", spots) for tag, spots in audit.foreign.items()]
        ),
        orphans=_Places(paths, [("", left.orphans)]),
        others=audit.others.total(),
        tag=audit.tag,
        held_by=files[RESULTS].holder,
        notes=_notes_of(audit, keys, paths[RESULTS]),
    )


def _why_torn(spot: Spot, files: tuple[Recorded, Recorded]) -> str:
    file = files[spot.file]
    return f"the last line, {file.torn_bytes:,} bytes and no newline" if spot.line == file.torn else "no whole record"


def _notes_of(audit: Audit, keys: Keys, results: str) -> list[str]:
    """Return what may be the reason where lines have no record."""
    if not audit.missing:
        return []
    notes = []
    difference = find_difference(keys, audit.tag)
    if difference is not None:
        notes.append(f"{results}: {difference}; say the same here")
    elif not any(audit.outcomes.values()) and audit.has_records:
        notes.append("no line fits any record: is --key, --input-format or --handler missing here?")
    for output, count in audit.others.most_common(1):
        notes.append(f"{count:,} letters are of a run whose results went to {output}, and settle nothing here")
    return notes
