"""The state of every line between reading and settling: what runs next, what waits, and what is full.

Law 3: lines read and not settled never exceed the queue. A batch's lines are counted when it is admitted, and each
is taken off when its record is written. Events come in, effects go out; nothing here touches the world.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from typing import TYPE_CHECKING

from jqcli.core.backlog import Backlog
from jqcli.core.batch import Batch, Pending, Sizer
from jqcli.core.burial import error_of, history_entry, kept_error
from jqcli.core.codec import Scheme, hash_unusable, read_line
from jqcli.core.effect import (
    Attempt,
    Bury,
    Drop,
    Effect,
    Limits,
    Opened,
    Pass,
    Place,
    Prepare,
    Run,
    RunJobs,
    Spare,
    Work,
    place_of,
)
from jqcli.core.elsewhere import Elsewhere
from jqcli.core.event import Answer
from jqcli.core.fate import bury_unusable, contradict, follow, follow_remembered
from jqcli.core.first import Firsts
from jqcli.core.recall import ELSEWHERE, REMEMBERED, split_keys, wanted_of
from jqcli.core.retry import Again, decide
from jqcli.model import First, Job

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jqcli.core.dedupe import Finding, Identities, Ruling
    from jqcli.core.gate import Gate
    from jqcli.core.rules import Moment, Rules
    from jqcli.model import Failure


class Dispatch:
    """Every unsettled line of the run. `find` looks up the settled first job of an identity, `claim` asks the store."""

    def __init__(
        self,
        identities: Identities,
        rules: Rules,
        scheme: Scheme,
        sizer: Sizer,
        find: Callable[[tuple[int, float] | None, Job], First | None],
        gate: Gate,
        *,
        keeps_order: bool,
        claim: Callable[[Mapping[str | None, bytes]], Mapping[bytes, str]] | None = None,
    ) -> None:
        self._identities = identities
        self._rules = rules
        self._scheme = scheme
        self.sizer = sizer
        self._keeps_order = keeps_order
        self._turn: deque[Batch] = deque()
        self._batches: dict[int, Batch] = {}
        self.batches = self._batches  # for others to look at
        self.gate = gate
        self._backlog = Backlog(gate, sizer)
        self._followers: dict[bytes, list[Pending]] = {}
        self.elsewhere = Elsewhere()
        self._claim = None if claim is None else lambda wanted: self.elsewhere.join(wanted, claim(wanted))
        self._sizes = array("I", [1])  # lines by batch
        self._firsts = Firsts(identities.taken, self._batches, self._sizes, scheme, find, gate.aside)
        self.lines = 0
        self.bytes = 0

    # What can be asked

    @property
    def is_empty(self) -> bool:
        """Whether no line is unsettled."""
        return self.lines == 0 and not (self.gate.aside and self.gate.aside.count)

    @property
    def waiting(self) -> int:
        """Jobs that wait for a moment, or for another run."""
        return self._backlog.waiting + self.elsewhere.count

    @property
    def due_at(self) -> float | None:
        """The monotonic moment at which the next waiting job may start."""
        return self._backlog.due_at

    @property
    def in_flight(self) -> int:
        """Jobs that are with the workers: ruled, and neither waiting nor settled."""
        unruled = sum(batch.lines for batch in self._turn)
        following = sum(map(len, self._followers.values()))
        return self.lines - unruled - following - self.waiting - self._backlog.ready

    def label(self, number: int, index: int | None) -> str:
        """Return the name of a running job as people see it."""
        batch = self._batches.get(number)
        if batch is None or index is None:
            return "reading lines"
        return batch.jobs[index].line.where if batch.jobs else f"{batch.name}:{batch.first_line + index}"

    # Lines come in

    def admit(self, source: int, name: str, stem: str, first_line: int, data: bytes, lines: int) -> Effect:
        """Take a block of lines; they are to be prepared."""
        data, buried = self._identities.settled.blank_unread(data)
        batch = Batch(self._number(lines), source, name, stem, first_line, data, lines, buried)
        self.lines += lines
        self.bytes += len(data)
        self._turn.append(batch)
        return self._prepare(batch)

    def _number(self, lines: int) -> int:
        self._sizes.append(lines)
        return len(self._sizes) - 1

    def _prepare(self, batch: Batch) -> Prepare:
        self._batches[batch.number] = batch
        with_ids = bool(self._identities.settled.records)
        return Prepare(Work(batch.number, batch.source, batch.first_line, batch.lines, batch.data, with_ids))

    def take_answer(self, answer: Answer, now: Moment) -> list[Effect]:
        """Take what a worker says of a batch; rule over all whose turn it is."""
        self._batches[answer.batch].answer = answer
        effects: list[Effect] = []
        while self._turn and self._turn[0].answer is not None:
            effects += self._rule(self._turn.popleft(), now)
        return effects

    def split(self, number: int, message: str, now: Moment) -> list[Effect]:
        """Halve a batch whose preparing ended its worker; bury a single line that does so again and again."""
        batch = self._batches.pop(number)
        place = self._turn.index(batch)
        if batch.lines > 1:
            halves = batch.halves(len(self._sizes))
            self._sizes.extend(half.lines for half in halves)
            del self._turn[place]
            for half in reversed(halves):
                self._turn.insert(place, half)
            return [self._prepare(half) for half in halves]
        batch.crashes += 1
        if batch.crashes < (self._rules.of(None, None, None).max_crashes or 1):
            return [self._prepare(batch)]
        self._batches[number] = batch
        note = {"reason": "worker_crash", "message": message}
        line_key = hash_unusable(batch.line(0).data)
        return self.take_answer(Answer(number, line_key, b"", bytes(8), [(0, note)]), now)

    def _rule(self, batch: Batch, now: Moment) -> list[Effect]:
        answer = batch.answer
        assert answer is not None  # noqa: S101 - its turn comes with its answer
        batch.keys = answer.keys
        claim, settled = self._claim, self._identities.settled
        known = {} if claim is None else claim(wanted_of(answer, settled, self._firsts.dead))
        ruling = self._identities.rule(batch.number, answer, known)
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
            self._queue(batch, order)
        elif order:
            return [*effects, Run(batch.number, batch.lines, array("I", order), limits)]
        self._release(batch)
        self.sizer.note(batch.lines, 0.0)  # nothing of it costs anything, so the next may be larger
        return [*effects, Drop(batch.number)]

    def _queue(self, batch: Batch, indexes: Sequence[int]) -> None:
        for index in indexes:
            pending = self._make_pending(batch, index)
            if self.gate.admit(pending):
                self._count(pending, -1)

    def _hold(self, batch: Batch, indexes: Sequence[int], now: Moment) -> list[Effect]:
        effects: list[Effect] = []
        for index in indexes:
            pending = self._make_pending(batch, index)
            effects += self._wait(pending, max(0.0, (pending.job.asks.not_before or 0.0) - now.unix), now)
        return effects

    def _apply(self, batch: Batch, finding: Finding) -> list[Effect]:
        """Deal with a line that does not run."""
        place = Place(batch.number, finding.index)
        line = batch.line(finding.index)
        key = batch.keys[16 * finding.index : 16 * finding.index + 16]
        if finding.kind == "unusable":
            self.lines -= 1
            return [bury_unusable(place, line, key, finding.detail)]
        job = read_line(line, self._scheme)
        assert isinstance(job, Job)  # noqa: S101 - the worker read it as one
        pending = Pending(line, job, batch.source, batch.number, finding.index)
        if finding.kind == ELSEWHERE:
            self.elsewhere.add(pending)
            self.bytes += pending.size
            return []
        if finding.kind == REMEMBERED:
            self.lines -= 1
            return [follow_remembered(pending, self._firsts.find_remembered(job))]
        return self._follow_first(pending, is_conflict=finding.kind == "conflict")

    def _follow_first(self, pending: Pending, *, is_conflict: bool) -> list[Effect]:
        """Let a job share the fate of the first of its identity, or contradict it."""
        job = pending.job
        if is_conflict:
            self.lines -= 1
            first = self._firsts.of(job._replace(payload_hash=self._identities.owner_of(job.key)))
            return [contradict(pending, None if first is None else first.id)]
        first = self._firsts.of(job)
        if first is None or first.status == "running":
            self._followers.setdefault(job.key, []).append(pending)
            self.bytes += pending.size
            return []
        self.lines -= 1
        return [follow(pending, first)]

    def take_news(self, known: Mapping[bytes, str], now: Moment) -> list[Effect]:
        """Go on with what waited for another run, as far as it is not `known` to be there still."""
        remembered, free = self.elsewhere.take(known)
        self.lines -= len(remembered)
        self.bytes -= sum(pending.size for pending in remembered)
        effects = [follow_remembered(each, self._firsts.find_remembered(each.job)) for each in remembered]
        for first, *others in free:
            key, payload_hash = first.job.key, first.job.payload_hash
            self._identities.adopt(key, payload_hash, first.origin, first.index)
            self._firsts.pending[key] = first
            self.bytes -= sum(pending.size for pending in others)
            for other in others:
                effects += self._follow_first(other, is_conflict=other.job.payload_hash != payload_hash)
            effects += self._wait(first, max(0.0, (first.job.asks.not_before or 0.0) - now.unix), now)
        return effects

    def _pass(self, batch: Batch, ruling: Ruling) -> Pass:
        """Go past lines that need no record; what an earlier run buried is dead for its duplicates too."""
        self.lines -= len(ruling.passed)
        for key in ruling.dead:
            first = self._identities.settled.dead.get(key)
            if first is not None:
                self._firsts.dead.setdefault(key, first)
        return Pass(batch.number, ruling.passed, ruling.statuses)

    # Runs end

    def place(self, number: int, index: int) -> Place:
        """Return where a job of a batch stands in the input."""
        batch = self._batches[number]
        return Place(number, index) if batch.jobs is None else place_of(batch.jobs[index])

    def take_finished(self, number: int, indexes: Sequence[int]) -> list[Effect]:
        """Take off jobs whose records are written; return the records of those that waited for them."""
        batch = self._batches[number]
        batch.told = True
        self.lines -= len(indexes)
        if batch.jobs is not None:
            for index in indexes:
                pending = batch.jobs[index]
                self.bytes -= pending.size
                self._firsts.pending.pop(pending.job.key, None)
        if not self._followers:
            return []
        return self._release_followers(batch, indexes)

    def _release_followers(self, batch: Batch, indexes: Sequence[int]) -> list[Effect]:
        effects: list[Effect] = []
        for key in split_keys(batch.identities(indexes)[0]):
            if key in self._followers:
                first = self._firsts.look_up(self._followers[key][0].job)
                effects += self._settle_followers(key, first or First(None, "completed"))
        return effects

    def _settle_followers(self, key: bytes, first: First) -> list[Effect]:
        effects: list[Effect] = []
        for pending in self._followers.pop(key, ()):
            self.lines -= 1
            self.bytes -= pending.size
            effects.append(follow(pending, first))
        return effects

    def take_failure(self, number: int, index: int, failure: Failure, now: Moment) -> list[Effect]:
        """Decide about a job whose attempt failed."""
        batch = self._batches[number]
        pending = batch.jobs[index] if batch.jobs is not None else self._make_pending(batch, index)
        if failure.verdict == "stop":  # ended by us at the end of a drain: unfinished, not charged
            return []
        if failure.verdict == "limited":
            self.gate.pause(pending, failure, now.monotonic)
            return [Spare()]
        if failure.verdict != "snooze":
            pending.attempts += 1
            pending.crashes += failure.verdict == "crash"
            self.bytes += pending.note(history_entry(pending.attempts, now.unix - failure.duration, failure))
        decision = decide(pending, failure, self._rules.of_job(pending.job.asks), now.chance)
        if self.gate.is_on and not self.gate.charges(pending, failure, decision, now.monotonic):
            pending.attempts -= 1
            self.bytes -= pending.forget()
            self.gate.put(pending)
            return [Spare()]
        if isinstance(decision, Again):
            return self._wait(pending, decision.after, now)
        return self._bury(pending, decision.reason, error_of(failure))

    def note_success(self, number: int, indexes: Sequence[int], seconds: float, now: float) -> None:
        """Let the gate know of finished jobs that passed it; `seconds` is how long each took, about."""
        self.gate.succeed_all(self._batches[number].jobs, indexes, seconds, now)

    def take_returned(self, number: int, indexes: Sequence[int]) -> None:
        """Jobs of a batch were not begun: they run again, before anything new."""
        batch = self._batches[number]
        jobs = batch.jobs
        self._backlog.give_back([self._make_pending(batch, i) if jobs is None else jobs[i] for i in indexes])

    def take_end(self, number: int) -> None:
        """All jobs of a batch were dealt with."""
        self._release(self._batches[number])

    def _release(self, batch: Batch) -> None:
        self.bytes -= len(batch.data)
        del self._batches[batch.number]

    def _make_pending(self, batch: Batch, index: int) -> Pending:
        line = batch.line(index)
        job = read_line(line, self._scheme)
        assert isinstance(job, Job)  # noqa: S101 - it ran, or was ruled to
        pending = Pending(line, job, batch.source, batch.number, index)
        self._firsts.pending[job.key] = pending
        self.bytes += pending.size
        return pending

    def _count(self, pending: Pending, by: int) -> None:
        """Count a job into the queue (1) or out of it (-1)."""
        self.lines += by
        self.bytes += by * pending.size
        if by > 0:
            self._firsts.pending[pending.job.key] = pending
        else:
            self._firsts.pending.pop(pending.job.key, None)

    def _wait(self, pending: Pending, after: float, now: Moment) -> list[Effect]:
        if pending.has_expired(now.unix):
            message = "its `expires` had passed before it could start"
            return self._bury(pending, "expired", {"type": "jqcli.expired", "message": message})
        self._backlog.wait(pending, now.monotonic + after)
        return []

    def _bury(self, pending: Pending, reason: str, error: dict[str, object]) -> list[Effect]:
        """Return the letter of a job that is dead, and those of its duplicates."""
        job = pending.job
        self._count(pending, -1)
        letter = Bury(
            place_of(pending), pending.line, job, job.key_text, reason, error, pending.attempts, pending.history
        )
        if job.key in self._identities.taken:
            self._firsts.dead[job.key] = First(job.id, "dead", error=kept_error(error))
        return [letter, *self._settle_followers(job.key, First(job.id, "dead", error=error))]

    # What runs next

    def next_jobs(self, now: Moment, workers: int) -> list[Effect]:
        """Return jobs that start now: those that are due, and those that came back; see `Backlog.take`."""
        batches, expired = self._backlog.take(now, workers)
        for pending in self.gate.take_readmitted():
            self._count(pending, 1)
        effects = [effect for pending in expired for effect in self._wait(pending, 0.0, now)]
        return [*effects, *map(self._send, batches)]

    def _send(self, jobs: list[Pending]) -> RunJobs:
        batch = Batch(self._number(len(jobs)), 0, "", "", 0, b"", len(jobs), jobs=jobs)
        self._batches[batch.number] = batch
        limits = Limits(None, {index: self._rules.of_job(one.job.asks).timeout for index, one in enumerate(jobs)})
        attempts = [Attempt(one.source, one.line.number, one.line.data, one.attempts + 1) for one in jobs]
        for index, pending in enumerate(jobs):
            if not self._keeps_order and pending.job.key in self._identities.taken:
                self._identities.taken.add(pending.job.key, batch.number, index)
        return RunJobs(batch.number, attempts, limits)
