"""Laws 1 to 4 of DESIGN section 3, held by the deciding core under an engine that fails in every way it may.

The engine here is a real one in miniature: it prepares, runs and loses batches as the pool does, by the dice of a seed
and by a clock of its own. It knows nothing of what the dispatch should do; what it sees is held against the input.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from jqcli.core import effect as do
from jqcli.core.aside import Room
from jqcli.core.batch import Sizer
from jqcli.core.breaker import Trip
from jqcli.core.codec import Scheme, read_line
from jqcli.core.dedupe import Identities
from jqcli.core.dispatch import Dispatch
from jqcli.core.event import Answer
from jqcli.core.lane import Flow
from jqcli.core.limit import Rate
from jqcli.core.prepare import Lines, prepare
from jqcli.core.rules import Moment, Rules
from jqcli.core.settled import Settled
from jqcli.model import Failure, First, Job, Line
from jqcli.policy import Policy
from tests.scratch import MemoryScratch

SEEDS = range(40)
LINES = 120
QUEUE = 40
WORKERS = 3
BATCH = 7
EPOCH = 1_000_000.0
POLICY = Policy(max_attempts=3, max_crashes=2, backoff_base=1.0, backoff_max=8.0, reject_on=("Bad",))


DEEDS = ["ok"] * 8 + [
    "fail1",
    "fail2",
    "fail9",
    "reject",
    "bad",
    "skip",
    "snooze",
    "limited",
    "crash1",
    "crash9",
    "hang9",
    "nojson",
]


def make_line(dice, number):
    """Return one line of the input; `do` says what its handler does."""
    payload = {"do": dice.choice(DEEDS), "n": number}
    asks = {
        2: {"id": f"own-{number}"},
        3: {"key": f"k{dice.randrange(3)}"},
        4: {"not_before": EPOCH + dice.randrange(200)},
        5: {"expires": EPOCH - 1 + dice.randrange(3) * 50},
        6: {"max_attempts": 1},
    }
    match dice.randrange(16):
        case 0:
            return b""
        case 1:
            return b'{"payload":'
        case 7 if dice.random() < 0.4:
            return json.dumps({"payload": {**payload, "do": "poison"}}).encode()
        case choice:
            return json.dumps({"payload": payload, **asks.get(choice, {})}).encode()


def make_input(seed):
    dice = random.Random(seed)
    lines: list[bytes] = []
    for number in range(LINES):
        lines.append(dice.choice(lines) if lines and dice.random() < 0.25 else make_line(dice, number))
    return lines


@dataclass
class Record:
    """One line's record as the world saw it."""

    kind: str
    reason: str = ""
    attempts: int = 0
    history: int = 0
    other: object = None


@dataclass
class Step:
    """One batch that a worker is running."""

    batch: int
    order: list[int]
    attempts: list[int]
    lines: list[Line]
    done: list[int] = field(default_factory=list)


@dataclass
class World:
    """The run and the engine around a dispatch."""

    seed: int
    keeps_order: bool = False
    dedupe: bool = True
    crashes: float = 0.03
    flow: Flow = field(default_factory=Flow)
    lines: list[bytes] = field(default_factory=list)

    def __post_init__(self):
        self.dice = random.Random(self.seed + 1)
        self.lines = self.lines or make_input(self.seed)
        self.now = 100.0
        self.scheme = Scheme()
        self.is_lasting = self.seed % 2 == 0
        self.identities = Identities(Settled(), dedupe=self.dedupe)
        rules = Rules({None: POLICY})
        self.dispatch = Dispatch(
            self.identities, rules, self.scheme, Sizer(BATCH), self.find, self.flow,
            keeps_order=self.keeps_order, room=Room(MemoryScratch(), self.read_again, 12, 1 << 20),
        )  # fmt: skip
        self.gate = self.dispatch.gate
        self.firsts: dict[bytes, int] = {}
        self.works: dict[int, do.Work] = {}
        self.to_prepare: list[do.Work] = []
        self.held: dict[int, list[Line]] = {}
        self.steps: list[Step] = []
        self.records: dict[int, Record] = {}
        self.opened: Counter[int] = Counter()
        self.charged: Counter[int] = Counter()
        self.starts: Counter[int] = Counter()
        self.completed: dict[bytes, First] = {}
        self.by_batch: dict[tuple[int, bytes], First] = {}
        self.prepare_crashes: Counter[bytes] = Counter()
        self.next_line = 0
        self.blank = 0
        self.turns = 0

    # What the dispatch asks of its world

    def read_again(self, source, offset, size):
        assert self.is_lasting
        assert source == 0
        return b"".join(line + b"\n" for line in self.lines)[offset : offset + size]

    def find(self, spot, job):
        if spot is not None:
            assert 0 <= spot[1] < 1
            assert spot[0] >= 1
        if spot is not None and not self.keeps_order:
            return self.by_batch.get((spot[0], job.key))
        return self.completed.get(job.key)

    @property
    def moment(self):
        return Moment(self.now, EPOCH + self.now - 100.0, self.dice.random())

    def apply(self, effects):
        for effect in effects:
            match effect:
                case do.Prepare(work):
                    self.works[work.batch] = work
                    self.to_prepare.append(work)
                case do.Run(batch, lines, order, _):
                    indexes = list(range(lines)) if order is None else list(order)
                    self.send(batch, indexes, [1] * len(indexes), self.held.pop(batch, None), self.lines_of(batch))
                case do.RunJobs(batch, attempts, _):
                    lines = [Line("jobs", "jobs", each.number, each.data) for each in attempts]
                    self.send(batch, list(range(len(lines))), [each.attempt for each in attempts], lines, lines)
                case do.Drop(batch):
                    self.held.pop(batch, None)
                case do.Opened(batch, lines):
                    first = self.works[batch].first_line
                    self.opened.update(range(first, first + lines))
                case do.Pass():
                    self.go_past(effect)
                case do.Bury():
                    number = self.number_of(effect.place)
                    assert effect.line.number == number
                    other = effect.first.id if effect.first else None
                    self.record(number, Record("dead", effect.reason, effect.attempts, len(effect.history), other))
                case do.Double(place, _, first):
                    self.record(self.number_of(place), Record("duplicate", other=first.id))

    def go_past(self, effect):
        assert effect.statuses == {None: len(effect.indexes)}
        self.blank += len(effect.indexes)
        for index in effect.indexes:
            self.record(self.works[effect.batch].first_line + index, Record("blank"))

    def lines_of(self, batch):
        work = self.works[batch]
        return [Line("jobs", "jobs", work.first_line + at, data) for at, data in enumerate(work.data.split(b"\n")[:-1])]

    def number_of(self, place):
        return self.works[place.batch].first_line + place.index

    def record(self, number, record):
        assert number not in self.records, f"line {number} has two records"
        self.records[number] = record

    def send(self, batch, order, attempts, held, lines):
        if held is None:  # its holder is gone
            self.give_back(batch, order)
            return
        self.steps.append(Step(batch, order, attempts, lines))

    # What the engine does

    def give_back(self, batch, rest):
        self.dispatch.take_returned(batch, rest)
        self.dispatch.take_end(batch)

    def turn(self):
        """Let one thing happen, in any order that workers may bring about."""
        self.turns += 1
        choices = []
        if self.dispatch.lines + BATCH <= QUEUE and self.next_line < len(self.lines):
            choices.append(self.admit)
        if self.to_prepare:
            choices.append(self.answer)
        choices += [self.work] * len(self.steps)
        if len(self.steps) < WORKERS and self.dispatch._backlog.ready:
            choices.append(self.start)
        if self.dispatch.due_at is not None and len(self.steps) < WORKERS and self.dice.random() < 0.2:
            choices.append(self.start)
        if self.held and self.dice.random() < self.crashes:
            choices.append(self.lose_holder)
        if not choices:
            if self.dispatch.due_at is None:
                return False
            self.now = max(self.now, self.dispatch.due_at)
            choices.append(self.start)
        self.dice.choice(choices)()
        self.now += self.dice.random() * 0.2
        self.check_bounds()
        return True

    def admit(self):
        size = self.dice.randrange(1, 8)
        part = self.lines[self.next_line : self.next_line + size]
        data = b"".join(line + b"\n" for line in part)
        offset = sum(len(line) + 1 for line in self.lines[: self.next_line]) if self.is_lasting else -1
        effect = self.dispatch.admit(0, "jobs", "jobs", self.next_line + 1, data, len(part), offset)
        self.next_line += len(part)
        self.apply([effect])

    def answer(self):
        work = self.to_prepare.pop(self.dice.randrange(len(self.to_prepare)))
        lines = work.data.split(b"\n")[:-1]
        if b"poison" in work.data or (len(lines) > 1 and self.dice.random() < self.crashes):
            self.apply(self.dispatch.split(work.batch, "the worker ended with SIGSEGV", self.moment))
            return
        block = Lines(work.data, work.lines, "jobs", "jobs", work.first_line)
        found = prepare(block, self.scheme, with_ids=work.with_ids, mark="no line holds this")
        self.held[work.batch] = self.lines_of(work.batch)
        answer = Answer(work.batch, found.digests, found.hashes, found.own_ids if work.with_ids else b"", found.notes)
        self.apply(self.dispatch.take_answer(answer, self.moment))

    def lose_holder(self):
        del self.held[self.dice.choice(list(self.held))]

    def start(self):
        free = WORKERS - len(self.steps) if self.dispatch.gate.is_on else WORKERS
        if free > 0:
            self.apply(self.dispatch.next_jobs(self.moment, free))

    def work(self):
        """Let a worker make one attempt, lose its process, or have the rest of its batch taken back."""
        step = self.dice.choice(self.steps)
        if not step.order:
            self.tell(step)
            self.steps.remove(step)
            self.dispatch.take_end(step.batch)
            return
        if self.dice.random() < self.crashes:
            self.tell(step)
            self.steps.remove(step)
            self.give_back(step.batch, step.order)
            return
        index, attempt = step.order.pop(0), step.attempts.pop(0)
        line = step.lines[index]
        job = read_line(line, self.scheme)
        assert isinstance(job, Job)
        self.check_start(line, job, attempt)
        self.finish(step, index, line, self.perform(line, job))

    def check_start(self, line, job, attempt):
        assert self.opened[line.number] == 1, "it starts before it is ruled"
        assert line.number not in self.records, "a settled job starts"
        self.starts[line.number] += 1
        if self.dedupe:
            assert self.firsts.setdefault(job.key, line.number) == line.number, "two jobs of one identity run"
            assert job.key not in self.completed
        assert attempt == self.charged[line.number] + 1

    def perform(self, line, job):
        """Return None for a success, or the failure that the handler of this line runs into."""
        deed = job.payload["do"]
        done = self.starts[line.number]
        if self.flow.trip is not None and self.turns > 3000:
            return None  # or a breaker would wait for ever for what fails for ever
        if deed in ("ok", "skip") or (deed[:-1] in ("fail", "crash") and done > int(deed[-1])):
            return None
        if deed in ("snooze", "limited"):
            return None if done > 2 else fail(deed, after=30.0)
        return {
            "fail": lambda: fail("error"),
            "crash": lambda: fail("crash"),
            "hang": lambda: fail("timeout"),
            "reject": lambda: fail("reject"),
            "bad": lambda: fail("error", "mine.Bad"),
            "nojson": lambda: fail("unserializable"),
        }[deed.rstrip("0123456789")]()

    def finish(self, step, index, line, failure):
        if failure is None:
            step.done.append(index)
            if self.dice.random() < 0.3:
                self.tell(step)
            return
        effects = self.dispatch.take_failure(step.batch, index, failure, self.moment)
        if failure.verdict != "snooze" and do.Spare() not in effects:
            self.charged[line.number] += 1
        self.apply(effects)
        if failure.verdict in ("crash", "timeout"):
            self.tell(step)
            self.steps.remove(step)
            self.give_back(step.batch, step.order)

    def tell(self, step):
        """Write the records of what a worker finished, then let the dispatch know."""
        for index in step.done:
            line = step.lines[index]
            job = read_line(line, self.scheme)
            kind = "skipped" if job.payload["do"] == "skip" else "completed"
            self.record(line.number, Record(kind, attempts=self.charged[line.number] + 1))
            first = First(job.id, kind, None if kind == "skipped" else b"%d" % line.number)
            self.by_batch[(step.batch, job.key)] = first
            if self.dedupe:
                self.completed[job.key] = first
        if self.dispatch.gate.is_on:
            self.dispatch.note_success(step.batch, step.done, 0.1, self.now)
        self.apply(self.dispatch.take_finished(step.batch, step.done))
        step.done = []

    def check_bounds(self):
        unsettled = self.next_line - len(self.records)
        assert self.dispatch.lines + self.dispatch.aside == unsettled
        assert self.dispatch.lines <= QUEUE + WORKERS * BATCH * (self.dispatch._aside.total > 0)
        assert self.dispatch.bytes >= 0

    def run(self):
        for _ in range(100_000):
            if not self.turn():
                break
        assert self.dispatch.is_empty
        return self


def fail(verdict, name="mine.Oops", after=None):
    return Failure(verdict, name, "m", "", (name,), 0.01, after=after)


WORLDS = pytest.mark.parametrize("keeps_order", [False, True], ids=["", "keep-order"])
FLOWS = {
    "aside": Flow(rate=Rate(1.0, 1), rate_key="do"),
    "no-flow": Flow(),
    "rate": Flow(rate=Rate(5.0, 3)),
    "all": Flow(rate=Rate(9.0), rate_key="do", trip=Trip(0.5, 2.0), breaker_key="do", budget=0.2, level=WORKERS),
}
BY_FLOW = pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
BY_SEED = pytest.mark.parametrize("seed", SEEDS)


@WORLDS
@BY_FLOW
@BY_SEED
def test_every_line_ends_as_exactly_one_record_and_nothing_is_left_behind(seed, flow, keeps_order):
    world = World(seed, keeps_order, flow=flow).run()
    assert sorted(world.records) == list(range(1, len(world.lines) + 1))
    assert set(world.opened.values()) == {1}
    assert sum(world.opened.values()) == len(world.lines)
    assert world.blank == sum(not line for line in world.lines)
    assert (world.dispatch.lines, world.dispatch.bytes, world.dispatch.waiting, world.dispatch.in_flight) == (
        0,
        0,
        0,
        0,
    )
    assert not world.dispatch._backlog.ready
    assert not world.dispatch._queue.jobs
    assert not world.dispatch._duplicates._followers
    assert not world.dispatch._duplicates._chains


@WORLDS
@BY_FLOW
@BY_SEED
def test_of_one_identity_one_job_runs_and_the_others_share_its_fate(seed, flow, keeps_order):
    world = World(seed, keeps_order, flow=flow).run()
    owners: dict[bytes, tuple[int, bytes]] = {}
    for number, data in enumerate(world.lines, 1):
        job = read_line(Line("jobs", "jobs", number, data), world.scheme)
        if not isinstance(job, Job) or b"poison" in data:
            continue
        owner, payload_hash = owners.setdefault(job.key, (number, job.payload_hash or b""))
        found, first = world.records[number], world.records[owner]
        owner_job = read_line(Line("jobs", "jobs", owner, world.lines[owner - 1]), world.scheme)
        if owner == number:
            assert found.kind != "duplicate"
            assert found.reason not in ("duplicate_of_dead", "key_conflict")
            continue
        assert world.starts[number] == 0
        if payload_hash != (job.payload_hash or b""):
            assert (found.kind, found.reason) == ("dead", "key_conflict")
        elif first.kind == "dead":
            assert (found.kind, found.reason) == ("dead", "duplicate_of_dead")
        else:
            assert found.kind == "duplicate"
        assert found.other == owner_job.id


@BY_SEED
def test_with_dedupe_off_every_usable_line_runs(seed):
    world = World(seed, dedupe=False).run()
    for number, data in enumerate(world.lines, 1):
        found = world.records[number]
        assert found.kind != "duplicate"
        assert found.reason not in ("duplicate_of_dead", "key_conflict")
        if found.kind in ("completed", "skipped"):
            assert world.starts[number] >= 1, data


ENDS = {
    "ok": {"completed"},
    "skip": {"skipped"},
    "snooze": {"completed"},
    "limited": {"completed"},
    "fail1": {"completed"},
    "fail2": {"completed"},
    "fail9": {"max_attempts"},
    "hang9": {"timeout"},
    "reject": {"rejected"},
    "bad": {"rejected"},
    "nojson": {"unserializable_result"},
    "crash1": {"completed"},
    "crash9": {"worker_crash"},
    "poison": {"worker_crash"},
}
CHARGED = {"fail9": 3, "hang9": 3, "reject": 1, "bad": 1, "nojson": 1, "crash9": 2, "poison": 0}


@BY_SEED
def test_every_failure_passes_one_decision_whatever_the_engine_loses_meanwhile(seed):
    world = World(seed).run()
    for number, data in enumerate(world.lines, 1):
        found = world.records[number]
        job = read_line(Line("jobs", "jobs", number, data), world.scheme)
        if found.kind == "duplicate" or found.reason in ("duplicate_of_dead", "key_conflict", "expired"):
            continue
        if not isinstance(job, Job):
            assert found.reason in ("", "invalid_json")
            continue
        deed = job.payload["do"]
        end = found.reason or found.kind
        if job.asks.max_attempts == 1 and deed in ("fail1", "fail2", "fail9", "hang9"):
            assert (end, found.attempts) == ("timeout" if deed == "hang9" else "max_attempts", 1)
            continue
        assert end in ENDS[deed], (deed, found)
        if found.kind == "dead":
            assert found.attempts == found.history == CHARGED[deed]
        else:
            assert found.attempts == world.charged[number] + 1


@BY_SEED
def test_a_moment_that_a_line_asks_for_is_kept(seed):
    world = World(seed)
    started: dict[int, float] = {}
    check = world.check_start

    def note(line, job, attempt):
        started.setdefault(line.number, world.moment.unix)
        check(line, job, attempt)

    world.check_start = note
    world.run()
    for number, data in enumerate(world.lines, 1):
        job = read_line(Line("jobs", "jobs", number, data), world.scheme)
        if isinstance(job, Job) and number in started:
            assert started[number] >= (job.asks.not_before or 0.0)
        if isinstance(job, Job) and job.asks.expires is not None and job.asks.expires < EPOCH:
            assert world.starts[number] == 0


@BY_SEED
def test_an_engine_that_loses_something_all_the_time_still_comes_to_an_end(seed):
    world = World(seed, crashes=0.4).run()
    assert sorted(world.records) == list(range(1, len(world.lines) + 1))
