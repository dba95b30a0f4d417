"""What a run would do with each line, and why: a run's own rules, with every attempt taken for a success.

The lines go through the dispatch as they would in a run, so what is said here is what a run does. Nothing runs.
"""

from __future__ import annotations

from array import array
from math import inf
from typing import TYPE_CHECKING, NamedTuple, Protocol

from jqcli.core.batch import Sizer
from jqcli.core.burial import oversized_message
from jqcli.core.dedupe import Identities
from jqcli.core.dispatch import Dispatch
from jqcli.core.effect import Bury, Double, Effect, Pass, Prepare, Run, RunJobs
from jqcli.core.event import Answer
from jqcli.core.lane import Flow
from jqcli.core.prepare import NO_ID, Lines, Prepared, prepare
from jqcli.core.record import timestamp
from jqcli.core.rules import Moment, Rules
from jqcli.core.settled import claim_key
from jqcli.model import First
from jqcli.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jqcli.core.burial import OversizedLine
    from jqcli.core.codec import Scheme
    from jqcli.core.settled import Settled
    from jqcli.model import Job

EARLIER = "an earlier run"


class Memory(Protocol):
    """What runs before this one remember together."""

    def judge(self, wanted: Mapping[str | None, bytes]) -> Mapping[bytes, str]:
        """Return what those identities are, given by the handler that their lines chose, that would not be run."""

    def find(self, job: Job) -> First | None:
        """Return the first of an identity; None where its record is gone."""


class Foretold(NamedTuple):
    """What would become of some lines: `kind` is run, duplicate, stored, elsewhere, dead, settled or blank.

    `reason` is a dead letter's reason, or the status of the record that settles a line. `where` and `why` are empty
    where several lines are spoken of together.
    """

    kind: str
    reason: str = ""
    why: str = ""
    where: str = ""
    lines: int = 1


class Forecast:
    """The rules of a run over lines that come in the order of the input."""

    def __init__(self, scheme: Scheme, settled: Settled, mark: str, *, dedupe: bool, memory: Memory | None) -> None:
        self._memory = memory
        self._stored: set[bytes] = set()
        self._scheme = scheme
        self._settled = settled
        self._mark = mark
        rules = Rules(dict.fromkeys((None, *scheme.handlers), Policy()))
        identities = Identities(settled, dedupe=dedupe)
        self._dispatch = Dispatch(
            identities,
            rules,
            scheme,
            Sizer(None),
            self._find,
            Flow(),
            keeps_order=False,
            claim=None if memory is None else lambda wanted, _: memory.judge(wanted),
        )
        # By batch: where it begins; two numbers each, since there may be one batch a line.
        self._sources, self._firsts, self._sizes = array("I", [0]), array("Q", [0]), array("I", [1])
        self._names: dict[int, str] = {}

    def take(self, source: int, lines: Lines, now: float) -> list[Foretold]:
        """Return what becomes of a block of whole lines at this moment (Unix seconds)."""
        found = self._prepare(lines)
        moments = [note.get("asks", {}).get("not_before", 0.0) for _, note in found.notes]
        if lines.total > 1 and any(moments):  # each waits for a moment of its own
            return [each for line in _split(lines) for each in self.take(source, line, now)]
        work = self._dispatch.admit(source, lines.source, lines.stem, lines.first_number, lines.data, lines.total)
        assert isinstance(work, Prepare)  # noqa: S101 - that is what comes of new lines
        batch = work.work.batch
        self._note(source, lines)
        answer = Answer(batch, found.digests, found.hashes, found.own_ids, found.notes)
        told = self._settle(self._dispatch.take_answer(answer, Moment(0.0, now)), "")
        told += self._take_elsewhere()
        if self._dispatch.waiting:
            until = max(moments)
            self._note(source, lines)
            told += self._settle(self._dispatch.next_jobs(Moment(inf, until), 1), _say_moment(until))
        return told

    def _take_elsewhere(self) -> list[Foretold]:
        """Let the jobs go that would wait for another run."""
        waiting = self._dispatch.elsewhere.clear()
        return [Foretold("elsewhere", lines=waiting)] if waiting else []

    def take_oversized(self, part: OversizedLine, source: str) -> Foretold:
        """Return what becomes of a line that is too long to be read."""
        where = f"{source}:{part.line}"
        if self._settled.claim(claim_key(part.digest, None), NO_ID) is not None:
            return Foretold("settled", "dead", "", where)
        return Foretold("dead", "line_too_long", oversized_message(part), where)

    def _note(self, source: int, lines: Lines) -> None:
        """Remember where the dispatch's next batch stands."""
        self._names[source] = lines.source
        self._sources.append(source)
        self._firsts.append(lines.first_number)
        self._sizes.append(lines.total)

    def _prepare(self, lines: Lines) -> Prepared:
        with_ids = bool(self._settled.records)
        found = prepare(lines, self._scheme, mark=self._mark, with_ids=with_ids)
        if not with_ids:
            found.own_ids = b""
        return found

    def _settle(self, effects: list[Effect], until: str) -> list[Foretold]:
        """Let all that may run succeed at once, and say what that comes to."""
        told: list[Foretold] = []
        for effect in effects:
            match effect:
                case Run(batch, lines, order, _):
                    indexes = range(lines) if order is None else order
                    told.append(Foretold("run", lines=len(indexes)))
                    told += self._finish(batch, indexes)
                case RunJobs(batch, attempts, _):
                    told.append(Foretold("run", "", until, lines=len(attempts)))
                    told += self._finish(batch, range(len(attempts)))
                case Pass(_, _, statuses):
                    told += [
                        Foretold("settled" if status else "blank", status or "", lines=count)
                        for status, count in statuses.items()
                    ]
                case Bury():
                    told.append(Foretold("dead", effect.reason, str(effect.error["message"]), effect.line.where))
                case Double(_, job, first):
                    told.append(Foretold("stored" if job.key in self._stored else "duplicate", "", str(first.id)))
        return told

    def _finish(self, batch: int, indexes: Sequence[int]) -> list[Foretold]:
        effects = self._dispatch.take_finished(batch, indexes)
        self._dispatch.take_end(batch)
        return self._settle(effects, "")

    def _find(self, spot: tuple[int, float] | None, job: Job) -> First | None:
        """Return where the first job of an identity stands, in place of its id."""
        if spot is not None:
            batch, share = spot
            number = self._firsts[batch] + round(share * self._sizes[batch])
            return First(f"{self._names[self._sources[batch]]}:{number}", "completed")
        if self._settled.done_at(claim_key(job.key, job.payload_hash)) is not None:
            return First(EARLIER, "completed")
        if self._memory is None:
            return None
        self._stored.add(job.key)
        return self._memory.find(job)


def _say_moment(moment: float) -> str:
    """Return a moment (Unix seconds) as people read it."""
    return f"not before {timestamp(moment)}"


def _split(lines: Lines) -> list[Lines]:
    """Return a block as blocks of one line each."""
    return [
        Lines(data + b"\n", 1, lines.source, lines.stem, number)
        for number, data in enumerate(lines.data.split(b"\n")[:-1], lines.first_number)
    ]
