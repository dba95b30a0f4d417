"""Laws of the ledger: wherever a worker dies, each of its jobs is finished, charged or given back, and once only.

A real runner works here on a real memory. It is ended at every point in turn: before it sends a frame, after it has
sent one, and inside every attempt. What it leaves behind is all that the ledger knows, as after a SIGKILL.
"""

from __future__ import annotations

import gc
import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import orjson
import pytest

from jqcli.core.codec import Scheme
from jqcli.core.effect import Limits, Work
from jqcli.core.event import Answer, Ended, Failed, Finished, Returned, Unprepared
from jqcli.engine import frame
from jqcli.engine.cause import Cause, crash
from jqcli.engine.frame import HEADER, FrameError, Kind
from jqcli.engine.handler import Handler
from jqcli.engine.ledger import Ledger
from jqcli.engine.member import Worker
from jqcli.engine.memory import HEAD, PAGE_SIZE, READING, REVOKED, RUNNING, Memory, Writer, create_file
from jqcli.engine.runner import Runner
from jqcli.engine.setup import Setup
from jqcli.errors import Skip, StopNow
from jqcli.policy import Policy

DEEDS = ["ok", "fail", "skip", "ok", "large", "ok", "nojson", "large", "large", "fail", "ok", "skip", "ok"]


class DeathError(BaseException):
    """Ends the runner like a SIGKILL: nothing of it goes on."""


def perform(deed):
    """Do what a job's payload says."""
    if deed == "fail":
        raise KeyError(deed)
    if deed == "skip":
        raise Skip("why")
    if deed == "nojson":
        return object()
    return "x" * (PAGE_SIZE // 2 + 100) if deed == "large" else deed


@dataclass
class Scene:
    """A runner and the ledger of its parent, which reads at once (`prompt`) or only after the death."""

    prompt: bool = False
    dies_in: int | None = None  # the attempt, counted from 1, inside which it dies
    revoked_in: int | None = None  # the attempt, counted from 1, inside which the parent wants work back
    dies_at: tuple[int, str] | None = None  # the frame, counted from 0, and whether `before` or `after` it is sent
    sent: list[bytes] = field(default_factory=list)
    events: list[object] = field(default_factory=list)
    attempts: int = 0
    frames: int = 0

    def __post_init__(self):
        fd = create_file()
        self.memory, self.writer = Memory(fd), Writer(fd)
        os.close(fd)
        self.ledger = Ledger(self.memory)
        setup = Setup("5f01ab", Scheme(), ("jobs.jsonl",), ("jobs",), 4 << 20)
        handler = Handler("h", self.call, wants_ctx=False, policy=Policy(), exit=ExitStack())
        self.runner = Runner(setup, {None: handler}, self.writer, self.send)

    def call(self, payload):
        self.attempts += 1
        if self.attempts == self.dies_in:
            raise StopNow
        if self.attempts == self.revoked_in:
            self.memory.words[REVOKED] = 1
        return perform(payload)

    def send(self, data):
        number, self.frames = self.frames, self.frames + 1
        if self.dies_at == (number, "before"):
            raise DeathError
        self.sent.append(data)
        if self.prompt:
            self.read()
        if self.dies_at == (number, "after"):
            raise DeathError

    def read(self):
        for data in self.sent:
            kind = Kind(HEADER.unpack_from(data)[1])
            for event in self.ledger.read(kind, data[HEADER.size :], 0.0):
                kept = [bytes(record) for record in event.records] if isinstance(event, Finished) else None
                self.events.append(event if kept is None else event._replace(records=kept))
        self.memory.free()
        self.sent = []

    def prepare(self, deeds, number=1):
        data = b"".join(orjson.dumps(deed) + b"\n" for deed in deeds)
        self.ledger.preparing[number] = Work(number, 0, 1, len(deeds), data, with_ids=False)
        self.runner.handle(Kind.PREPARE, frame.PREPARE.pack(number, 1, len(deeds), 0, 0))
        self.runner.handle(Kind.LINES, data)
        self.read()

    def run(self, number=1, order=None, limits=None):
        self.ledger.add_run(number, order, limits or Limits(None, {}), 0.0)
        body = b"" if order is None else order.tobytes()
        self.runner.handle(Kind.RUN, frame.BATCH.pack(number) + body)

    def bury(self):
        self.read()
        events, works = self.ledger.bury(crash("the worker ended"), 1e9)
        self.events += events
        return works

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def finished(self):
        found = []
        for event in self.of(Finished):
            lines = b"".join(event.records).splitlines()
            assert len(lines) == len(event.indexes) == event.completed + event.skipped
            assert sum(orjson.loads(line)["status"] == "skipped" for line in lines) == event.skipped
            found += zip(event.indexes, lines, strict=True)
        return found


def check(scene, deeds):
    """Hold what the ledger said against what was run; return indexes that finished, failed, crashed and came back."""
    finished = [index for index, _ in scene.finished]
    for index, line in scene.finished:
        assert orjson.loads(line)["id"] == f"jobs:{index + 1}"
    crashed = [event.index for event in scene.of(Failed) if event.failure.verdict == "crash"]
    failed = [event.index for event in scene.of(Failed) if event.failure.verdict != "crash"]
    returned = [index for event in scene.of(Returned) for index in event.indexes]
    assert sorted(finished + crashed + failed + returned) == list(range(len(deeds)))
    assert len(scene.of(Ended)) == 1
    assert len(crashed) <= 1
    assert all(deeds[index] in ("ok", "skip", "large") for index in finished)
    assert all(deeds[index] in ("fail", "nojson") for index in failed)
    assert (scene.ledger.load, scene.ledger.is_running) == (0, False)
    return finished, failed, crashed, returned


PROMPT = pytest.mark.parametrize("prompt", [False, True], ids=["read-late", "read-at-once"])
SMALL = [deed for deed in DEEDS if deed != "large"]


@PROMPT
@pytest.mark.parametrize("position", range(1, len(DEEDS) + 1))
def test_a_death_inside_an_attempt_charges_that_job_and_no_other(prompt, position):
    deeds = DEEDS if prompt or DEEDS[: position - 1].count("large") < 2 else SMALL
    if position > len(deeds):
        return
    scene = Scene(prompt, dies_in=position)
    scene.prepare(deeds)
    with pytest.raises(StopNow):
        scene.run()
    scene.bury()
    finished, failed, crashed, returned = check(scene, deeds)
    assert crashed == [position - 1]
    assert sorted(finished + failed) == list(range(position - 1))
    assert returned == list(range(position, len(deeds)))


@PROMPT
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 16))
def test_a_death_at_any_frame_leaves_every_job_accounted_for(prompt, when, number):
    scene = Scene(prompt, dies_at=(number, when))
    scene.prepare(DEEDS if prompt else SMALL)
    with suppress(DeathError):
        scene.run()
    scene.bury() if scene.ledger.load else scene.read()
    finished, failed, crashed, returned = check(scene, DEEDS if prompt else SMALL)
    begun = scene.attempts
    assert sorted(finished + failed + crashed) == list(range(len(finished + failed + crashed))), "in order"
    assert set(returned) <= set(range(begun, len(SMALL) + len(DEEDS)))
    assert crashed in ([], [begun - 1])


@PROMPT
def test_a_batch_that_ends_well_is_wholly_told(prompt):
    scene = Scene(prompt)
    scene.prepare(DEEDS if prompt else SMALL)
    scene.run()
    scene.read()
    finished, failed, crashed, returned = check(scene, DEEDS if prompt else SMALL)
    assert (crashed, returned) == ([], [])
    assert len(finished) + len(failed) == scene.attempts == scene.ledger.done


def test_a_death_while_lines_are_read_is_told_of_that_batch_and_the_others_come_back_as_work():
    scene = Scene()
    works = {number: Work(number, 0, 1, 1, b"1\n", with_ids=False) for number in (1, 2, 3)}
    scene.ledger.preparing |= works
    scene.memory.words[READING] = 2 + 1
    assert scene.bury() == [works[1], works[3]]
    assert [event.batch for event in scene.of(Unprepared)] == [2]


def test_a_death_between_two_batches_charges_nobody():
    scene = Scene()
    scene.prepare(SMALL, 1)
    scene.prepare(["ok"], 2)
    scene.run(1)
    scene.ledger.add_run(2, None, Limits(None, {}), 0.0)
    assert scene.bury() == []
    assert [event.batch for event in scene.of(Ended)] == [1, 2]
    assert [(event.batch, list(event.indexes)) for event in scene.of(Returned)] == [(2, [0])]
    assert all(event.failure.verdict != "crash" for event in scene.of(Failed))


def test_a_batch_that_was_taken_back_while_it_was_prepared_is_answered_by_nobody():
    scene = Scene()
    data = b"1\n"
    scene.runner.handle(Kind.PREPARE, frame.PREPARE.pack(9, 1, 1, 0, 0))
    scene.runner.handle(Kind.LINES, data)
    assert len(scene.sent) == 1
    scene.read()
    assert scene.events == []
    assert scene.ledger.load == 0


@pytest.mark.parametrize("position", range(1, len(SMALL)))
def test_what_is_taken_back_behind_a_long_attempt_is_said_once_and_the_rest_ends_with_it(position):
    scene = Scene(dies_in=position)
    scene.prepare(SMALL)
    scene.prepare(["ok"], 2)
    with pytest.raises(StopNow):
        scene.run(limits=Limits(5.0, {}))
    scene.read()
    running = scene.ledger.running(0.0)
    assert (running.batch, running.index, running.limit) == (1, position - 1, 5.0)
    assert scene.ledger.has_rest(running)
    events, works = scene.ledger.take_rest(running.position + 1)
    scene.events += events
    assert works == []
    assert [(event.batch, list(event.indexes)) for event in scene.of(Returned)] == [
        (1, list(range(position, len(SMALL))))
    ]
    assert scene.of(Ended) == []
    scene.bury()
    finished, failed, crashed, _ = check(scene, SMALL)
    assert crashed == [position - 1]
    assert sorted(finished + failed) == list(range(position - 1))


@pytest.mark.parametrize("position", range(1, len(SMALL) + 1))
def test_behind_the_word_that_work_is_wanted_back_no_attempt_begins_however_short_they_are(position):
    scene = Scene(revoked_in=position)
    scene.prepare(SMALL)
    scene.run()
    assert scene.attempts == position
    assert HEADER.unpack_from(scene.sent.pop())[1] == Kind.STOPPED
    scene.bury()
    finished, failed, crashed, returned = check(scene, SMALL)
    assert sorted(finished + failed) == list(range(position))
    assert (crashed, returned) == ([], list(range(position, len(SMALL))))


class Moving(Memory):
    """A memory whose worker finishes a job in the middle of a look at it."""

    def spot(self):
        self.words[HEAD] += self.writer.write(b"{}\n")
        return super().spot()


def test_a_worker_that_moves_on_while_it_is_looked_at_is_not_killed_for_the_attempt_that_it_has_just_begun():
    fd = create_file()
    memory = Moving(fd)
    memory.writer = Writer(fd)
    os.close(fd)
    ledger = Ledger(memory)
    ledger.add_run(1, range(9), Limits(5.0, {}), 0.0)
    memory.words[RUNNING] = 1 + 1
    worker = Worker(0, child=None, ledger=ledger, started_at=0.0, is_ready=True)
    assert worker.overrun(1.0) is None
    assert worker.overrun(7.0) is None
    memory.spot = super(Moving, memory).spot
    assert worker.overrun(7.5) is None
    cause, place = worker.overrun(13.0)
    assert (cause.verdict, place) == ("timeout", (1, 1))


def test_all_that_was_not_begun_comes_back_when_a_worker_stops():
    scene = Scene()
    scene.prepare(SMALL, 1)
    scene.prepare(["ok"], 2)
    scene.ledger.preparing[3] = Work(3, 0, 1, 1, b"1\n", with_ids=False)
    scene.ledger.add_run(1, None, Limits(None, {}), 0.0)
    events, works = scene.ledger.give_back()
    scene.events += events
    assert [work.batch for work in works] == [3]
    assert [list(event.indexes) for event in scene.of(Returned)] == [list(range(len(SMALL)))]
    assert scene.ledger.load == 0


def test_words_that_make_no_sense_say_that_nothing_runs():
    scene = Scene()
    scene.prepare(["ok", "ok"])
    words = scene.memory.words
    for word, batch in [(RUNNING, 1), (READING, 7), (RUNNING, -1)]:
        words[RUNNING] = words[READING] = 0
        words[word] = batch + 1
        assert scene.ledger.running(0.0) is None
    words[READING] = 0
    scene.ledger.add_run(1, None, Limits(None, {}), 0.0)
    for batch, spot in [(2, 0), (1, 2), (1, 2**20), (-1, 0)]:
        words[RUNNING] = batch + 1
        scene.writer.mark(spot)
        assert scene.ledger.running(0.0) is None
    words[RUNNING] = 1 + 1
    scene.writer.mark(1)
    assert scene.ledger.running(0.0).index == 1


def test_an_attempt_is_as_old_as_the_place_at_which_its_worker_was_first_seen():
    scene = Scene()
    scene.prepare(["ok", "ok"])
    scene.ledger.add_run(1, None, Limits(None, {}), 0.0)
    scene.memory.words[RUNNING] = 1 + 1
    assert [scene.ledger.look(now) for now in (10.0, 10.5, 12.0)] == [0.0, 0.5, 2.0]
    assert scene.ledger.running(12.0).since == 10.0
    scene.writer.put(b"{}\n")
    assert (scene.ledger.look(13.0), scene.ledger.running(13.5).since) == (0.0, 13.0)


def test_nobody_is_charged_where_the_worker_had_moved_on_from_the_place_that_it_was_killed_for():
    scene = Scene(dies_in=3)
    scene.prepare(["ok"] * 5)
    with pytest.raises(StopNow):
        scene.run()
    events, _ = scene.ledger.bury(Cause("timeout", "jqcli.JobTimeout", "too long"), 1e9, blamed=(1, 1))
    scene.events += events
    finished, _, crashed, returned = check(scene, ["ok"] * 5)
    assert (finished, crashed, returned) == ([0, 1], [], [2, 3, 4])
    assert scene.of(Failed) == []


def test_who_is_charged_with_a_timeout_is_so_with_the_time_of_that_attempt_and_by_the_name_of_pythons_own():
    scene = Scene()
    scene.prepare(["ok"] * 3)
    scene.ledger.add_run(1, None, Limits(None, {}), 100.0)
    scene.memory.words[RUNNING] = 1 + 1
    scene.ledger.look(107.0)
    events, _ = scene.ledger.bury(Cause("timeout", "jqcli.JobTimeout", "too long"), 109.0)
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert (failed.index, failed.failure.duration) == (0, 2.0)
    assert failed.failure.names[:2] == ("jqcli.JobTimeout", "builtins.TimeoutError")


def test_a_run_that_waited_behind_another_took_only_the_time_since_that_ended():
    scene = Scene()
    for number in (1, 2):
        scene.prepare(["ok"], number)
        scene.ledger.add_run(number, None, Limits(None, {}), 100.0)
    ended = []
    for number, now in ((1, 107.0), (2, 109.0)):
        scene.runner.handle(Kind.RUN, frame.BATCH.pack(number))
        for data in scene.sent:
            ended += scene.ledger.read(Kind(HEADER.unpack_from(data)[1]), data[HEADER.size :], now)
        scene.sent = []
    assert [(each.batch, each.seconds, each.jobs) for each in ended if isinstance(each, Ended)] == [
        (1, 7.0, 1),
        (2, 2.0, 1),
    ]


def test_records_count_for_nobody_where_one_of_them_was_lost_with_the_channel():
    deeds = ["large", "large", "ok", "ok"]
    scene = Scene(dies_in=4)
    scene.prepare(deeds)
    with pytest.raises(StopNow):
        scene.run()
    assert Kind.RECORD in [HEADER.unpack_from(data)[1] for data in scene.sent]
    scene.events, _ = scene.ledger.bury(crash("the worker sent nonsense"), 1e9, is_garbled=True)
    finished, _, crashed, returned = check(scene, deeds)
    assert (finished, crashed, returned) == ([], [3], [0, 1, 2])


def test_the_place_in_a_run_is_counted_from_its_own_beginning(monkeypatch):
    scene = Scene()
    places = []
    monkeypatch.setitem(globals(), "perform", lambda deed: places.append(scene.memory.spot()) or deed)
    for number in (1, 2):
        scene.prepare(["ok"] * 3, number)
        assert gc.isenabled()
        scene.run(number)
    assert places == [0, 1, 2] * 2
    assert scene.runner._held == {}, "what was run is kept to the end"


def test_a_worker_that_stopped_holds_nothing_and_heeds_nothing_before_it_is_to_go_on():
    scene = Scene(revoked_in=1)
    scene.prepare(["ok"] * 3)
    scene.prepare(["ok"], 2)
    scene.run()
    assert scene.memory.words[REVOKED] == 0
    announced = [(Kind.PREPARE, frame.PREPARE.pack(3, 1, 1, 0, 0)), (Kind.LINES, b"1\n")]
    before = scene.frames
    for kind, body in [(Kind.RUN, frame.BATCH.pack(2)), *announced]:
        scene.runner.handle(kind, body)
    assert (scene.frames, scene.runner._held) == (before, {})
    for kind, body in [(Kind.RESUME, b""), *announced]:
        scene.runner.handle(kind, body)
    assert (scene.frames, list(scene.runner._held)) == (before + 1, [3])


def test_waiting_for_room_is_no_part_of_an_attempt(monkeypatch):
    scene = Scene()
    deeds = ["x" * 1000] * (3 * PAGE_SIZE // 1000)
    waited = []

    def sleep(_):
        waited.append(scene.memory.words[RUNNING])
        scene.read()

    monkeypatch.setattr("jqcli.engine.runner.time.sleep", sleep)
    at = set()
    monkeypatch.setitem(globals(), "perform", lambda deed: at.add(scene.memory.words[RUNNING]) or deed)
    scene.prepare(deeds)
    scene.run()
    assert (set(waited), at) == ({0}, {1 + 1})
    scene.read()
    assert len(scene.finished) == len(deeds)


BROKEN = [
    (Kind.TOLD, b""),
    (Kind.TOLD, frame.TOLD.pack(1, 9, 0, 9, 0, 0) + b"[]"),
    (Kind.TOLD, frame.TOLD.pack(1, 1, 0, 0, 0, 0) + b"[]"),
    (Kind.TOLD, frame.TOLD.pack(1, 0, 0, 0, 0, 0) + b"{"),
    (Kind.TOLD, frame.TOLD.pack(5, 0, 0, 0, 0, 0) + b"[]"),
    (Kind.FAILED, b"x"),
    (Kind.FAILED, frame.FAILED.pack(1, 77) + b"{}"),
    (Kind.FAILED, frame.FAILED.pack(1, 0) + b"{}"),
    (Kind.FAILED, frame.FAILED.pack(1, 0) + b"[]"),
    (Kind.FAILED, frame.FAILED.pack(1, 0) + b"not json"),
    (Kind.RECORD, b""),
    (Kind.RECORD, frame.BATCH.pack(8) + b"{}\n"),
    (Kind.PREPARED, b"abc"),
    (Kind.SETUP, b""),
    (Kind.RUN, b"12345678"),
]


@pytest.mark.parametrize("kind, body", BROKEN)
def test_a_frame_that_makes_no_sense_is_an_error_of_the_channel(kind, body):
    scene = Scene()
    scene.prepare(["ok"])
    scene.ledger.add_run(1, None, Limits(None, {}), 0.0)
    with pytest.raises(FrameError):
        scene.ledger.read(kind, body, 0.0)


@pytest.mark.parametrize(
    "body", [frame.PREPARED.pack(1, 3, 0, 0) + b"k" * 48, frame.PREPARED.pack(1, 1, 0, 0) + b"k" * 5]
)
def test_an_answer_of_another_size_than_its_batch_is_an_error_of_the_channel(body):
    scene = Scene()
    scene.ledger.preparing[1] = Work(1, 0, 1, 1, b"1\n", with_ids=False)
    with pytest.raises(FrameError):
        scene.ledger.read(Kind.PREPARED, body, 0.0)


def test_an_answer_carries_keys_hashes_and_notes():
    scene = Scene()
    data = b'1\n{"payload":1,"key":"k"}\n{\n'
    scene.ledger.preparing[1] = Work(1, 0, 1, 3, data, with_ids=True)
    scene.runner.handle(Kind.PREPARE, frame.PREPARE.pack(1, 1, 3, 0, 1))
    scene.runner.handle(Kind.LINES, data)
    scene.read()
    (answer,) = scene.of(Answer)
    assert (len(answer.keys), len(answer.hashes), len(answer.own_ids)) == (48, 48, 24)
    assert [index for index, _ in answer.notes] == [2]
