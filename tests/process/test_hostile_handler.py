"""What handlers do to us: whatever it is, their job alone pays for it, and the counts hold."""

from __future__ import annotations

import json
import os
import signal
from datetime import datetime
from itertools import pairwise

import pytest

from jqcli.engine import frame
from jqcli.engine.frame import HEADER, Kind, pack
from tests import oracle
from tests.command import DEEDS, is_alive, memory_of, stands_still, wait_for

FAST = ("--backoff-base", "1ms", "--summary", "json")


def others(count, name="n"):
    return [{name: n} for n in range(count)]


@pytest.mark.parametrize("kind", ["full-jitter", "exponential", "fixed"])
def test_the_pauses_between_attempts_stay_within_the_cap_while_other_jobs_go_on(folder, kind):
    """Fault 1: a pause begins where an attempt ends; how late the next one starts is the machine's affair."""
    folder.write("jobs.jsonl", [{"do": "fail"}, *others(300)])
    words = ("-r", "6", "--backoff", kind, "--backoff-base", "40ms", "--backoff-max", "100ms", "-b", "10")
    folder.run("jobs.jsonl", "-o", "results.jsonl", *words, code=1)
    count = folder.check()
    history = count.letters['"jobs:1"']["history"]
    moments = [datetime.fromisoformat(entry["at"]).timestamp() for entry in history]
    pauses = [later - earlier for earlier, later in pairwise(moments)]
    least = {"full-jitter": 0.0, "exponential": 0.04, "fixed": 0.04}[kind]
    assert len(pauses) == 5
    assert all(least - 0.002 <= pause < 5 for pause in pauses), pauses
    assert count.statuses == {"completed": 300, "dead": 1}


HALF = HEADER.pack(1000, Kind.TOLD) + b"x" * 10
GARBAGE = {
    "ones": b"\xff" * 64,
    "text": b"a handler speaks into the channel\n" * 10,
    "nothing known": HEADER.pack(0, 99),
    "over the limit": HEADER.pack((1 << 32) - 1, Kind.RECORD),
    "a record of no batch": pack(Kind.RECORD, frame.BATCH.pack(1 << 40), b"{}\n"),
    "an end of no batch": pack(Kind.TOLD, frame.TOLD.pack(1 << 40, 1, 0, 1, 0, 1), b"[]"),
    "broken json": pack(Kind.FAILED, frame.FAILED.pack(0, 0), b"{"),
    "a word of the parent's": pack(Kind.STOP),
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_bytes_that_are_no_frames_charge_the_job_that_wrote_them_alone(folder, data):
    """Fault 10."""
    folder.write("jobs.jsonl", [*others(10), {"do": "send", "hex": data.hex(), "then": "hang"}, *others(10, "m")])
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", "--max-crashes", "1", *FAST, code=1)
    count = folder.check()
    assert count.reasons == {"worker_crash": 1}
    assert set(count.letters) == {'"jobs:11"'}
    assert set(count.executions.values()) == {1}
    assert ran.summary["crashes"] == 1


@pytest.mark.parametrize("data", [HALF, HEADER.pack(1000, Kind.RECORD)[:3], b""], ids=["half", "head", "none"])
def test_half_a_frame_and_then_a_death_charge_that_job_alone(folder, data):
    """Fault 10."""
    folder.write("jobs.jsonl", [*others(10), {"do": "send", "hex": data.hex(), "then": "die"}, *others(10, "m")])
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--max-crashes", "1", *FAST, code=1)
    count = folder.check()
    assert count.reasons == {"worker_crash": 1}
    assert "SIGKILL" in count.letters['"jobs:11"']["error"]["message"]
    assert set(count.executions.values()) == {1}


@pytest.mark.parametrize("data", [HALF, HEADER.pack(1000, Kind.RECORD)[:3]], ids=["half", "head"])
def test_a_worker_stopped_in_the_middle_of_a_frame_is_a_timeout_and_the_others_are_served(folder, data):
    """Fault 9."""
    folder.write("jobs.jsonl", [{"do": "send", "hex": data.hex(), "then": "stop"}, *others(30)])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-t", "0.7", "-r", "1", *FAST)
    results = folder / "results.jsonl"
    wait_for(lambda: results.exists() and results.read_bytes().count(b"\n") == 30)
    assert child.poll() is None, "the others wait for the one that stopped"
    assert child.wait(10) == 1
    count = folder.check()
    assert count.reasons == {"timeout": 1}
    assert set(count.executions.values()) == {1}


def test_results_about_as_late_as_the_timeout_are_one_record_each(folder):
    """Fault 11: some come before the kill and count, some do not; none is there twice and none is lost."""
    jobs = [{"do": "pause", "n": n, "seconds": 0.08 + 0.003 * n} for n in range(30)]
    jobs[-1]["seconds"] = 60
    folder.write("jobs.jsonl", jobs)
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", "-t", "0.12", "-r", "1", "-b", "3", *FAST, code=1)
    count = folder.check()
    assert set(count.reasons) == {"timeout"}
    assert ran.summary["timeouts"] == count.reasons["timeout"]
    assert '"jobs:30"' in count.letters


def test_a_result_that_comes_while_the_parent_sleeps_over_its_timeout_is_one_record(folder):
    """Fault 11."""
    folder.write("jobs.jsonl", [{"do": "wait", "file": "go"}, *others(5)])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-t", "1", "-r", "1", "-j", "1", "-b", "1", *FAST)
    wait_for(folder.pids)
    os.kill(child.pid, signal.SIGSTOP)
    began = datetime.now().astimezone().timestamp()
    wait_for(lambda: datetime.now().astimezone().timestamp() - began > 1.2)
    folder.write("go", "")
    stands_still(lambda: len(folder.log))
    os.kill(child.pid, signal.SIGCONT)
    assert child.wait(10) in (0, 1)
    assert set(folder.check().reasons) <= {"timeout"}


def test_results_of_any_depth_number_and_size_are_records_or_letters(folder):
    """Fault 12."""
    refused = ["return_nan", "return_object", "return_surrogate"]
    jobs = [{"do": name} for name in refused]
    jobs += [{"do": "return_long", "size": 100 << 20}, {"do": "return_deep", "levels": 5000}]
    jobs += [{"do": "return_deep", "levels": 300}, {"do": "return_huge"}, {"n": 1}]
    folder.write("jobs.jsonl", jobs)
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-r", "3", *FAST)
    assert child.wait(60) == 1
    folder.write("log.jsonl", [])
    count = folder.check()
    assert count.reasons == {"unserializable_result": 5}
    assert {letter["attempts"] for letter in count.letters.values()} == {1}
    assert count.records['"jobs:7"']["result"] == 2**70
    assert str(count.records['"jobs:6"']["result"]).startswith("[" * 300)


def test_a_result_of_100_mb_is_a_record_where_it_is_allowed(folder):
    """Fault 12: it does not fit into what a worker shares, nor into one read."""
    folder.write("jobs.jsonl", [{"do": "return_long", "size": 100 << 20}, {"n": 1}])
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--max-result", "128MiB", *FAST, code=0, limit=60)
    sizes = [len(line) for line in (folder / "results.jsonl").read_bytes().splitlines()]
    assert max(sizes) > 100 << 20
    again = folder.run("jobs.jsonl", "-o", "results.jsonl", "--max-result", "128MiB", *FAST, code=0, limit=60)
    assert again.summary["settled_before"] == 2


UNLOADABLE = {
    "no such module": ("import nothing_of_this_name\n", "nothing_of_this_name"),
    "syntax": ("def do(payload:\n", "SyntaxError"),
    "raises": ("def prepare():\n    raise RuntimeError('no model')\nprepare()\n", "in prepare"),
    "exits": ("import sys\nsys.exit('not today')\n", "not today"),
    "interrupts": ("raise KeyboardInterrupt\n", "KeyboardInterrupt"),
    "dies": ("import os\nos._exit(0)\n", "exit code 0"),
    "crashes": ("import ctypes\nctypes.string_at(0)\n", "SIGSEGV"),
    "is killed": ("import os\nos.kill(os.getpid(), 9)\n", "SIGKILL"),
    "has no such name": ("def other(payload): pass\n", "has no 'do'"),
}


@pytest.mark.parametrize("text, said", UNLOADABLE.values(), ids=UNLOADABLE)
def test_a_handler_that_cannot_be_loaded_is_exit_2_and_nothing_is_written(folder, text, said):
    """Fault 14."""
    folder.write("tasks.py", text)
    folder.write("jobs.jsonl", others(3))
    ran = folder.run("jobs.jsonl", "-H", "tasks.py:do", "-o", "results.jsonl", code=2)
    assert said in ran.err
    assert {path.name for path in folder.path.iterdir()} <= {"jobs.jsonl", "tasks.py", "__pycache__"}


@pytest.mark.parametrize(
    "after, says", [(120, None), (1e9, None), ("99h", None), (-3, 2), ("2020-01-01T00:00:00Z", 2), ("soon", 2)]
)
def test_a_retry_after_anything_waits_an_hour_at_most_and_never_backwards(folder, after, says):
    """Fault 38: what is no duration means the usual backoff. How long the long ones wait, tests/engine says."""
    folder.write("jobs.jsonl", [{"do": "again", "after": after}, *others(5)])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", *FAST, "--progress", "json")
    results = folder / "results.jsonl"
    wait_for(lambda: results.exists() and results.read_bytes().count(b"\n") >= 5)
    if says is None:
        os.kill(child.pid, signal.SIGTERM)
        assert child.wait(10) == 143
        assert len(oracle.read_lines(results)) == 5
        return
    assert child.wait(10) == 0
    assert folder.check().records['"jobs:1"']["attempts"] == says


def test_100_000_jobs_that_all_wait_for_their_retry_pause_the_admission(folder):
    """Fault 40: what waits is in the queue, and a full queue reads nothing more."""
    folder.write("jobs.jsonl", b"".join(b"%d\n" % n for n in range(100_000)))
    words = ("-r", "2", "--backoff", "fixed", "--backoff-base", "1h", "--backoff-max", "1h", "--queue-size", "5000")
    child = folder.start("jobs.jsonl", "-H", f"{DEEDS}:doomed", "-o", "results.jsonl", *words, "--progress", "json")
    said = b""

    def is_full():
        nonlocal said
        said = child.stderr.readline()
        return json.loads(said)["waiting"] == 5000

    wait_for(is_full, 60)
    snapshot = json.loads(child.stderr.readline())
    assert (snapshot["read"], snapshot["waiting"], snapshot["dead"]) == (5000, 5000, 0)
    assert memory_of(child.pid) < 150 << 20
    os.kill(child.pid, signal.SIGTERM)
    child.communicate(timeout=20)
    assert child.returncode == 143
    assert not (folder / "jobs.dlq.jsonl").exists()


@pytest.mark.walk
def test_100_000_jobs_that_fail_for_good_are_100_000_letters_in_bounded_memory(folder):
    """Fault 40: with a retry each, so that every one of them is an object of the parent's for a while."""
    folder.write("jobs.jsonl", b"".join(b"%d\n" % n for n in range(100_000)))
    words = ("-r", "2", "--backoff-base", "1ms", "--queue-size", "5000", "--dedupe", "off")
    child = folder.start("jobs.jsonl", "-H", f"{DEEDS}:doomed", "-o", "results.jsonl", *words)
    peak = 0

    def is_over():
        nonlocal peak
        peak = max(peak, memory_of(child.pid))
        return child.poll() is not None

    wait_for(is_over, 180)
    assert child.returncode == 1
    assert peak < 200 << 20
    count = folder.check()
    assert count.reasons == {"max_attempts": 100_000}
    assert {letter["attempts"] for letter in count.dead} == {2}


def test_what_is_remembered_of_failures_does_not_fill_the_memory(folder):
    """Fault 40: messages of 8 KB, of each attempt of each job that waits, and of each job that is dead."""
    folder.write("jobs.jsonl", b"".join(b"%d\n" % n for n in range(10_000)))
    words = ("-r", "3", "--backoff", "fixed", "--backoff-base", "1ms", "-b", "100")
    child = folder.start("jobs.jsonl", "-H", f"{DEEDS}:doomed_at_length", "-o", "results.jsonl", *words)
    peak = 0

    def is_over():
        nonlocal peak
        peak = max(peak, memory_of(child.pid))
        return child.poll() is not None

    wait_for(is_over, 120)
    assert child.returncode == 1
    assert peak < 120 << 20
    assert folder.check().reasons == {"max_attempts": 10_000}


POISONED = """
import json, os
from jqcli.engine import runner

def prepare_or_die(lines, *args, real=runner.prepare, **words):
    if b"poison" in lines.data:
        os.kill(os.getpid(), 9)
    return real(lines, *args, **words)

runner.prepare = prepare_or_die

def do(payload):
    fd = os.open("log.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, json.dumps(payload).encode() + b"\\n")
    os.close(fd)
    return {"payload": payload}
"""


@pytest.mark.parametrize("words", [[], ["-k"], ["-b", "40"], ["-b", "1"]], ids=" ".join)
def test_a_line_that_kills_the_worker_in_prepare_is_dead_and_all_others_run_once(folder, words):
    """Fault 45: the handler's file replaces the worker's reading of lines by one that dies at this line."""
    folder.write("tasks.py", POISONED)
    folder.write("jobs.jsonl", [*others(20), "poison", *others(19, "m")])
    folder.run("jobs.jsonl", "-H", "tasks.py:do", "-o", "results.jsonl", *words, *FAST, code=1)
    count = folder.check()
    letter = count.letters['"jobs:21"']
    assert (letter["reason"], letter["attempts"]) == ("worker_crash", 0)
    assert count.statuses == {"completed": 39, "dead": 1}
    assert set(count.executions.values()) == {1}
    folder.run("jobs.jsonl", "-H", "tasks.py:do", "-o", "results.jsonl", *words, *FAST, code=1)
    assert set(folder.check().executions.values()) == {1}


def test_a_duplicate_of_a_first_in_flight_that_dies_is_dead_with_it_and_a_redrive_settles_both(folder):
    """Fault 36."""
    first = {"do": "wait", "file": "go", "then": "fail"}
    folder.write("jobs.jsonl", [{"id": "a", "payload": first}, {"n": 1}, {"id": "b", "payload": first}])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-b", "1", "-r", "1")
    results = folder / "results.jsonl"
    wait_for(lambda: results.exists() and b'"jobs:2"' in results.read_bytes())
    folder.write("go", "")
    assert child.wait(10) == 1
    count = folder.check()
    assert {name: letter["reason"] for name, letter in count.letters.items()} == {
        '"a"': "max_attempts",
        '"b"': "duplicate_of_dead",
    }
    assert count.executions[oracle.canonical(first)] == 1
    folder.write("tasks.py", "def do(payload):\n    return {'payload': payload}\n")
    ran = folder.shell(
        "$RUN dlq export jobs.dlq.jsonl | $RUN - -H tasks.py:do -o again.jsonl -d again.dlq.jsonl",
        RUN=" ".join(folder.argv(deed=False)),
    )
    assert ran.code == 0, ran.err
    settled = {record["id"]: record["status"] for record in oracle.read_lines(folder / "again.jsonl")}
    assert settled == {"a": "completed", "b": "duplicate"}


def test_what_handlers_leave_behind_in_their_group_is_gone_with_the_run(folder):
    """Fault 13: a background child that did not call setsid, of a handler that closed its descriptors too."""
    folder.write("jobs.jsonl", [{"do": "fork_background"}, {"do": "close_standard"}, {"do": "speak"}, *others(3)])
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", "-j", "1", "-b", "1", *FAST)
    assert ran.code in (0, 1)
    assert ran.out == b""
    count = folder.check()
    assert count.records['"jobs:2"']["status"] == "completed"
    wait_for(lambda: not any(map(is_alive, folder.pids())), 5)
