"""Signals, closed pipes and dead parents: what runs may end, nothing is lost, nobody is left."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from jqcli.edge.lock import find_holder
from tests import oracle
from tests.command import LIMIT, is_alive, stands_still, wait_for

FAST = ("--backoff-base", "1ms", "--summary", "json")


def wait_for_execution(folder, payload):
    wait_for(lambda: (folder / "log.jsonl").exists() and payload in oracle.read_lines_whole(folder / "log.jsonl"))


def nobody_is_left(folder):
    wait_for(lambda: not any(map(is_alive, folder.pids())), 5)


def test_one_ctrl_c_drains_shows_the_summary_and_gives_the_cursor_back(folder):
    """Fault 19: once."""
    waiting = {"do": "wait", "file": "go"}
    folder.write(
        "jobs.jsonl",
        [waiting, {"do": "again", "after": "1h"}, *({"do": "pause", "seconds": 0.1, "n": n} for n in range(500))],
    )
    screen = folder.screen("jobs.jsonl", "-o", "results.jsonl")
    wait_for_execution(folder, {"do": "again", "after": "1h"})
    screen.wait_for(lambda seen: b"\x1b[?25l" in seen)
    screen.press(b"\x03")
    wait_for(lambda: not [pid for pid in folder.pids() if not is_alive(pid)] and screen.read())
    folder.write("go", "")
    assert screen.end(10) == 130
    assert screen.is_cursor_visible
    assert b"stopped by SIGINT" in screen.seen
    assert b"the same command goes on" in screen.seen
    assert b"unfinished" in screen.seen
    assert b"Traceback" not in screen.seen
    records = oracle.read_lines(folder / "results.jsonl")
    assert "jobs:1" in {record["id"] for record in records}, "the drain did not let a running job end"
    assert len(records) < 500
    assert not (folder / "jobs.dlq.jsonl").exists()
    nobody_is_left(folder)
    executed = len(folder.log)
    assert executed == len(records) + 1


def test_two_ctrl_c_stop_at_once_and_charge_nobody(folder):
    """Fault 19: twice."""
    waiting = {"do": "wait", "file": "go"}
    folder.write("jobs.jsonl", [waiting, {"n": 1}])
    screen = folder.screen("jobs.jsonl", "-o", "results.jsonl", "--max-crashes", "1", "-r", "1")
    wait_for_execution(folder, waiting)
    wait_for_execution(folder, {"n": 1})
    screen.press(b"\x03")
    screen.wait_for(lambda seen: b"stopping" in seen)
    began = time.monotonic()
    screen.press(b"\x03")
    assert screen.end(5) == 130
    assert time.monotonic() - began < 2
    assert screen.is_cursor_visible
    assert not (folder / "jobs.dlq.jsonl").exists()
    nobody_is_left(folder)
    folder.write("go", "")
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--max-crashes", "1", "-r", "1", code=0)
    count = folder.check(deaths=1)
    assert count.records['"jobs:1"']["attempts"] == 1


def test_sigterm_with_a_hanging_job_ends_within_the_grace_and_the_same_command_goes_on(folder):
    """Fault 20: SIGTERM."""
    folder.write("jobs.jsonl", [{"do": "wait", "file": "go"}, *({"n": n} for n in range(20))])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "--grace", "300ms", *FAST)
    wait_for(
        lambda: (folder / "results.jsonl").exists() and len(oracle.read_lines_whole(folder / "results.jsonl")) == 20
    )
    began = time.monotonic()
    child.terminate()
    assert child.wait(6) == 143
    assert 0.3 <= time.monotonic() - began < 5.3
    said = json.loads(child.stderr.read().splitlines()[-1])
    assert (said["exit_code"], said["completed"], said["unfinished"], said["crashes"]) == (143, 20, 1, 0)
    assert said["read"] == 21
    nobody_is_left(folder)
    folder.write("go", "")
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    folder.check(deaths=1)


def test_sighup_is_129_and_resumable(folder):
    """Fault 21: SIGHUP."""
    folder.write("jobs.jsonl", [{"do": "pause", "seconds": 0.01, "n": n} for n in range(300)])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", *FAST)
    wait_for_execution(folder, {"do": "pause", "seconds": 0.01, "n": 20})
    child.send_signal(signal.SIGHUP)
    assert child.wait(6) == 129
    assert len(oracle.read_lines(folder / "results.jsonl")) == len(folder.log) < 300
    folder.write("jobs.jsonl", [{"do": "pause", "seconds": 0.01, "n": n} for n in range(60)])
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)


def test_sighup_is_ignored_under_nohup(folder):
    """Fault 21: under nohup."""
    folder.write("jobs.jsonl", [{"do": "wait", "file": "go"}])
    child = folder.start_shell("nohup $JQ jobs.jsonl -o results.jsonl & echo $! > parent; wait $!")
    wait_for(folder.pids)
    parent = int((folder / "parent").read_text())
    os.kill(parent, signal.SIGHUP)
    folder.write("go", "")
    child.communicate(timeout=10)
    assert child.returncode == 0
    assert folder.check().statuses == {"completed": 1}


def test_a_reader_that_leaves_is_141_without_a_traceback_and_the_workers_are_gone(folder):
    """Fault 22: a pipe into `head`."""
    folder.write("jobs.jsonl", [{"do": "return_large", "n": n} for n in range(2000)])
    ran = folder.shell("$JQ jobs.jsonl 2> said | head -1; echo ${PIPESTATUS[0]}")
    first, code = ran.out.splitlines()
    assert json.loads(first)["status"] == "completed"
    assert code == b"141"
    assert (folder / "said").read_text() == ""
    nobody_is_left(folder)


def test_a_reader_that_is_slow_bounds_what_is_done_ahead(folder):
    """Bound: the pipe, 4 MiB of outbox, and what the workers hold."""
    child = folder.start("-", "--queue-size", "100")
    line = json.dumps({"do": "return_large", "size": 100_000, "n": 0}).encode() + b"\n"
    child.stdin.write(b"".join(line.replace(b'"n": 0', b'"n": %d' % n) for n in range(600)))
    child.stdin.close()
    wait_for(lambda: (folder / "log.jsonl").exists() and len(folder.log) >= 40)
    seen = stands_still(lambda: len(folder.log))
    assert seen < 300
    assert len(child.stdout.read().splitlines()) == 600
    assert child.wait(5) == 0


def test_a_stopped_and_continued_run_loses_nothing(folder):
    """Fault 23: shorter."""
    folder.write("jobs.jsonl", [{"do": "pause", "seconds": 0.01, "n": n} for n in range(60)])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl")
    wait_for_execution(folder, {"do": "pause", "seconds": 0.01, "n": 10})
    child.send_signal(signal.SIGSTOP)
    stands_still(lambda: len(folder.log))
    child.send_signal(signal.SIGCONT)
    assert child.wait(10) == 0
    assert set(folder.check().executions.values()) == {1}


def test_in_keep_order_what_was_held_back_at_the_stop_is_not_called_completed(folder):
    """Laws 1 and 5: the summary's counts are those of the files."""
    folder.write("jobs.jsonl", [{"do": "wait", "file": "go"}, *({"n": n} for n in range(10))])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-k", "-b", "1", "--grace", "200ms", *FAST)
    wait_for(lambda: (folder / "log.jsonl").exists() and len(folder.log) == 11)
    child.terminate()
    assert child.wait(8) == 143
    said = json.loads(child.stderr.read().splitlines()[-1])
    count = oracle.read_outputs(folder / "results.jsonl", folder / "jobs.dlq.jsonl")
    assert said["completed"] == len(count.records)
    assert said["read"] == said["completed"] + said["unfinished"]
    folder.write("go", "")
    folder.run("jobs.jsonl", "-o", "results.jsonl", "-k", code=0)
    folder.check(deaths=1)


@pytest.mark.parametrize("key", [signal.SIGINT, signal.SIGTERM])
def test_in_this_process_a_signal_ends_the_run_behind_the_job_that_runs(folder, key):
    folder.write("jobs.jsonl", [{"do": "wait", "file": "go"}, *({"n": n} for n in range(50))])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-j", "0", *FAST)
    wait_for(folder.pids)
    child.send_signal(key)
    folder.write("go", "")
    assert child.wait(5) == 128 + key
    assert len(oracle.read_lines(folder / "results.jsonl")) < 50
    folder.run("jobs.jsonl", "-o", "results.jsonl", "-j", "0", code=0)
    folder.check(deaths=1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_this_process_a_second_signal_leaves_the_job_that_runs(folder, number):
    """What the batch had finished before counts: it does not run again."""
    folder.write("jobs.jsonl", [*range(5), {"do": "hang"}, *range(10, 15)])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-j", "0", "-b", "20", *FAST)
    wait_for(folder.pids)
    (folder / "pids").unlink()
    wait_for(lambda: (child.send_signal(number), child.poll() is not None)[1], 5)
    assert child.returncode == 128 + number
    assert not (folder / "jobs.dlq.jsonl").exists()
    assert [record["result"]["payload"] for record in oracle.read_lines(folder / "results.jsonl")] == [*range(5)]
    said = json.loads(child.stderr.read().splitlines()[-1])
    assert (said["exit_code"], said["completed"], said["unfinished"]) == (128 + number, 5, 6)


def test_a_signal_while_the_last_results_wait_for_a_reader_ends_the_run(folder):
    """The grace bounds this drain too; without it the first signal would be lost."""
    folder.write("jobs.jsonl", [{"do": "return_large", "size": 300_000}])
    child = folder.start("jobs.jsonl", "--grace", "200ms", *FAST)
    wait_for(lambda: (folder / "log.jsonl").exists() and len(folder.log) == 1)
    worker = wait_for(folder.pids)[0]
    wait_for(lambda: not is_alive(worker))  # the loop is over, only the drain is left
    child.terminate()
    assert child.wait(5) == 143


def test_whoever_looks_on_is_told_while_the_last_results_wait_for_a_reader(folder):
    """A service manager's watchdog takes a run that says nothing for dead; this asks by SIGUSR1 instead."""
    folder.write("jobs.jsonl", [{"do": "return_large", "size": 300_000}])
    child = folder.start("jobs.jsonl", *FAST)
    worker = wait_for(folder.pids)[0]
    wait_for(lambda: not is_alive(worker))  # the loop is over, only the drain is left
    child.send_signal(signal.SIGUSR1)
    os.set_blocking(child.stderr.fileno(), False)
    assert b"1 read, 1 completed" in wait_for(child.stderr.read, 20)
    assert len(child.communicate(timeout=60)[0]) > 300_000
    assert child.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_handlers_are_being_loaded_ends_the_run(folder, number):
    """A model may take a minute to load; nobody waits that long for Ctrl-C."""
    folder.write("slow.py", "import time\nopen('loading', 'w').close()\ntime.sleep(8)\ndef do(payload): pass\n")
    folder.write("jobs.jsonl", [1])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-H", "slow.py:do", "-j", "1")
    wait_for((folder / "loading").exists)
    child.send_signal(number)
    wait_for(lambda: child.poll() is not None, 4)
    assert child.returncode == 128 + number


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_earlier_results_are_read_back_ends_the_run_and_nothing_is_touched(folder, number):
    folder.write("jobs.jsonl", [{"n": 1}])
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--key", "n", code=0)
    results = folder / "results.jsonl"
    record = json.loads(results.read_text())
    tag, digest = record["key"].partition(":")[0], record["payload_hash"]
    line = '{"id":"j%d","key":"' + tag + ':=%d","payload_hash":"' + digest + '","status":"completed","result":1}'
    results.write_text("\n".join(line % (n, n) for n in range(300_000)) + '\n{"id":"torn')
    size = results.stat().st_size
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "--key", "n", *FAST)
    with results.open("rb") as file:
        wait_for(lambda: find_holder(file.fileno()) == child.pid)
    child.send_signal(number)
    assert child.wait(LIMIT) == 128 + number
    assert child.stderr.read() == b"", "it was read to its end, and the run began"
    assert results.stat().st_size == size
    assert len(folder.log) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("grace", ["0", "300ms"])
def test_in_this_process_a_job_that_does_not_end_is_left_when_the_grace_is_over(folder, number, grace):
    """One signal is enough; the job is unfinished and not charged."""
    folder.write("jobs.jsonl", [*range(5), {"do": "hang"}, *range(10, 15)])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-j", "0", "-b", "20", "--grace", grace, *FAST)
    wait_for(folder.pids)
    (folder / "pids").unlink()
    child.send_signal(number)
    assert child.wait(30) == 128 + number
    assert not (folder / "jobs.dlq.jsonl").exists()
    assert len(oracle.read_lines(folder / "results.jsonl")) == 5


def test_in_this_process_a_timer_of_a_handlers_own_is_left_alone(folder):
    folder.write(
        "own.py",
        "import os, signal, time\n"
        "def ring(*_):\n"
        "    raise RuntimeError('mine')\n"
        "def do(payload):\n"
        "    signal.signal(signal.SIGALRM, ring)\n"
        "    signal.setitimer(signal.ITIMER_REAL, 1.0)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(60)\n",
    )
    folder.write("jobs.jsonl", [1])
    words = ("jobs.jsonl", "-H", "own.py:do", "-o", "results.jsonl", "-j", "0", "-r", "1", "--grace", "100ms")
    folder.run(*words, code=143)
    assert oracle.read_lines(folder / "jobs.dlq.jsonl")[0]["error"]["message"] == "mine"
