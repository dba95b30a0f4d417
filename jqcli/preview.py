"""What the next run would do: reads the inputs and the journal, says what it found, and changes nothing."""

from __future__ import annotations

import os
import selectors
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING

import orjson

from jqcli.assembly import destination_of, scopes_of
from jqcli.core.forecast import EARLIER, Forecast, Foretold
from jqcli.core.prepare import Lines
from jqcli.edge.feed import wait_for
from jqcli.edge.outputs import read_settled
from jqcli.edge.source import Block, Oversized, Source
from jqcli.edge.stderr import say
from jqcli.edge.text import safe
from jqcli.errors import FileError, LockedError
from jqcli.remembered import Remembered
from jqcli.run import guard_stdout, make_engine, refuse_records, scheme_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jqcli.config import Settings
    from jqcli.policy import Policy

_BLOCK_LINES = 4096
_BLOCK_BYTES = 1 << 17
_BAD_SHOWN = 10
_LINE = 500
_STDOUT = 1
_INVALID = ("invalid_json", "invalid_job", "line_too_long")
_ACTIONS = {
    "run": "runs",
    "duplicate": "duplicate",
    "stored": "duplicate",
    "elsewhere": "waits",
    "dead": "dead",
    "settled": "settled",
}


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
            "run": self.kinds["run"],
            "duplicate": self.kinds["duplicate"],
            "in_store": self.kinds["stored"],
            "elsewhere": self.kinds["elsewhere"],
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
    return 0 if outlook.is_clean else 1


def _foretell(settings: Settings, most: int) -> Iterator[tuple[str, Foretold]]:
    """Yield where a block begins and what becomes of its lines, in the order of the input."""
    for path in settings.inputs:
        refuse_records(path)
    left = inf if settings.limit is None else settings.limit
    with ExitStack() as stack:
        source = Source(settings.inputs, max_line=settings.max_line)
        stack.callback(source.close)
        memory = _open_memory(settings, source)
        if memory is not None:
            stack.callback(memory.close)
        settled = read_settled(destination_of(settings, _STDOUT, lambda: True))
        mark = "m" + os.urandom(8).hex()
        forecast = Forecast(scheme_of(settings), settled, mark, dedupe=settings.dedupe, memory=memory)
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


def _open_memory(settings: Settings, source: Source) -> Remembered | None:
    """Return the store, read only; None without one, or where the run would make it, or go on without it."""
    if settings.store is None or not os.path.exists(settings.store):
        return None
    from jqcli.edge.storeview import StoreView  # noqa: PLC0415 - SQLite costs 5 ms, and most runs have no store

    policies = _load_policies(settings, source)
    try:
        return Remembered(StoreView(settings.store), scopes_of(settings, policies), settings.ttl)
    except (FileError, LockedError) as error:
        if settings.on_store_error == "stop":
            raise
        say(f"{error}; looking on without the store, as the run would")
        return None


def _load_policies(settings: Settings, source: Source) -> dict[str | None, Policy]:
    """Load the handlers, for what their code says of its version: that is a part of what a store knows them by."""
    with guard_stdout(), selectors.DefaultSelector() as selector:  # imports print
        engine = make_engine(replace(settings, workers=1), scheme_of(settings), source, selector, None)
        try:
            return engine.start(lambda: True)
        finally:
            engine.close(at_once=True)


def _take(forecast: Forecast, part: Block, name: str, stem: str) -> list[Foretold]:
    return forecast.take(part.source, Lines(part.data, part.lines, name, stem, part.first_line), time.time())


def _explained(where: str, told: Foretold) -> str:
    """Return what becomes of one line, and why, for people."""
    why = {
        "run": told.why,
        "duplicate": "done in an earlier run" if told.why == EARLIER else f"of {told.why}, whose fate it shares",
        "stored": f"of {told.why}, in the store",
        "elsewhere": "another run is doing it",
        "dead": f"{told.reason}: {told.why}",
        "settled": f"{told.reason} in an earlier run",
    }[told.kind]
    return safe(f"{where}: {_ACTIONS[told.kind]}{f' ({why})' if why else ''}", _LINE) + "\n"


def _explained_object(where: str, told: Foretold) -> str:
    action = "duplicate" if told.kind == "stored" else told.kind
    reason = "in_store" if told.kind == "stored" else told.reason or None
    said = {"line": where, "action": action, "reason": reason, "why": told.why or None}
    return _to_json(said)


def _to_text(outlook: Outlook) -> str:
    """Return the counts and the first bad lines, for people."""
    said = outlook.to_object()
    rows = [("would run", outlook.kinds["run"]), ("duplicate", outlook.kinds["duplicate"])]
    rows += [("duplicate, in store", outlook.kinds["stored"]), ("in another run", outlook.kinds["elsewhere"])]
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
