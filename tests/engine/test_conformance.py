"""What every engine does alike, and what those that isolate their attempts do besides."""

from __future__ import annotations

import errno
import os
import selectors
import signal
import time
from array import array
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field

import orjson
import pytest

from jqcli.core import event as was
from jqcli.core.codec import Scheme
from jqcli.core.effect import Attempt, Limits, Work
from jqcli.core.record import durations_of
from jqcli.engine import child, runner
from jqcli.engine.frame import HEADER, FrameError, Kind
from jqcli.engine.inline import Inline
from jqcli.engine.memory import PAGE_SIZE, REVOKED
from jqcli.engine.process import Pool
from jqcli.engine.setup import Setup, pack_setup
from jqcli.engine.voice import name_job
from jqcli.errors import HandlerLoadError
from jqcli.policy import Policy
from tests.command import wait_for

TAG = "5f01ab"
MAX_RESULT = 4 << 20
PATIENCE = 20.0

HANDLERS = """
import ctypes, os, signal, sys, time
from jqcli import Reject, Retry, Skip, Snooze, handler


def note(payload):
    with open(os.environ["SIDE_EFFECTS"], "ab") as log:
        log.write(b"%d\\n" % payload["n"])


def channel_fd():
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and os.path.exists(f"/proc/self/fd/{fd}") and os.readlink(f"/proc/self/fd/{fd}")[:7] == "socket:":
            return fd


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("never")


class Bare(Retry):
    def __init__(self):
        pass


class Loop:
    def __init__(self):
        self.loop = self


def hang_in_c():
    # holds the interpreter's lock: nothing of Python runs here until it is killed
    ctypes.PyDLL(None).sleep(600)


DEEDS = {
    "echo": lambda p: p["value"],
    "large": lambda p: "x" * p["size"],
    "skip": lambda p: (_ for _ in ()).throw(Skip("not ours\\n\\x1b[2J")),
    "skip_unprintable": lambda p: (_ for _ in ()).throw(Skip(Unprintable())),
    "raise": lambda p: {}["missing"],
    "unprintable": lambda p: (_ for _ in ()).throw(Unprintable()),
    "surrogate": lambda p: (_ for _ in ()).throw(ValueError("\\ud800")),
    "retry": lambda p: (_ for _ in ()).throw(Retry("later", after=p.get("after"))),
    "bare_retry": lambda p: (_ for _ in ()).throw(Bare()),
    "snooze": lambda p: (_ for _ in ()).throw(Snooze(p.get("after", "1m"), "not now")),
    "reject": lambda p: (_ for _ in ()).throw(Reject("never")),
    "exit": lambda p: sys.exit(3),
    "interrupt": lambda p: (_ for _ in ()).throw(KeyboardInterrupt()),
    "nan": lambda p: {"a": [1, {"b": float("nan")}]},
    "infinite": lambda p: float("inf"),
    "object": lambda p: object(),
    "bytes": lambda p: b"x",
    "circle": lambda p: (lambda a: a.append(a) or a)([]),
    "lone": lambda p: "\\ud800",
    "large_int": lambda p: {"n": 2**70},
    "int_keys": lambda p: {1: "a"},
    "deep": lambda p: __import__("functools").reduce(lambda a, _: [a], range(300), 1),
    "null_text": lambda p: "null",
    "none": lambda p: None,
    "print": lambda p: print("on stdout") or 1,
    "segfault": lambda p: ctypes.string_at(0),
    "os_exit": lambda p: os._exit(0),
    "kill": lambda p: os.kill(os.getpid(), signal.SIGKILL),
    "sleep": lambda p: time.sleep(p.get("seconds", 600)),
    "await": lambda p: [time.sleep(0.001) for _ in iter(lambda: os.path.exists(p["path"]), True)] and None,
    "hang_in_c": lambda p: hang_in_c(),
    "garbage": lambda p: os.write(channel_fd(), bytes.fromhex(p["hex"])),
    "half_frame": lambda p: (os.write(channel_fd(), bytes.fromhex(p["hex"])), os.kill(os.getpid(), signal.SIGKILL)),
    "pid": lambda p: os.getpid(),
}


def work(payload):
    if "n" in payload:
        note(payload)
    return DEEDS[payload["do"]](payload)


@handler(max_attempts=7, timeout="9s")
def told(payload, ctx):
    rest = ctx.log.extra["job"], ctx.is_probe
    return [ctx.id, ctx.key, ctx.attempt, ctx.max_attempts, ctx.tenant, ctx.meta, ctx.deadline_at, *rest]


class Counting:
    def __enter__(self):
        self.calls = 0
        return self

    def __call__(self, payload):
        self.calls += 1
        return self.calls

    def __exit__(self, *exc):
        with open(os.environ["SIDE_EFFECTS"], "ab") as log:
            log.write(b"-1\\n")


class Chatterbox(Counting):
    def __exit__(self, *exc):
        end = time.monotonic() + 50
        while time.monotonic() < end:
            print("and another thing", flush=True)
            time.sleep(0.001)


class BadExit(Counting):
    def __exit__(self, *exc):
        raise RuntimeError("leaving failed")
"""


@dataclass
class Bench:
    """An engine with the little of a run that it needs, and everything it said."""

    engine: Inline | Pool
    selector: selectors.BaseSelector
    is_served: bool = True
    batch: int = 0
    lines: dict[int, list[bytes]] = field(default_factory=dict)
    orders: dict[int, object] = field(default_factory=dict)
    limits: dict[int, Limits] = field(default_factory=dict)
    answers: dict[int, was.Answer] = field(default_factory=dict)
    records: dict[int, list[tuple[int, bytes]]] = field(default_factory=dict)
    failures: dict[int, dict[int, was.Failure]] = field(default_factory=dict)
    returned: dict[int, list[int]] = field(default_factory=dict)
    ended: Counter[int] = field(default_factory=Counter)
    unprepared: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    finished: list[was.Finished] = field(default_factory=list)

    def prepare(self, lines, *, order=None, timeout=None, limits=None, with_ids=False):
        """Send lines; they are run when they are prepared, unless `order` is empty."""
        self.batch += 1
        data = [line if isinstance(line, bytes) else orjson.dumps({"payload": line}) for line in lines]
        self.lines[self.batch] = data
        self.orders[self.batch] = order
        self.limits[self.batch] = limits or Limits(timeout, {})
        self.engine.prepare(Work(self.batch, 0, 1, len(data), b"".join(each + b"\n" for each in data), with_ids))
        return self.batch

    def run_jobs(self, attempts, limits=None):
        self.batch += 1
        self.lines[self.batch] = [each.data for each in attempts]
        self.engine.run_jobs(self.batch, attempts, limits or Limits(None, {}))
        return self.batch

    def turn(self):
        now = time.monotonic()
        until = self.engine.wait_until(now)
        pause = 0.05 if until is None else min(0.05, max(0.0, until - now))
        if self.selector.get_map():
            for key, mask in self.selector.select(pause):
                key.data(mask)
        for event in self.engine.advance(time.monotonic()):
            self.take(event)

    def take(self, event):
        match event:
            case was.Answer():
                self.answers[event.batch] = event
                if self.is_served:
                    self.run(event.batch)
            case was.Finished():
                self.finished.append(event)
                text = b"".join(event.records)
                lines = text.splitlines(keepends=True)
                assert len(lines) == len(event.indexes) == event.completed + event.skipped
                assert sum(b'"status":"skipped"' in line for line in lines) == event.skipped
                self.records.setdefault(event.batch, []).extend(zip(event.indexes, lines, strict=True))
            case was.Failed():
                found = self.failures.setdefault(event.batch, {})
                assert event.index not in found
                found[event.index] = event.failure
            case was.Returned():
                self.returned.setdefault(event.batch, []).extend(event.indexes)
            case was.Ended():
                self.ended[event.batch] += 1
                self.check_whole(event.batch)
            case was.Unprepared():
                self.unprepared.append(event.batch)
            case was.Lost():
                self.lost.append(event.message)

    def run(self, batch):
        self.engine.run(batch, len(self.lines[batch]), self.orders[batch], self.limits[batch])

    def check_whole(self, batch):
        """A batch that ended has said one thing of each of its jobs."""
        order = self.orders.get(batch)
        expected = range(len(self.lines[batch])) if order is None else order
        said = [index for index, _ in self.records.get(batch, [])]
        said += [*self.failures.get(batch, {}), *self.returned.get(batch, [])]
        assert sorted(said) == sorted(expected)
        assert self.ended[batch] == 1

    def wait(self, is_true, patience=PATIENCE):
        deadline = time.monotonic() + patience
        while not is_true():
            assert time.monotonic() < deadline, "it never happened"
            self.turn()

    def finish(self, *batches):
        self.wait(lambda: all(self.ended[batch] for batch in batches))
        return batches[0]

    def run_all(self, lines, **more):
        return self.finish(self.prepare(lines, **more))

    def again(self, batch):
        """Run what came back, as soon as there is room; return the batch."""
        back = self.returned.pop(batch)
        self.wait(lambda: self.engine.room(time.monotonic()) > 0)
        return self.finish(self.run_jobs([Attempt(0, at + 1, self.lines[batch][at], 1) for at in back]))

    def result(self, batch, index=0):
        return orjson.loads(dict(self.records[batch])[index])


@pytest.fixture(scope="module")
def handlers(tmp_path_factory):
    path = tmp_path_factory.mktemp("handlers") / "conforming.py"
    path.write_text(HANDLERS)
    return path


@pytest.fixture(scope="module", autouse=True)
def effects(tmp_path_factory):
    """The log of side effects that the handlers write."""
    path = tmp_path_factory.mktemp("effects") / "log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDE_EFFECTS", str(path))
        yield path


def count_effects(path):
    return Counter(map(int, path.read_bytes().split())) if path.exists() else Counter()


def open_bench(kind, specs, workers=1, hear=None):
    setup = Setup(TAG, Scheme(handlers=tuple(name for name in specs if name)), ("jobs.jsonl",), ("jobs",), MAX_RESULT)
    selector = selectors.DefaultSelector()
    if kind is Inline:
        return Bench(Inline(setup, specs, hear), selector)
    return Bench(Pool(workers, pack_setup(setup, specs), MAX_RESULT, selector, hear), selector)


def specs_of(path, **names):
    found = {None: (f"{path}:work", Policy())}
    return found | {name: (f"{path}:{name}", Policy()) for name in names}


@contextmanager
def closing(bench):
    try:
        yield bench
    finally:
        bench.engine.close(at_once=True)
        bench.selector.close()


@pytest.fixture(scope="module", params=[Inline, Pool], ids=["inline", "process"])
def shared(request, handlers):
    """One engine of each kind, for tests that leave it as they found it."""
    specs = specs_of(handlers, told=True, Counting=True)
    specs["short"] = (f"{handlers}:told", Policy(max_attempts=2))
    bench = open_bench(request.param, specs)
    assert bench.engine.start(lambda: True)["told"].to_dict() == {"max_attempts": 7, "timeout": 9.0}
    with closing(bench):
        yield bench


@pytest.fixture(params=[Inline, Pool], ids=["inline", "process"])
def alone(request, handlers):
    """An engine of each kind for one test, which may leave it in any state."""
    bench = open_bench(request.param, specs_of(handlers))
    bench.engine.start(lambda: True)
    with closing(bench):
        yield bench


@pytest.fixture
def pool(handlers):
    bench = open_bench(Pool, specs_of(handlers))
    bench.engine.start(lambda: True)
    with closing(bench):
        yield bench


@pytest.fixture
def pair(handlers):
    bench = open_bench(Pool, specs_of(handlers), workers=2)
    bench.engine.start(lambda: True)
    with closing(bench):
        yield bench


# What all engines do


def test_records_come_in_the_order_of_the_lines_each_whole(shared):
    values = [1, 1.0, None, "é\n", {"b": 1, "a": [True]}, [], "null", {"x": None}]
    batch = shared.run_all([{"do": "echo", "value": value} for value in values])
    found = [orjson.loads(record) for _, record in shared.records[batch]]
    assert [index for index, _ in shared.records[batch]] == list(range(len(values)))
    assert [each["result"] for each in found] == values
    for number, each in enumerate(found, 1):
        assert list(each) == ["id", "key", "status", "result", "attempts", "duration"]
        assert (each["id"], each["status"], each["attempts"]) == (f"jobs:{number}", "completed", 1)
        assert each["key"].startswith(f"{TAG}:")
        assert each["duration"] >= 0


def test_only_the_lines_that_may_run_do(shared):
    lines = [{"do": "echo", "value": at} for at in range(6)]
    batch = shared.run_all(lines, order=array("I", [1, 3, 4]))
    assert [(index, orjson.loads(record)["result"]) for index, record in shared.records[batch]] == [
        (1, 1),
        (3, 3),
        (4, 4),
    ]


def test_a_given_key_stands_in_its_record_with_the_hash_of_its_payload(shared):
    batch = shared.run_all([b'{"payload":{"do":"none"},"key":"a\\"b","id":123456789012345678901}'])
    record = dict(shared.records[batch])[0]
    assert record.startswith(b'{"id":123456789012345678901,"key":"5f01ab:=a\\"b","payload_hash":"')
    assert orjson.loads(record)["result"] is None


def test_a_dropped_batch_is_forgotten_and_says_nothing(shared):
    shared.is_served = False
    batch = shared.prepare([{"do": "none"}])
    shared.wait(lambda: batch in shared.answers)
    shared.is_served = True
    shared.engine.drop(batch)
    shared.run_all([{"do": "none"}])
    assert batch not in shared.records
    assert shared.ended[batch] == 0
    assert not shared.engine.is_busy


def test_an_answer_tells_of_every_line_that_is_not_plain(shared):
    lines = [b"1", b"", b"{", b'{"payload":1,"timeout":2}', b'{"payload":1,"key":"k"}']
    shared.is_served = False
    batch = shared.prepare(lines, with_ids=True)
    shared.wait(lambda: batch in shared.answers)
    shared.is_served = True
    shared.engine.drop(batch)
    answer = shared.answers[batch]
    notes = dict(answer.notes)
    assert notes[1] == {"blank": True}
    assert notes[2]["reason"] == "invalid_json"
    assert notes[3] == {"asks": {"timeout": 2.0}}
    assert sorted(notes) == [1, 2, 3]
    assert (len(answer.keys), len(answer.hashes), len(answer.own_ids)) == (80, 80, 40)


def test_a_skipped_job_has_a_record_with_its_reason(shared):
    batch = shared.run_all([{"do": "skip"}, {"do": "none"}])
    found = shared.result(batch)
    assert list(found) == ["id", "key", "status", "reason", "attempts", "duration"]
    assert (found["status"], found["reason"]) == ("skipped", "not ours\n\x1b[2J")


def test_a_skip_whose_reason_cannot_be_printed_hurts_nobody(alone):
    batch = alone.run_all([{"do": "none"}, {"do": "skip_unprintable"}, {"do": "none"}])
    assert alone.result(batch, 1)["status"] == "skipped"
    assert len(alone.records[batch]) == 3


@pytest.mark.parametrize(
    "deed, verdict, kind, message",
    [
        ("raise", "error", "builtins.KeyError", "'missing'"),
        ("unprintable", "error", "conforming.Unprintable", "RuntimeError"),
        ("surrogate", "error", "builtins.ValueError", "\\ud800"),
        ("retry", "retry", "jqcli.errors.Retry", "later"),
        ("snooze", "snooze", "jqcli.errors.Snooze", "not now"),
        ("reject", "reject", "jqcli.errors.Reject", "never"),
        ("exit", "error", "builtins.SystemExit", "3"),
        ("interrupt", "error", "builtins.KeyboardInterrupt", ""),
        ("nan", "unserializable", "", ""),
        ("infinite", "unserializable", "", ""),
        ("object", "unserializable", "", "object"),
        ("bytes", "unserializable", "", "bytes"),
        ("circle", "unserializable", "", ""),
        ("lone", "unserializable", "", ""),
    ],
)
def test_whatever_a_handler_does_wrong_is_a_value_and_the_others_go_on(shared, deed, verdict, kind, message):
    batch = shared.run_all([{"do": "none"}, {"do": deed}, {"do": "none"}])
    failure = shared.failures[batch][1]
    assert failure.verdict == verdict
    assert kind in failure.type
    assert message in failure.message
    assert failure.is_exception == (deed not in ("exit", "interrupt"))
    assert failure.type in failure.names
    assert "builtins.object" in failure.names
    assert failure.duration >= 0
    assert [index for index, _ in shared.records[batch]] == [0, 2]


def test_an_error_comes_with_the_frames_of_the_handler(shared):
    batch = shared.run_all([{"do": "raise"}])
    trace = shared.failures[batch][0].stacktrace
    assert "conforming.py" in trace
    assert "KeyError" in trace
    assert "engine/runner.py" not in trace


@pytest.mark.parametrize(
    "after, expected",
    [
        (None, None),
        ("10s", 10.0),
        (5, 5.0),
        (-3, 0.0),
        (1e9, 3600.0),
        ("99h", 3600.0),
    ],
)
def test_a_retry_says_when_within_an_hour(shared, after, expected):
    """Fault 38."""
    batch = shared.run_all([{"do": "retry", "after": after}])
    assert shared.failures[batch][0].after == expected


@pytest.mark.parametrize("after", ["garbage", [1], True])
@pytest.mark.parametrize("do", ["retry", "snooze"])
def test_a_wait_that_is_none_is_an_error_of_the_attempt(shared, do, after):
    batch = shared.run_all([{"do": do, "after": after}])
    failure = shared.failures[batch][0]
    assert (failure.verdict, failure.type, failure.after) == ("error", "builtins.ValueError", None)
    assert repr(after) in failure.message


def test_a_retry_of_a_class_of_the_handlers_own_is_a_retry(alone):
    batch = alone.run_all([{"do": "bare_retry"}, {"do": "none"}])
    assert alone.failures[batch][0].verdict == "retry"


def test_results_that_orjson_refuses_and_json_allows_are_exact(shared):
    batch = shared.run_all([{"do": "large_int"}, {"do": "int_keys"}, {"do": "deep"}])
    texts = [record for _, record in shared.records[batch]]
    assert b'"result":{"n":1180591620717411303424},' in texts[0]
    assert b'"result":{"1":"a"},' in texts[1]
    assert b"[" * 300 + b"1" + b"]" * 300 in texts[2]


def test_results_of_any_size_up_to_the_limit_arrive_in_order(shared):
    sizes = [PAGE_SIZE // 2 - 400, 10, PAGE_SIZE // 2 + 10, PAGE_SIZE + 1, 3, 3 * PAGE_SIZE, PAGE_SIZE // 2 - 300, 0]
    batch = shared.run_all([{"do": "large", "size": size} for size in sizes])
    assert [len(orjson.loads(record)["result"]) for _, record in shared.records[batch]] == sizes


def test_more_results_than_the_pages_hold_arrive_whole(shared):
    batch = shared.run_all([{"do": "large", "size": 50_000 + at} for at in range(100)])
    assert [len(orjson.loads(record)["result"]) for _, record in shared.records[batch]] == [
        50_000 + at for at in range(100)
    ]


def test_a_result_over_the_limit_is_a_failure_of_its_own(shared):
    fits, over = MAX_RESULT - 2, MAX_RESULT - 1  # two quotes stand around the text
    batch = shared.run_all([{"do": "large", "size": fits}, {"do": "large", "size": over}, {"do": "none"}])
    assert [index for index, _ in shared.records[batch]] == [0, 2]
    assert shared.failures[batch][1].verdict == "unserializable"
    assert "--max-result" in shared.failures[batch][1].message


@pytest.mark.parametrize("sizes", [[PAGE_SIZE // 2 - 400] * 3, [10, PAGE_SIZE]], ids=["a_page_is_full", "large"])
def test_durations_speak_once_also_where_a_worker_dies_behind_a_record_that_did_not_fit(pool, sizes):
    pool.run_all([*({"do": "large", "size": size} for size in sizes), {"do": "kill"}])
    counts = [event.durations or durations_of(event.records) for event in pool.finished]
    assert sum(count for each in counts for _, count in each) == len(sizes)


def test_durations_speak_once_of_every_job_that_finished(alone):
    first = len(alone.finished)
    alone.run_all([{"do": "none"}, {"do": "raise"}, {"do": "skip"}, {"do": "nan"}, {"do": "none"}])
    said = alone.finished[first:]
    assert sum(count for each in said for _, count in each.durations) == sum(
        each.completed + each.skipped for each in said
    )


def test_a_handler_that_asks_for_it_is_told_about_its_job(shared):
    before = time.time()
    line = b'{"payload":1,"id":7,"handler":"told","tenant":"t","meta":{"m":1},"key":"k","max_attempts":3,"timeout":60}'
    batch = shared.run_all([line, b'{"payload":2,"handler":"told"}', b'{"payload":3,"handler":"short"}'])
    own_id, key, attempt, most, tenant, meta, deadline, logged, probes = shared.result(batch)["result"]
    assert (own_id, attempt, most, tenant, meta, logged, probes) == (7, 1, 3, "t", {"m": 1}, 7, False)
    assert key == shared.result(batch)["key"]
    assert before + 60 <= deadline <= time.time() + 60
    found = shared.result(batch, 1)
    assert found["result"][:4] == ["jobs:2", found["key"], 1, 7]
    assert before + 9 <= found["result"][6] <= time.time() + 9
    assert shared.result(batch, 2)["result"][3] == 2, "what is laid over a handler's policy wins"


def test_a_job_that_was_ruled_before_runs_with_its_number_and_attempt(shared):
    attempts = [
        Attempt(0, 17, b'{"payload":1,"handler":"told"}', 4),
        Attempt(0, 99, b'{"do":"none"}', 2),
        Attempt(0, 3, b'{"do":"raise"}', 1),
        Attempt(0, 5, b'{"do":"echo","value":123456789012345678901}', 3),
        Attempt(0, 18, b'{"payload":1,"handler":"told"}', 1, is_probe=True),
    ]
    batch = shared.finish(shared.run_jobs(attempts))
    assert shared.result(batch, 0)["result"][:3] == ["jobs:17", shared.result(batch, 0)["key"], 4]
    assert [shared.result(batch, index)["result"][-1] for index in (0, 4)] == [False, True]
    assert (
        shared.result(batch, 0)["attempts"],
        shared.result(batch, 1)["id"],
        shared.result(batch, 1)["attempts"],
    ) == (4, "jobs:99", 2)
    assert list(shared.failures[batch]) == [2]
    assert b'"result":123456789012345678901,"attempts":3' in dict(shared.records[batch])[3]


def test_a_class_is_one_instance_for_all_jobs(shared):
    batch = shared.run_all([b'{"payload":1,"handler":"Counting"}'] * 3)
    counts = [orjson.loads(record)["result"] for _, record in shared.records[batch]]
    assert counts == list(range(counts[0], counts[0] + 3))


def test_a_batch_that_nobody_holds_comes_back_uncharged(shared):
    shared.batch += 1
    batch = shared.batch
    shared.lines[batch], shared.orders[batch] = [b"1", b"2"], None
    shared.engine.run(batch, 2, None, Limits(None, {}))
    shared.finish(batch)
    assert shared.returned[batch] == [0, 1]


def test_what_was_revoked_behind_a_long_attempt_comes_back_and_the_engine_goes_on(shared):
    lines = [{"do": "sleep", "seconds": 0.12}, *({"do": "none"} for _ in range(5))]
    shared.is_served = False
    batch = shared.prepare(lines)
    shared.wait(lambda: batch in shared.answers)
    shared.is_served = True
    shared.run(batch)
    shared.engine.revoke()
    shared.finish(batch)
    done = [index for index, _ in shared.records.get(batch, [])]
    assert done == list(range(len(done)))
    assert len(done) <= 1
    assert sorted(done + shared.returned[batch]) == list(range(6))
    later = shared.again(batch)
    assert len(shared.records[later]) == 6 - len(done)
    assert not shared.engine.is_busy


def test_an_engine_with_something_to_do_starts_no_job_at_once(shared):
    shared.is_served = False
    batch = shared.prepare([{"do": "none"}])
    assert shared.engine.idle(time.monotonic()) == 0
    shared.wait(lambda: batch in shared.answers)
    assert shared.engine.idle(time.monotonic()) == 0, "it holds a batch that it will run first"
    shared.is_served = True
    shared.run(batch)
    shared.finish(batch)


def test_an_idle_engine_has_room_and_wants_nothing(shared):
    shared.run_all([{"do": "none"}])
    assert shared.engine.room(time.monotonic()) > 0
    assert shared.engine.wait_until(time.monotonic()) is None
    assert shared.engine.idle(time.monotonic()) == 1
    assert not shared.engine.is_busy
    (row,) = shared.engine.rows(time.monotonic(), lambda *_: "job")
    assert row.age is None
    assert row.done > 0


ENGINES = pytest.mark.parametrize("kind", [Inline, Pool], ids=["inline", "process"])


@ENGINES
def test_handlers_are_left_when_the_engine_closes(kind, handlers, effects):
    before = count_effects(effects)[-1]
    bench = open_bench(kind, {None: (f"{handlers}:Counting", Policy())})
    bench.engine.start(lambda: True)
    bench.run_all([b"1"])
    assert bench.engine.close(at_once=False) == []
    assert bench.engine.close(at_once=True) == []
    assert count_effects(effects)[-1] == before + 1


def test_a_job_is_named_once_for_all_that_it_prints(handlers, monkeypatch):
    named, heard = [], []
    monkeypatch.setattr(runner, "name_job", lambda *job: named.append(job) or name_job(*job))
    with closing(open_bench(Inline, specs_of(handlers), hear=heard.extend)) as bench:
        bench.engine.start(lambda: True)
        bench.run_all([{"do": "print"}, {"do": "none"}, {"do": "print"}])  # a print is two writes
        bench.run_all([{"do": "print"}])
    assert [line.ids.job for line in heard] == ["jobs:1", "jobs:3", "jobs:1"]
    assert len(named) == 3


def test_a_handler_that_prints_for_ever_as_it_is_left_is_waited_for_a_bounded_time(handlers, monkeypatch):
    monkeypatch.setattr(child, "_SPEECH_LIMIT", 0.5)
    heard = []
    bench = open_bench(Pool, {None: (f"{handlers}:Chatterbox", Policy())}, hear=heard.extend)
    bench.engine.start(lambda: True)
    bench.run_all([b"1"])
    begun = time.monotonic()
    assert bench.engine.close(at_once=False) == []
    assert time.monotonic() - begun < 30
    assert heard


@ENGINES
def test_a_handler_that_cannot_be_left_does_not_keep_the_engine_from_closing(kind, handlers):
    bench = open_bench(kind, {None: (f"{handlers}:BadExit", Policy())})
    bench.engine.start(lambda: True)
    batch = bench.run_all([b"1"])
    assert bench.engine.close(at_once=False) == []
    assert len(bench.records[batch]) == 1


@ENGINES
@pytest.mark.parametrize(
    "text", ["import not_there_at_all", "raise SystemExit(4)", "1 / 0", "def other(p): ...", "def work(:"]
)
def test_a_handler_that_cannot_be_loaded_is_said_at_the_start(kind, text, tmp_path):
    (tmp_path / "broken.py").write_text(text)
    bench = open_bench(kind, {None: (f"{tmp_path / 'broken.py'}:work", Policy())})
    with closing(bench), pytest.raises(HandlerLoadError, match=r"broken\.py"):
        bench.engine.start(lambda: True)


# What engines do that isolate their attempts


def lines_around(count, at, deed, start):
    lines = [{"do": "none", "n": start + number} for number in range(count)]
    lines[at] = {"n": start + at, **deed}
    return lines


def check_death(bench, effects, deed, *, verdict="crash", count=500, at=250, start=0, timeout=None):
    """Let one job of a batch end its worker; everything else is done exactly once and nothing else is charged."""
    batch = bench.run_all(lines_around(count, at, deed, start), timeout=timeout)
    failures = bench.failures[batch]
    assert list(failures) == [at]
    assert failures[at].verdict == verdict
    assert [index for index, _ in bench.records.get(batch, [])] == list(range(at))
    assert bench.returned[batch] == list(range(at + 1, count))
    later = bench.again(batch)
    assert len(bench.records[later]) == count - at - 1
    done = count_effects(effects)
    assert all(done[start + number] == 1 for number in range(count))
    assert not bench.engine.is_busy
    return failures[at]


def test_a_killed_worker_hurts_its_job_alone_and_nothing_runs_twice(pool, effects):
    failure = check_death(pool, effects, {"do": "kill"}, start=1000)
    assert "SIGKILL" in failure.message
    assert failure.type == "jqcli.WorkerCrash"
    assert failure.is_exception


def test_a_segfault_is_a_crash_that_names_its_signal(pool, effects):
    assert "SIGSEGV" in check_death(pool, effects, {"do": "segfault"}, start=2000, count=20, at=10).message


def test_an_exit_with_code_0_is_a_crash_and_no_success(pool, effects):
    assert "exit code 0" in check_death(pool, effects, {"do": "os_exit"}, start=3000, count=20, at=0).message


def test_the_last_job_of_a_batch_may_die_too(pool, effects):
    batch = pool.run_all(lines_around(20, 19, {"do": "kill"}, 3500))
    assert list(pool.failures[batch]) == [19]
    assert pool.returned.get(batch, []) == []
    assert len(pool.records[batch]) == 19


def test_results_larger_than_half_a_page_survive_the_death_behind_them(pool):
    lines = [{"do": "large", "size": 2 * PAGE_SIZE}, {"do": "none"}, {"do": "raise"}, {"do": "kill"}, {"do": "none"}]
    batch = pool.run_all(lines)
    assert [index for index, _ in pool.records[batch]] == [0, 1]
    assert {index: failure.verdict for index, failure in pool.failures[batch].items()} == {2: "error", 3: "crash"}
    assert pool.returned[batch] == [4]


def test_skipped_jobs_survive_the_death_behind_them(pool):
    batch = pool.run_all([{"do": "skip"}, {"do": "echo", "value": '"status":"skipped"'}, {"do": "kill"}], timeout=None)
    assert [index for index, _ in pool.records[batch]] == [0, 1]
    assert pool.finished[-1].skipped == 1 or sum(each.skipped for each in pool.finished) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"garbage" * 100,
        b"\xff" * 64,
        HEADER.pack((1 << 32) - 1, Kind.TOLD),
        HEADER.pack(3, Kind.TOLD) + b"abc",
        HEADER.pack(0, 99),
        HEADER.pack(4, Kind.FAILED) + b"abcd",
        HEADER.pack(8, Kind.RECORD) + b"\xff" * 8,
        HEADER.pack(0, Kind.SETUP),
        HEADER.pack(2, Kind.LOST) + b"{x",
        HEADER.pack(1, Kind.READY) + b"3",
    ],
    ids=[
        "text",
        "ones",
        "too-long",
        "short-told",
        "unknown-kind",
        "short-failed",
        "record-of-no-batch",
        "setup",
        "lost",
        "ready",
    ],
)
def test_garbage_on_the_channel_charges_the_job_that_wrote_it_alone(pool, data):
    """Fault 10."""
    lines = [{"do": "none"}] * 3 + [{"do": "garbage", "hex": data.hex()}, {"do": "sleep"}, {"do": "none"}]
    batch = pool.run_all(lines)
    (charged,) = pool.failures[batch]
    assert charged in (3, 4), "the one that wrote it, or the one that ran when it was read"
    assert pool.failures[batch][charged].verdict == "crash"
    later = pool.run_all([{"do": "none"}])
    assert len(pool.records[later]) == 1


def test_half_a_frame_before_death_is_nothing(pool):
    """Fault 10."""
    half = HEADER.pack(1000, Kind.TOLD) + b"x" * 10
    batch = pool.run_all([{"do": "none"}, {"do": "half_frame", "hex": half.hex()}, {"do": "none"}])
    assert list(pool.failures[batch]) == [1]
    assert pool.returned[batch] == [2]


@pytest.mark.parametrize("deed", ["sleep", "hang_in_c"])
def test_an_attempt_over_its_limit_is_killed_and_the_others_go_on(pool, effects, deed):
    """Fault 8."""
    began = time.monotonic()
    start = 4000 if deed == "sleep" else 5000
    failure = check_death(pool, effects, {"do": deed}, verdict="timeout", count=20, at=5, start=start, timeout=0.3)
    assert time.monotonic() - began < 0.3 + 2.0
    assert failure.type == "jqcli.JobTimeout"
    assert 0.3 <= failure.duration < 2.0


def test_a_timeout_and_a_crash_are_exceptions_to_whoever_names_exception(pool):
    for deed in ("sleep", "kill"):
        batch = pool.run_all([{"do": deed}], timeout=0.2)
        assert "builtins.Exception" in pool.failures[batch][0].names
        pool.wait(lambda: pool.engine.room(time.monotonic()) > 0)


def test_the_limit_of_one_job_is_its_own(pool):
    limits = Limits(None, {1: 0.2, 2: 5.0})
    batch = pool.run_all([{"do": "none"}, {"do": "sleep"}, {"do": "none"}], limits=limits)
    assert {index: failure.verdict for index, failure in pool.failures[batch].items()} == {1: "timeout"}


def test_the_limit_is_each_attempts_and_not_the_batchs(pool):
    batch = pool.run_all([{"do": "sleep", "seconds": 0.06}] * 10, timeout=0.4)
    assert len(pool.records[batch]) == 10


def test_finished_jobs_behind_a_slow_one_are_told_while_it_runs(pool):
    batch = pool.prepare(
        [*({"do": "sleep", "seconds": 0.06} for _ in range(2)), {"do": "sleep", "seconds": 600}], timeout=30
    )
    pool.wait(lambda: len(pool.records.get(batch, [])) == 2)
    assert pool.engine.is_busy


def test_the_rest_behind_a_stuck_attempt_goes_to_an_idle_worker(pair):
    stuck = pair.prepare(
        [{"do": "none"}, {"do": "sleep", "seconds": 600}, *({"do": "pid"} for _ in range(8))], timeout=60
    )
    other = pair.prepare([{"do": "pid"}])
    pair.wait(lambda: len(pair.returned.get(stuck, [])) == 8)
    assert pair.ended[stuck] == 0
    pair.finish(other)
    later = pair.again(stuck)
    assert len(pair.records[later]) == 8
    assert pair.engine.is_busy


def test_batches_that_wait_behind_a_stuck_attempt_are_prepared_elsewhere(pair):
    pair.is_served = False
    stuck = pair.prepare([{"do": "sleep", "seconds": 600}])
    pair.wait(lambda: stuck in pair.answers)
    pair.is_served = True
    pair.run(stuck)
    others = [pair.prepare([{"do": "none"}]) for _ in range(4)]
    pair.finish(*others)
    back = [batch for batch in others if pair.returned.get(batch)]
    for batch in back:
        assert len(pair.records[pair.again(batch)]) == 1
    assert all(len(pair.records[batch]) == 1 for batch in others if batch not in back)
    assert pair.ended[stuck] == 0


def test_a_taken_back_batch_ends_when_its_stuck_attempt_does(pair):
    stuck = pair.prepare([{"do": "sleep", "seconds": 0.5}, {"do": "none"}, {"do": "none"}])
    pair.prepare([{"do": "none"}])
    pair.finish(stuck)
    assert [index for index, _ in pair.records[stuck]] + pair.returned.get(stuck, []) == [0, 1, 2]
    later = pair.prepare([{"do": "none"}] * 3), pair.prepare([{"do": "none"}] * 3)
    pair.finish(*later)


def test_a_stuck_attempt_that_dies_after_its_rest_was_taken_is_charged_once(pair):
    stuck = pair.prepare([{"do": "sleep", "seconds": 600}, {"do": "none"}], timeout=0.6)
    pair.prepare([{"do": "none"}])
    pair.finish(stuck)
    assert {index: failure.verdict for index, failure in pair.failures[stuck].items()} == {0: "timeout"}
    assert pair.returned[stuck] == [1]


def test_work_that_is_wanted_back_twice_is_given_back_once(pool):
    """A second signal may come when the worker has stopped for the first one and nobody has heard of that yet."""
    batch = pool.prepare([{"do": "sleep", "seconds": 0.3}, *({"do": "none"} for _ in range(5))])
    pool.wait(lambda: pool.engine.is_busy)
    words = pool.engine._workers[0].ledger.memory.words
    pool.engine.revoke()
    wait_for(lambda: not words[REVOKED])  # the worker takes it down as it stops
    pool.engine.revoke()
    pool.finish(batch)
    pool.finish(pool.prepare([{"do": "none"}] * 3))
    assert pool.engine.rows(time.monotonic(), lambda *_: "")[0].restarts == 0
    assert not pool.failures


def test_jobs_that_no_worker_had_room_for_come_back_when_all_is_wanted_back(pool):
    pool.prepare([{"do": "sleep"}])
    pool.wait(lambda: pool.engine.is_busy and pool.engine.room(time.monotonic()) <= 0)
    room = pool.engine.room(time.monotonic())
    later = pool.run_jobs([Attempt(0, 1, b'{"payload":{"do":"none"}}', 1)])
    assert pool.engine.room(time.monotonic()) == room - 1
    pool.engine.revoke()
    pool.finish(later)
    assert pool.returned[later] == [0]
    assert pool.engine._orders == []


def test_an_idle_worker_that_is_killed_is_replaced_and_nothing_is_charged(pool, monkeypatch):
    forgotten = []

    def forget(pid):
        os.kill(pid, 0)  # raises where it was reaped, so that its number might be another's
        forgotten.append(pid)

    monkeypatch.setattr(pool.engine._crew._keeper, "remove", forget)
    pool.engine._crew._failed_starts = 1
    first = pool.result(pool.run_all([{"do": "pid"}]))["result"]
    os.kill(first, signal.SIGKILL)
    pool.wait(lambda: pool.engine.rows(time.monotonic(), lambda *_: "")[0].pid != first)
    assert pool.engine.rows(time.monotonic(), lambda *_: "")[0].restarts == 1
    second = pool.result(pool.run_all([{"do": "pid"}]))["result"]
    assert second != first
    assert forgotten == [first]
    assert not pool.failures
    assert pool.engine._crew._failed_starts == 0, "only those in a row count"


def test_a_worker_that_is_killed_while_it_holds_batches_gives_them_back(pool):
    pid = pool.result(pool.run_all([{"do": "pid"}]))["result"]
    pool.is_served = False
    batch = pool.prepare([{"do": "none"}] * 3)
    pool.wait(lambda: batch in pool.answers)
    os.kill(pid, signal.SIGKILL)
    pool.wait(lambda: pool.engine.rows(time.monotonic(), lambda *_: "")[0].pid != pid)
    pool.run(batch)
    assert pool.engine.wait_until(5.0) == 5.0, "it is told at once"
    pool.finish(batch)
    assert pool.returned[batch] == [0, 1, 2]


def test_lines_that_a_worker_had_not_read_when_it_was_killed_are_read_by_another(pool, monkeypatch):
    pool.prepare([{"do": "sleep"}])
    pool.wait(lambda: pool.engine.is_busy)
    (worker,) = pool.engine._workers
    with monkeypatch.context() as patch:
        patch.setattr(pool.engine, "_pick", lambda *_, **__: worker)
        batch = pool.prepare([{"do": "none"}] * 2)
    os.kill(worker.child.pid, signal.SIGKILL)
    pool.finish(batch)
    assert [index for index, _ in pool.records[batch]] == [0, 1]


def test_what_a_worker_said_before_it_died_counts_also_where_its_death_is_seen_first(pool):
    batch = pool.prepare(
        [{"do": "raise"}, {"do": "large", "size": 400_000}, {"do": "large", "size": 400_000}, {"do": "kill"}]
    )
    pool.wait(lambda: batch in pool.answers)  # and is sent to be run
    (worker,) = pool.engine._workers
    wait_for(lambda: worker.child.is_dead)
    pool.engine._crew._mark_dead(worker)
    for event in pool.engine.advance(time.monotonic()):
        pool.take(event)
    assert {index: failure.verdict for index, failure in pool.failures[batch].items()} == {0: "error", 3: "crash"}
    assert [index for index, _ in pool.records[batch]] == [1, 2]
    assert pool.ended[batch] == 1


def test_what_a_worker_did_before_a_long_job_is_fetched_behind_its_frames_and_once(pool, tmp_path):
    large = {"do": "large", "size": 400_000}  # of which the second finds no room, and comes as a frame
    quick = [{"do": "raise"}, {"do": "none"}, large, large, {"do": "skip"}]
    batch = pool.prepare([*quick, {"do": "await", "path": str(tmp_path / "go")}, {"do": "none"}])
    pool.wait(lambda: batch in pool.answers)  # and is sent to be run
    crew, (worker,) = pool.engine._crew, pool.engine._workers

    def is_at_the_last():
        running = worker.ledger.running(time.monotonic())
        return running is not None and running.index == len(quick)

    wait_for(is_at_the_last)
    assert not pool.records, "nothing it said was read"
    crew.watch(time.monotonic() + 1)
    crew.watch(time.monotonic() + 2)
    for event in crew.events:
        pool.take(event)
    crew.events.clear()
    assert (list(pool.failures[batch]), [index for index, _ in pool.records[batch]]) == ([0], [1, 2, 3, 4])
    (tmp_path / "go").touch()
    pool.finish(batch)
    assert [index for index, _ in pool.records[batch]] == [1, 2, 3, 4, 5, 6]
    counted = sum(count for event in pool.finished for _, count in event.durations)
    assert counted == 4, "the records of what was fetched say how long it took"


def test_a_worker_that_stopped_may_be_asked_again_and_one_that_was_not_asked_does_not_stop(pool):
    (worker,) = pool.engine._workers
    with pytest.raises(FrameError, match="an answer to nothing"):
        pool.engine._crew._read_frame(worker, Kind.STOPPED, b"")
    worker.is_stopping = worker.may_stop = True
    worker.asked_back = (1, 1), 0.0
    pool.engine._reclaim(worker)
    assert (worker.is_stopping, worker.may_stop, worker.asked_back) == (False, False, None)


def test_workers_that_cannot_load_their_handlers_any_more_are_reported_lost(tmp_path):
    path = tmp_path / "vanishing.py"
    path.write_text("import os\ndef work(payload):\n    os._exit(1)\n")
    bench = open_bench(Pool, {None: (f"{path}:work", Policy())})
    with closing(bench):
        bench.engine.start(lambda: True)
        path.write_text("raise RuntimeError('gone')\n")
        bench.prepare([b"1"])
        bench.wait(lambda: bench.lost)
        assert "RuntimeError: gone" in bench.lost[0]
        assert "vanishing.py" in bench.lost[0]


MOODY = """
import os, pathlib
moods = pathlib.Path(__file__).with_name("moods")
mood, *rest = moods.read_text().split()
moods.write_text(" ".join(rest))
if mood == "die":
    os._exit(7)
if mood != "ok":
    raise RuntimeError(mood)
def work(payload):
    os._exit(1)
"""


def test_of_workers_that_cannot_load_their_handlers_the_last_time_is_told_of_and_not_an_earlier_one(tmp_path):
    path = tmp_path / "moody.py"
    path.write_text(MOODY)
    (tmp_path / "moods").write_text("ok once ok die die")
    bench = open_bench(Pool, {None: (f"{path}:work", Policy())})
    with closing(bench):
        bench.engine.start(lambda: True)
        bench.run_all([1])
        bench.wait(lambda: bench.engine.rows(time.monotonic(), lambda *_: "")[0].state == "idle")  # after "once"
        bench.prepare([1])
        bench.wait(lambda: bench.lost)
        assert bench.lost == ["the worker ended with exit code 7 while it loaded the handlers"]


def test_closing_at_once_charges_nobody_and_keeps_what_was_finished(pool):
    batch = pool.prepare([{"do": "none"}, {"do": "none"}, {"do": "sleep", "seconds": 600}, {"do": "none"}])
    pool.wait(lambda: any(row.job == "2" for row in pool.engine.rows(time.monotonic(), lambda _, index: str(index))))
    pid = pool.engine.rows(time.monotonic(), lambda *_: "")[0].pid
    for event in pool.engine.close(at_once=True):
        pool.take(event)
    assert [index for index, _ in pool.records[batch]] == [0, 1]
    assert pool.failures[batch][2].verdict == "stop"
    assert pool.returned[batch] == [3]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_worker_that_prints_damages_nothing(pool, capfd):
    batch = pool.run_all([{"do": "print"}])
    assert pool.result(batch)["result"] == 1
    assert "on stdout" not in capfd.readouterr().out


def refuse(_):
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize("is_there", [False, True], ids=["no such call", "not allowed, as in some containers"])
def test_where_no_pidfd_can_be_had_a_death_is_noticed_all_the_same(handlers, monkeypatch, is_there):
    if is_there:
        monkeypatch.setattr(os, "pidfd_open", refuse)
    else:
        monkeypatch.delattr(os, "pidfd_open")
    bench = open_bench(Pool, specs_of(handlers))
    with closing(bench):
        bench.engine.start(lambda: True)
        batch = bench.run_all([{"do": "none"}, {"do": "kill"}, {"do": "none"}])
        assert list(bench.failures[batch]) == [1]
        assert bench.returned[batch] == [2]
