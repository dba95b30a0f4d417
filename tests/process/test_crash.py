"""Law 7: a worker's death hurts its job alone."""

from __future__ import annotations

import json
import os
import random
import re
import signal

import pytest

from tests.command import ROOT, is_alive, wait_for

FAST = ("--backoff-base", "1ms", "--summary", "json")


def others(count):
    return [{"n": n} for n in range(count)]


@pytest.mark.parametrize(
    "deed, message", [("segfault", "SIGSEGV"), ("end_quietly", "exit code 0"), ("kill_self", "SIGKILL")]
)
def test_a_job_that_ends_its_worker_is_dead_and_all_others_complete(folder, deed, message):
    """Faults 4 and 6."""
    folder.write("jobs.jsonl", [*others(20), {"do": deed}, *({"m": n} for n in range(20))])
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", *FAST, code=1)
    count = folder.check()
    letter = count.letters['"jobs:21"']
    assert (letter["reason"], letter["attempts"]) == ("worker_crash", 2)
    assert message in letter["error"]["message"]
    assert count.statuses == {"completed": 40, "dead": 1}
    assert set(count.executions.values()) == {1, 2}
    assert ran.summary["crashes"] == 2


def test_a_line_that_ends_its_reader_is_dead_alone_and_the_same_command_does_not_read_it_again(folder):
    handler = ("-H", f"{ROOT}/tests/process/poison.py:do")
    folder.write("jobs.jsonl", [*others(20), "poison", *({"m": n} for n in range(20))])
    command = ("jobs.jsonl", "-o", "results.jsonl", *handler, *FAST)
    folder.run(*command, code=1)
    count = folder.check()
    letter = count.letters['"jobs:21"']
    assert (letter["reason"], letter["attempts"], letter["raw"]) == ("worker_crash", 0, '"poison"')
    assert count.statuses == {"completed": 40, "dead": 1}
    deaths = (folder / "poisoned").read_text()
    ran = folder.run(*command, code=1)
    assert (folder / "poisoned").read_text() == deaths
    assert (ran.summary["read"], ran.summary["settled_before"], ran.summary["dead"]) == (41, 41, 1)
    folder.write("antidote", "")
    folder.run(*command, code=1)
    assert folder.check().statuses == {"completed": 40, "dead": 1}
    folder.write("jobs.jsonl", ["poison", {"n": 3}, "poison"])
    folder.run(*command, code=1)
    assert [payload for payload in folder.log if payload == "poison"] == ["poison"]


def test_a_job_may_complete_after_a_crash(folder):
    folder.write("jobs.jsonl", [{"do": "die_once"}, *others(5)])
    folder.run("jobs.jsonl", "-o", "results.jsonl", *FAST, code=0)
    assert folder.check().records['"jobs:1"']["attempts"] == 2


def test_crashes_have_a_limit_of_their_own(folder):
    folder.write("jobs.jsonl", [{"do": "segfault"}])
    folder.run("jobs.jsonl", "-o", "results.jsonl", *FAST, "-r", "1", "--max-crashes", "3", code=1)
    assert folder.check().letters['"jobs:1"']["attempts"] == 3


@pytest.mark.parametrize("words", [[], ["-k"]], ids=["", "keep-order"])
def test_of_a_batch_of_500_whose_job_250_ends_its_worker_the_other_499_run_exactly_once(folder, words):
    jobs = others(500)
    jobs[249] = {"do": "segfault"}
    folder.write("jobs.jsonl", jobs)
    folder.run("jobs.jsonl", "-o", "results.jsonl", "-b", "500", "--max-crashes", "1", *FAST, *words, code=1)
    count = folder.check()
    assert count.statuses == {"completed": 499, "dead": 1}
    assert len(count.executions) == 500
    assert set(count.executions.values()) == {1}


@pytest.mark.parametrize("deed", ["hang", "hang_in_c", "stop_self"])
def test_a_job_that_hangs_is_killed_at_its_timeout_and_others_are_served_meanwhile(folder, deed):
    """Faults 8 and 9."""
    folder.write("jobs.jsonl", [{"do": deed}, *others(30)])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-t", "0.5", "-r", "1", *FAST)
    wait_for(lambda: (folder / "results.jsonl").exists() and (folder / "results.jsonl").read_bytes().count(b"\n") == 30)
    assert child.poll() is None, "the others wait for the one that hangs"
    assert child.wait(4) == 1
    count = folder.check()
    assert count.letters['"jobs:1"']["reason"] == "timeout"
    assert 0.5 <= count.letters['"jobs:1"']["history"][0]["duration"] < 2.5
    assert set(count.executions.values()) == {1}


def test_a_timeout_is_retried_like_an_error(folder):
    folder.write("jobs.jsonl", [{"do": "hang"}])
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", "-t", "150ms", "-r", "2", *FAST, code=1)
    assert folder.check().letters['"jobs:1"']["attempts"] == 2
    assert (ran.summary["timeouts"], ran.summary["retries"]) == (2, 1)


def test_a_worker_stopped_from_outside_ends_with_a_timeout_and_the_others_are_served(folder):
    """Fault 9."""
    folder.write("jobs.jsonl", [{"do": "pause", "seconds": 0.1, "n": 0}, *others(40)])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-t", "600ms", "-r", "3", "-b", "5", *FAST)
    pid = wait_for(folder.pids)[0]
    os.kill(pid, signal.SIGSTOP)
    assert child.wait(10) == 0
    assert folder.check().statuses == {"completed": 41}


@pytest.mark.parametrize("seed", [1, 2])
def test_workers_killed_from_outside_at_random_lose_and_double_nothing(folder, seed):
    chance = random.Random(seed)
    jobs = [{"n": n, "do": "pause", "seconds": 0.005} for n in range(200)]
    folder.write("jobs.jsonl", jobs)
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-b", "20", "--max-crashes", "50", *FAST)
    killed = 0
    for _ in range(4):
        before = len(folder.log)
        wait_for(lambda before=before: len(folder.log) > before + chance.randint(1, 25) or child.poll() is not None)
        alive = [pid for pid in set(folder.pids()) if is_alive(pid)]
        if not alive or child.poll() is not None:
            break
        os.kill(chance.choice(alive), signal.SIGKILL)
        killed += 1
    assert child.wait(20) == 0, child.stderr.read()
    count = folder.check(crashes=killed)
    assert count.statuses == {"completed": 200}
    assert count.executions.total() <= 200 + killed
    said = json.loads(child.stderr.read().splitlines()[-1])
    assert said["crashes"] <= killed


def test_garbage_in_the_channel_and_a_job_that_returns_at_once_end_the_run_with_every_record(folder):
    """Whose job it was cannot be known any more; that every line has one record can."""
    folder.write("jobs.jsonl", [*others(10), {"do": "garble"}, *({"m": n} for n in range(10))])
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", *FAST)
    assert ran.code in (0, 1)
    folder.check(crashes=2)


def test_a_handler_may_close_its_standard_descriptors(folder):
    """Fault 13."""
    folder.write("jobs.jsonl", [{"do": "close_standard"}, {"do": "speak"}, *others(5)])
    folder.run("jobs.jsonl", "-o", "results.jsonl", "-j", "1", "-r", "1", *FAST)
    count = folder.check()
    assert count.records['"jobs:1"']["status"] == "completed"
    assert count.statuses["completed"] >= 6


def test_a_background_child_dies_with_its_workers_group_and_holds_nothing_up(folder):
    """Fault 13."""
    folder.write("jobs.jsonl", [{"do": "fork_background"}, *others(3)])
    ran = folder.shell("echo got $($JQ jobs.jsonl | wc -l)", limit=10)
    assert ran.out == b"got 4\n"
    wait_for(lambda: not any(map(is_alive, folder.pids())), 5)


def test_a_background_child_dies_with_a_worker_that_is_killed(folder):
    """Fault 13."""
    folder.write("jobs.jsonl", [{"do": "fork_background", "file": "never"}])
    folder.run("jobs.jsonl", "-o", "results.jsonl", "-t", "300ms", "-r", "1", *FAST, code=1)
    wait_for(lambda: not any(map(is_alive, folder.pids())), 5)


def test_a_handler_that_no_longer_loads_stops_the_run_with_3_and_the_same_command_goes_on(folder):
    """Fault 45."""
    good = """
import os, time
def do(payload):
    if payload == 0:
        time.sleep(0.3)
        os._exit(1)
    return {"payload": payload}
"""
    folder.write("tasks.py", good)
    folder.write("jobs.jsonl", list(range(3)))
    folder.write("log.jsonl", [])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-H", "tasks.py:do", "-j", "1", *FAST)
    wait_for((folder / "results.jsonl").exists)
    folder.write("tasks.py", "raise RuntimeError('gone bad')\n")
    err = child.communicate(timeout=15)[1].decode()
    assert child.returncode == 3, err
    assert "gone bad" in err
    folder.write("tasks.py", "def do(payload):\n    return {'payload': payload}\n")
    folder.run("jobs.jsonl", "-o", "results.jsonl", "-H", "tasks.py:do", code=0)
    assert folder.check().statuses == {"completed": 3}


def test_a_handler_that_closes_its_channel_has_its_result_kept_and_the_others_run(folder):
    """Fault 10."""
    folder.write("jobs.jsonl", [*others(10), {"do": "close_all"}, *({"m": n} for n in range(10))])
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", "-b", "30", "-j", "1", *FAST, is_calm=False)
    assert ran.code in (0, 1)
    count = folder.check()
    assert count.statuses["completed"] >= 20
    assert all(times == 1 for payload, times in count.executions.items() if "close" not in payload)


def test_without_enough_descriptors_there_are_fewer_workers_or_74_and_then_the_same_command_goes_on(folder):
    """FAULTS 15."""
    folder.write("jobs.jsonl", others(30))
    for most in (12, 18, 24):
        ran = folder.shell(f"ulimit -n {most}; $JQ jobs.jsonl -o results.jsonl -j 8")
        assert ran.code in (0, 74), ran.err
        assert "bug" not in ran.err
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    assert folder.check().statuses == {"completed": 30}


@pytest.mark.parametrize("words", [["-b", "2"], ["-b", "20"], ["-b", "20", "-k"]], ids=" ".join)
def test_of_many_deaths_each_hurts_its_job_alone(folder, words):
    """A worker dies while the parent sends it more; what it said before that must still be heard."""
    deeds = {3: {"do": "die_once"}, 5: {"do": "flaky", "times": 1}, 7: {"do": "skip"}}
    folder.write("jobs.jsonl", [{"n": n} | deeds.get(n % 10, {}) for n in range(120)])
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", *words, *FAST, code=0)
    count = folder.check()
    assert count.statuses == {"completed": 108, "skipped": 12}
    assert count.executions.total() == 120 + 12 + 12
    assert ran.summary["crashes"] == 12


@pytest.mark.parametrize("words", [["-b", "2"], ["-b", "20"], ["-b", "20", "-k"]], ids=" ".join)
def test_garbage_in_the_channel_never_gives_a_job_the_record_of_another(folder, words):
    """Fault 10: the worker goes on until it is killed: with failures (whose frames are lost) and with other batches."""
    deeds = {3: {"do": "garble"}, 4: {"do": "flaky", "times": 1}, 7: {"do": "skip"}}
    folder.write("jobs.jsonl", [{"n": n} | deeds.get(n % 10, {}) for n in range(60)])
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", "--max-crashes", "9", *words, *FAST)
    assert ran.code in (0, 1), ran.err
    folder.check(crashes=20)


@pytest.mark.parametrize("options", [("-b", "9"), ("-b", "9", "-k"), ("-b", "3"), ("-b", "9", "--store", "memory.db")])
def test_what_is_done_is_recorded_though_a_long_job_behind_it_runs_and_the_parent_dies(folder, options):
    quick = [1, {"do": "skip"}, {"do": "reject"}, {"do": "return_large", "size": 400_000}, 2, {"do": "skip", "n": 1}]
    folder.write("jobs.jsonl", [*quick, {"do": "wait", "file": "go"}, 3, 4])
    words = ("jobs.jsonl", "-o", "results.jsonl", "-j", "1", *options)
    child = folder.start(*words)
    wait_for(lambda: (folder / "results.jsonl").exists() and (folder / "results.jsonl").read_bytes().count(b"\n") == 5)
    wait_for(lambda: (folder / "jobs.dlq.jsonl").read_bytes().count(b"\n") == 1)
    child.kill()
    child.wait(20)
    folder.write("go", "")
    begun = len(folder.log)
    ran = folder.run(*words, "--summary", "json", code=1)
    assert ran.summary["settled_before"] == 6
    assert len(folder.log) - begun == 3, "the long one, and those behind it"
    folder.check(deaths=1)


def test_what_was_fetched_before_a_long_job_is_counted_once(folder):
    quick = [*range(40), {"do": "skip"}, {"do": "reject"}, {"do": "return_large", "size": 400_000}, *range(50, 60)]
    folder.write("jobs.jsonl", [*quick, {"do": "wait", "file": "go"}, {"do": "skip", "n": 1}, 70])
    child = folder.start(
        *("jobs.jsonl", "-o", "results.jsonl", "-j", "1", "-b", "100"),
        *("--metrics-file", "m.prom", "--summary", "json"),
    )
    wait_for(lambda: (folder / "results.jsonl").exists() and (folder / "results.jsonl").read_bytes().count(b"\n") == 52)
    folder.write("go", "")
    said = json.loads(child.communicate(timeout=20)[1].splitlines()[-1])
    assert (said["completed"], said["skipped"], said["dead"], said["attempts"]) == (53, 2, 1, 56)
    assert re.search(r"jqcli_attempt_duration_seconds_count\S* 56\n", (folder / "m.prom").read_text())
    folder.check(deaths=1)
