"""Says what a verification has found: a page for people, an object for programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import orjson

from jqcli.edge.text import safe

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_MOST_SHOWN = 10
_WHOLE = 10_000  # a path is there to be copied, so it is not cut


@dataclass(slots=True)
class Place:
    """A line of a file: its number (from 1), what is to be said of it, and the line that it stands beside."""

    file: str
    line: int
    why: str = ""
    beside: Place | None = None

    def __str__(self) -> str:
        """`file:line`, and the rest behind it."""
        beside = f" beside {self.beside}" if self.beside is not None else ""
        return f"{self.file}:{self.line}{beside}" + (f" ({self.why})" if self.why else "")

    def as_object(self) -> dict[str, object]:
        """Return the place for programs."""
        found: dict[str, object] = {"file": self.file, "line": self.line}
        if self.why:
            found["why"] = self.why
        if self.beside is not None:
            found["beside"] = self.beside.as_object()
        return found


@dataclass(slots=True)
class Account:
    """All that was found. The groups are whole; `outcomes` are lines by outcome, `others` letters of other runs."""

    lines: int
    outcomes: dict[str, int]
    missing: Collection[Place]
    double: Collection[Place]
    torn: Collection[Place]
    foreign: Collection[Place]
    orphans: Collection[Place]
    others: int
    tag: str
    held_by: int | None
    notes: list[str] = field(default_factory=list)

    @property
    def groups(self) -> dict[str, Collection[Place]]:
        """The findings by name."""
        return {"missing": self.missing, "double": self.double, "torn": self.torn, "foreign": self.foreign}

    @property
    def findings(self) -> int:
        """How many there are; orphans are none."""
        return sum(map(len, self.groups.values()))

    @property
    def exit_code(self) -> int:
        """0 where every line is exactly one record, 1 else."""
        return 1 if self.findings else 0


_SAID = {
    "missing": ("line has no record", "lines have no record"),
    "double": ("record beside another one of its line", "records beside another one of their line"),
    "torn": ("line is broken off", "lines are broken off"),
    "foreign": ("line is no record of this run", "lines are no records of this run"),
    "orphans": ("record whose line is gone from the input; no error", "records whose lines are gone; no error"),
}


def account_text(account: Account) -> str:
    """Return the page for people: no colour, at most 10 places a group, ending in a newline."""
    counts = [(name, number) for name, number in account.outcomes.items() if number]
    counts += [("missing", len(account.missing))] if account.missing else []
    counts.append(("lines", account.lines))
    digits = max(len(f"{number:,}") for _, number in counts)
    sections = [
        [_headline(account)],
        [f"  {name:<14}{number:>{digits},}" for name, number in counts],
        *(_group_lines(name, places) for name, places in (account.groups | {"orphans": account.orphans}).items()),
        [f"  {safe(note, _WHOLE)}" for note in _notes_of(account)],
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def account_object(account: Account) -> Iterator[bytes]:
    """Yield one JSON object, with every place, piece by piece: it may be larger than should be held at once."""
    head = {
        "exit_code": account.exit_code,
        "lines": account.lines,
        **account.outcomes,
        "findings": account.findings,
        "others": account.others,
        "tag": account.tag or None,
        "held_by": account.held_by,
        "notes": account.notes,
    }
    yield orjson.dumps(head)[:-1]
    for name, places in (account.groups | {"orphans": account.orphans}).items():
        yield b',"%b":{"count":%d,"at":[' % (name.encode(), len(places))
        for index, place in enumerate(places):
            yield (b"," if index else b"") + orjson.dumps(place.as_object())
        yield b"]}"
    yield b"}\n"


def _headline(account: Account) -> str:
    if not account.findings:
        said = "there are no lines" if not account.lines else "every line is exactly one record"
        return f"jq-run: clean, {said}"
    return f"jq-run: {account.findings:,} finding{'s' if account.findings > 1 else ''}"


def _notes_of(account: Account) -> list[str]:
    notes = list(account.notes)
    if account.others:
        said = "letter of another run was" if account.others == 1 else "letters of other runs were"
        notes.append(f"{account.others:,} {said} left alone")
    if account.held_by is not None:
        notes.append(f"process {account.held_by} is writing to the results right now; they may grow")
    return notes


def _group_lines(name: str, places: Collection[Place]) -> list[str]:
    if not places:
        return []
    one, many = _SAID[name]
    shown = [f"    {safe(str(place), _WHOLE)}" for place in islice(places, _MOST_SHOWN)]
    rest = len(places) - len(shown)
    more = [f"    … and {rest:,} more"] if rest else []
    return [f"  {name}: {len(places):,} {one if len(places) == 1 else many}", *shown, *more]
