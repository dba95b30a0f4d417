"""What the next run would do: reads the inputs and the journal, says what it found, and changes nothing."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

import orjson

from jqcli.assembly import destination_of
from jqcli.core.forecast import EARLIER, Forecast, Foretold
from jqcli.core.prepare import Lines
from jqcli.edge.feed import wait_for
from jqcli.edge.outputs import read_settled
from jqcli.edge.source import Block, Oversized, Source
from jqcli.edge.stderr import say
from jqcli.edge.text import safe
from jqcli.run import refuse_records, scheme_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jqcli.config import Settings

_BLOCK_LINES = 4096
_BLOCK_BYTES = 1 << 17
_BAD_SHOWN = 10
_LINE = 500
_STDOUT = 1
_INVALID = ("invalid_json", "invalid_job", "line_too_long")
_ACTIONS = {"run": "runs", "duplicate": "duplicate", "dead": "dead", "settled": "settled"}


@dataclass(slots=True)
class Outlook:
    """What was counted: lines by kind, dead ones by reason, settled ones by status, and the first bad lines."""

    kinds: Counter[str] = field(default_factory=Counter)
    dead: Counter[str] = field(default_factory=Counter)
    settled: Counter[str] = field(default_factory=Counter)
    bad: list[Foretold] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether no line is dead, or would be without an attempt."""
        return not self.dead and not self.settled["dead"] and not self.settled["conflict"]

    def note(self, told: Foretold) -> None:
        """Count what was said of some lines."""
        if told.kind == "blank":
            return
        self.kinds[told.kind] += told.lines
        if told.kind == "dead":
            self.dead[told.reason] += told.lines
            if len(self.bad) < _BAD_SHOWN:
                self.bad.append(told)
        elif told.kind == "settled":
            self.settled[told.reason] += told.lines

    def to_object(self) -> dict[str, object]:
        """Return all of it for programs."""
        read = self.kinds.total()
        invalid = sum(self.dead[reason] for reason in _INVALID)
        return {
            "read": read,
            "valid": read - invalid - self.kinds["settled"],
            "invalid": invalid,
            **{name: self.kinds[kind] for name, kind in (("run", "run"), ("duplicate", "duplicate"))},
            "settled": dict(self.settled),
            "dead": dict(self.dead),
            "bad": [{"line": one.where, "reason": one.reason, "message": one.why} for one in self.bad],
        }


def preview(settings: Settings, *, explain: bool, as_json: bool) -> int:
    """Say on stdout what a run would do, line by line with `explain`; return 0 where all is well, 1 where not."""
    outlook = Outlook()
    for where, told in _foretell(settings, 1 if explain else _BLOCK_LINES):
        outlook.note(told)
        if explain and told.kind != "blank":
            _write(_explained_object(where, told) if as_json else _explained(where, told))
    if not explain:
        _write(_to_json(outlook.to_object()) if as_json else _to_text(outlook))
    sys.stdout.flush()
    if settings.store is not None and not settings.quiet:
        say(f"{settings.store} was not asked: what it remembers will be duplicates")
    return 0 if outlook.is_clean else 1


def _foretell(settings: Settings, most: int) -> Iterator[tuple[str, Foretold]]:
    """Yield where a block begins and what becomes of its lines, in the order of the input."""
    for path in settings.inputs:
        refuse_records(path)
    source = Source(settings.inputs, max_line=settings.max_line)
    settled = read_settled(destination_of(settings, _STDOUT, lambda: True))
    mark = "m" + os.urandom(8).hex()
    forecast = Forecast(scheme_of(settings), settled, mark, dedupe=settings.dedupe)
    left = inf if settings.limit is None else settings.limit
    try:
        while left > 0 and not source.ended:
            part = source.cut(int(min(most, left)), _BLOCK_BYTES, time.monotonic())
            if part is None:
                wait_for(source)
                continue
            name, stem = source.names[part.source], source.stems[part.source]
            if isinstance(part, Oversized):
                left -= 1
                yield f"{name}:{part.line}", forecast.take_oversized(part, name)
                continue
            for told in _take(forecast, part, name, stem):
                left -= 0 if told.kind == "blank" else told.lines
                yield f"{name}:{part.first_line}", told
    finally:
        source.close()


def _take(forecast: Forecast, part: Block, name: str, stem: str) -> list[Foretold]:
    return forecast.take(part.source, Lines(part.data, part.lines, name, stem, part.first_line), time.time())


def _explained(where: str, told: Foretold) -> str:
    """Return what becomes of one line, and why, for people."""
    why = {
        "run": told.why,
        "duplicate": "done in an earlier run" if told.why == EARLIER else f"of {told.why}, whose fate it shares",
        "dead": f"{told.reason}: {told.why}",
        "settled": f"{told.reason} in an earlier run",
    }[told.kind]
    return safe(f"{where}: {_ACTIONS[told.kind]}{f' ({why})' if why else ''}", _LINE) + "\n"


def _explained_object(where: str, told: Foretold) -> str:
    said = {"line": where, "action": told.kind, "reason": told.reason or None, "why": told.why or None}
    return _to_json(said)


def _to_text(outlook: Outlook) -> str:
    """Return the counts and the first bad lines, for people."""
    said = outlook.to_object()
    rows = [("would run", outlook.kinds["run"]), ("duplicate", outlook.kinds["duplicate"])]
    rows += [(f"settled: {status}", count) for status, count in sorted(outlook.settled.items())]
    rows += [(f"dead: {reason}", count) for reason, count in sorted(outlook.dead.items())]
    rows = [row for row in rows if row[1] or row[0] == "would run"]
    wide = max(len(f"{count:,}") for _, count in [*rows, ("", outlook.kinds.total())])
    lines = [f"  {name:<28}{count:>{wide},}" for name, count in [*rows, ("read", outlook.kinds.total())]]
    lines += ["", f"  {said['valid']:,} valid, {said['invalid']:,} invalid"]
    bad = [safe(f"  {one.where}: {one.reason}: {one.why}", _LINE) for one in outlook.bad]
    rest = outlook.dead.total() - len(bad)
    more = [f"  … and {rest:,} more; --explain shows all"] if rest > 0 else []
    return "\n".join([*lines, *([""] if bad else []), *bad, *more]) + "\n"


def _to_json(said: Mapping[str, object]) -> str:
    return orjson.dumps(said, None, orjson.OPT_APPEND_NEWLINE).decode()


def _write(text: str) -> None:
    sys.stdout.write(text)
