"""Decides about every line between reading and settling: what runs next, what waits, what is dead.

Events come in, effects go out; nothing here touches the world. The nouns have modules of their own: `queue` counts
what is unsettled, `turn` are the batches up to their ruling, `duplicate` the jobs that do not run because another one
does, `backlog` and `gate` those that wait for a moment or for a limit, `aside` those that are not in memory.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from jqcli.core.aside import NO_ROOM, Aside, Room
from jqcli.core.backlog import Backlog
from jqcli.core.batch import Batch, Pending, Sizer
from jqcli.core.burial import error_of, history_entry
from jqcli.core.duplicate import Duplicates
from jqcli.core.effect import (
    Attempt,
    Bury,
    Drop,
    Effect,
    Limits,
    Opened,
    Pass,
    Place,
    Run,
    RunJobs,
    Spare,
    place_of,
)
from jqcli.core.fate import bury_unusable
from jqcli.core.first import Firsts
from jqcli.core.gate import Gate
from jqcli.core.queue import Queue
from jqcli.core.recall import wanted_of
from jqcli.core.retry import Again, decide
from jqcli.core.turn import Turns
from jqcli.model import First, Job

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jqcli.core.codec import Scheme
    from jqcli.core.dedupe import Finding, Identities, Ruling
    from jqcli.core.event import Answer
    from jqcli.core.lane import Flow
    from jqcli.core.rules import Moment, Rules
    from jqcli.core.tally import FlowState
    from jqcli.model import Failure

    Octets = bytes  # which is the name of a property here


class Dispatch:
    """Every unsettled line of the run. `find` looks up the settled first job of an identity, `claim` asks the store."""

    def __init__(  # noqa: PLR0913 - all that it joins
        self,
        identities: Identities,
        rules: Rules,
        scheme: Scheme,
        sizer: Sizer,
        find: Callable[[tuple[int, float] | None, Job], First | None],
        flow: Flow,
        *,
        keeps_order: bool,
        claim: Callable[[Mapping[str | None, bytes], int], Mapping[bytes, str]] | None = None,
        room: Room = NO_ROOM,
    ) -> None:
        self._identities = identities
        self._rules = rules
        self.sizer = sizer
        self._keeps_order = keeps_order
        self._queue = Queue(scheme, identities.taken)
        self._turns = Turns(self._queue, identities.settled)
        self._aside = Aside(self._queue, room)
        self.gate = Gate(flow, self._aside)
        self._backlog = Backlog(self.gate, sizer, self._aside)
        self._firsts = Firsts(self._queue, self._aside, find)
        self._duplicates = Duplicates(self._queue, identities, self._firsts, self._aside)
        self.batches = self._queue.batches  # for others to look at
        self.elsewhere = self._duplicates.elsewhere
        self._claim = None if claim is None else lambda wanted, batch: self.elsewhere.join(wanted, claim(wanted, batch))

    # What can be asked

    @property
    def lines(self) -> int:
        """Lines that count towards the queue."""
        return self._queue.lines

    @property
    def bytes(self) -> int:
        """The bytes of these lines, and of what went wrong with them."""
        return self._queue.bytes

    @property
    def aside(self) -> int:
        """Jobs that are set aside."""
        return self._aside.count

    @property
    def is_empty(self) -> bool:
        """Whether no line is unsettled."""
        return self._queue.lines == 0 and self._aside.count == 0

    @property
    def waiting(self) -> int:
        """Jobs that wait for a moment, or for another run."""
        return self._backlog.waiting + self._backlog.far + self.elsewhere.count

    @property
    def due_at(self) -> float | None:
        """The monotonic moment at which the next waiting job may start, or have the record that it waits for."""
        return -inf if self._duplicates.is_due else self._backlog.due_at

    @property
    def unruled(self) -> int:
        """Lines that were cut from the input, of which nothing more is known yet."""
        return self._turns.lines

    @property
    def in_flight(self) -> int:
        """Jobs that are with the workers: ruled, and neither waiting nor settled."""
        waiting = self._backlog.waiting + self._backlog.ready + self.elsewhere.count
        return self._queue.lines - self._turns.lines - self._duplicates.following - waiting

    @property
    def held(self) -> int:
        """Lines that were ruled and are not settled, and are not with the workers either."""
        return self._queue.lines + self._aside.count - self._turns.lines - self.in_flight

    def flow_state(self, now: float) -> FlowState | None:
        """Return what there is to show of limits and of what is set aside, None where there is nothing of either."""
        if not self.gate.is_on and not self._aside.total:
            return None
        return replace(self.gate.state(now), aside=self._aside.count)

    def label(self, number: int, index: int | None) -> str:
        """Return the name of a running job as people see it."""
        batch = self.batches.get(number)
        if batch is None or index is None:
            return "reading lines"
        return batch.jobs[index].line.where if batch.jobs else f"{batch.name}:{batch.first_line + index}"

    # Lines come in

    def admit(
        self, source: int, name: str, stem: str, first_line: int, data: Octets, lines: int, offset: int = -1
    ) -> Effect:
        """Take a block of lines, which are to be prepared; `offset` is where it can be read again, -1: nowhere."""
        return self._turns.admit(source, name, stem, first_line, data, lines, offset)

    def take_answer(self, answer: Answer, now: Moment) -> list[Effect]:
        """Take what a worker says of a batch; rule over all whose turn it is."""
        effects: list[Effect] = []
        for batch in self._turns.take(answer):
            effects += self._rule(batch, now)
        return effects

    def split(self, number: int, message: str, now: Moment) -> list[Effect]:
        """Halve a batch whose preparing ended its worker; bury a single line that does so again and again."""
        found = self._turns.split(number, message, self._rules.of(None, None, None).max_crashes or 1)
        return [*found] if isinstance(found, list) else self.take_answer(found, now)

    def _rule(self, batch: Batch, now: Moment) -> list[Effect]:
        answer = batch.answer
        assert answer is not None  # noqa: S101 - its turn comes with its answer
        batch.keys = answer.keys
        ruling = self._rule_over(batch.number, answer)
        if batch.buried:  # they look blank, and have their letters
            statuses = Counter(ruling.statuses) - Counter({None: len(batch.buried)})
            ruling = ruling._replace(statuses=statuses + Counter({"dead": len(batch.buried)}))
        effects: list[Effect] = [Opened(batch.number, batch.lines)]
        limits = Limits(self._rules.of(None, None, None).timeout, {})
        if ruling.passed:
            effects.append(self._pass(batch, ruling))
        if not ruling.findings and not self.gate.is_on and (ruling.order is None or len(ruling.order)):
            return [*effects, Run(batch.number, batch.lines, ruling.order, limits)]
        held: set[int] = set()
        for finding in ruling.findings:
            if finding.kind == "asks":
                held |= self._rules.consider(finding.index, finding.detail, limits, now)
            else:
                effects += self._apply(batch, finding)
        order: Sequence[int] = ruling.order if ruling.order is not None else range(batch.lines)
        if held:
            order = [index for index in order if index not in held]
            effects += self._hold(batch, sorted(held), now)
        if self.gate.is_on:
            for index in order:
                self.gate.put(self._queue.take_out(batch, index), now.monotonic)
        elif order:
            return [*effects, Run(batch.number, batch.lines, array("I", order), limits)]
        self._queue.release(batch)
        self.sizer.note(batch.lines, 0.0)  # nothing of it costs anything, so the next may be larger
        return [*effects, Drop(batch.number)]

    def _rule_over(self, number: int, answer: Answer) -> Ruling:
        """Rule over the identities of a batch, with what the store has of them."""
        identities, claim = self._identities, self._claim
        if claim is None:
            return identities.rule(number, answer)
        # Most batches are new as a whole, and the store is to be asked for all of them: one look at each identity.
        whole = identities.rule_whole(number, answer)
        if whole is None:
            known = claim(wanted_of(answer, identities, self._firsts.dead), number)
            return identities.rule_each(number, answer, known)
        known = claim({None: answer.keys}, number)
        if not known:
            return whole
        identities.taken.give_back(answer.keys)
        return identities.rule_each(number, answer, known)

    def _hold(self, batch: Batch, indexes: Sequence[int], now: Moment) -> list[Effect]:
        effects: list[Effect] = []
        for index in indexes:
            effects += self._wait_for_begin(self._queue.take_out(batch, index), now)
        return effects

    def _apply(self, batch: Batch, finding: Finding) -> list[Effect]:
        """Deal with a line that does not run."""
        if finding.kind == "unusable":
            self._queue.lines -= 1
            key = batch.keys[16 * finding.index : 16 * finding.index + 16]
            place = Place(batch.number, finding.index)
            return [bury_unusable(place, batch.line(finding.index), key, finding.detail)]
        return self._duplicates.take(self._queue.read(batch, finding.index), finding.kind)

    def take_news(self, known: Mapping[Octets, str], now: Moment) -> list[Effect]:
        """Go on with what waited for another run, as far as it is not `known` to be there still."""
        effects, free = self._duplicates.take_news(known)
        for pending in free:
            effects += self._wait_for_begin(pending, now)
        return effects

    def _pass(self, batch: Batch, ruling: Ruling) -> Pass:
        """Go past lines that need no record; what an earlier run buried is dead for its duplicates too."""
        self._queue.lines -= len(ruling.passed)
        for key in ruling.dead:
            self._firsts.dead.take_over(key, self._identities.settled.dead)
        return Pass(batch.number, ruling.passed, ruling.statuses)

    # Runs end

    def place(self, number: int, index: int) -> Place:
        """Return where a job of a batch stands in the input."""
        batch = self.batches[number]
        return Place(number, index) if batch.jobs is None else place_of(batch.jobs[index])

    def take_finished(self, number: int, indexes: Sequence[int]) -> list[Effect]:
        """Take off jobs whose records are written; return the records of those that waited for them."""
        queue, batch = self._queue, self.batches[number]
        batch.told = True
        queue.lines -= len(indexes)
        if batch.jobs is not None:
            for index in indexes:
                pending = batch.jobs[index]
                queue.bytes -= pending.size
                queue.jobs.pop(pending.job.key, None)
        return self._duplicates.release(batch, indexes)

    def take_failure(self, number: int, index: int, failure: Failure, now: Moment) -> list[Effect]:
        """Decide about a job whose attempt failed."""
        queue, batch = self._queue, self.batches[number]
        pending = queue.take_out(batch, index) if batch.jobs is None else batch.jobs[index]
        if failure.verdict == "stop":  # ended by us at the end of a drain: unfinished, not charged
            return []
        if failure.verdict == "limited":
            self.gate.pause(pending, failure, now.monotonic)
            return [Spare()]
        if failure.verdict != "snooze":
            pending.attempts += 1
            pending.crashes += failure.verdict == "crash"
            queue.bytes += pending.note(history_entry(pending.attempts, now.unix - failure.duration, failure))
        decision = decide(pending, failure, self._rules.of_job(pending.job.asks), now.chance)
        if self.gate.is_on and not self.gate.charges(pending, failure, decision, now.monotonic):
            pending.attempts -= 1
            queue.bytes -= pending.forget()
            self.gate.put(pending, now.monotonic)
            return [Spare()]
        if isinstance(decision, Again):
            return self._wait(pending, decision.after, now, is_retry=failure.verdict != "snooze")
        return self._bury(pending, decision.reason, error_of(failure))

    def note_success(self, number: int, indexes: Sequence[int], seconds: float, now: float) -> None:
        """Let the gate know of finished jobs that passed it; `seconds` is how long each took, about."""
        self.gate.succeed_all(self.batches[number].jobs, indexes, seconds, now)

    def take_returned(self, number: int, indexes: Sequence[int]) -> None:
        """Jobs of a batch were not begun: they run again, before anything new."""
        batch = self.batches[number]
        jobs = batch.jobs
        self._backlog.give_back([self._queue.take_out(batch, i) if jobs is None else jobs[i] for i in indexes])

    def take_end(self, number: int) -> None:
        """All jobs of a batch were dealt with."""
        self._queue.release(self.batches[number])

    def _wait_for_begin(self, pending: Pending, now: Moment) -> list[Effect]:
        return self._wait(pending, max(0.0, (pending.job.asks.not_before or 0.0) - now.unix), now)

    def _wait(self, pending: Pending, after: float, now: Moment, *, is_retry: bool = False) -> list[Effect]:
        if pending.has_expired(now.unix):
            message = "its `expires` had passed before it could start"
            return self._bury(pending, "expired", {"type": "jqcli.expired", "message": message})
        self._backlog.wait(pending, now.monotonic + after, now, is_retry=is_retry)
        return []

    def _bury(self, pending: Pending, reason: str, error: dict[str, object]) -> list[Effect]:
        """Return the letter of a job that is dead, and those of its duplicates."""
        job = pending.job
        self._queue.leave(pending)
        letter = Bury(
            place_of(pending), pending.line, job, job.key_text, reason, error, pending.attempts, pending.history
        )
        if job.key in self._identities.taken:
            self._firsts.dead.add(job.key, job.id, error)
        return [letter, *self._duplicates.settle(job.key, First(job.id, "dead", error=error))]

    # What runs next

    def next_jobs(self, now: Moment, workers: int) -> list[Effect]:
        """Return jobs that start now: those that are due, and those that came back; see `Backlog.take`."""
        if self._duplicates.is_due:
            return self._duplicates.settle_due()
        batches, expired = self._backlog.take(now, workers)
        effects = [effect for pending in expired for effect in self._wait(pending, 0.0, now)]
        return [*effects, *map(self._send, batches)]

    def _send(self, jobs: list[Pending]) -> RunJobs:
        batch = Batch(self._queue.number(len(jobs)), 0, "", "", 0, b"", len(jobs), jobs=jobs)
        self.batches[batch.number] = batch
        limits = Limits(None, {index: self._rules.of_job(one.job.asks).timeout for index, one in enumerate(jobs)})
        attempts = [Attempt(one.source, one.line.number, one.line.data, one.attempts + 1, one.is_probe) for one in jobs]
        for index, pending in enumerate(jobs):
            pending.is_sent = True
            if not self._keeps_order and pending.job.key in self._identities.taken:
                self._identities.taken.add(pending.job.key, batch.number, index)
        return RunJobs(batch.number, attempts, limits)
