"""Order, limits and bounds."""

from __future__ import annotations

import json
import os
import select
from contextlib import suppress

import pytest

from tests import oracle
from tests.command import memory_of, stands_still, wait_for

FAST = ("--backoff-base", "1ms", "--summary", "json")


@pytest.mark.parametrize("words", [["-b", "1"], ["-b", "7"], []], ids=" ".join)
def test_in_keep_order_results_stand_as_the_input_does_and_the_dead_leave_a_gap(folder, words):
    jobs = []
    for n in range(60):
        deed = {
            3: {"do": "reject"},
            5: {"do": "flaky", "times": 2},
            6: {"do": "skip"},
            8: {"do": "pause", "seconds": 0.02},
        }
        jobs.append({"n": n} | deed.get(n % 10, {}) if n % 10 != 9 else {"n": n - 8})
    folder.write("jobs.jsonl", jobs)
    folder.run("jobs.jsonl", "-o", "results.jsonl", "-k", *words, *FAST, code=1)
    records = [json.loads(line)["id"] for line in (folder / "results.jsonl").read_text().splitlines()]
    assert records == [f"jobs:{n + 1}" for n in range(60) if n % 10 != 3]
    assert folder.check().statuses == {"completed": 42, "skipped": 6, "duplicate": 6, "dead": 6}


def test_in_keep_order_held_records_count_towards_the_queue(folder):
    folder.write("jobs.jsonl", [{"do": "wait", "file": "go"}, *({"n": n} for n in range(500))])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-k", "--queue-size", "50", "-b", "5", "-j", "2")
    wait_for(lambda: (folder / "log.jsonl").exists() and len(folder.log) >= 40)
    assert stands_still(lambda: len(folder.log)) <= 50
    folder.write("go", "")
    assert child.wait(10) == 0
    records = [json.loads(line)["id"] for line in (folder / "results.jsonl").read_text().splitlines()]
    assert records == [f"jobs:{n}" for n in range(1, 502)]


def test_a_limit_reads_that_many_jobs_and_the_same_command_reads_no_further(folder):
    folder.write("jobs.jsonl", b"\n" + b"".join(b"%d\n\n" % n for n in range(100)))
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", "--limit", "10", "--summary", "json", code=0)
    assert ran.summary["read"] == 10
    assert sorted(folder.log) == list(range(10))
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--limit", "10", code=0)
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--limit", "15", code=0)
    assert sorted(folder.log) == list(range(15))


def test_at_a_number_of_failures_the_run_stops_with_3_and_the_same_command_goes_on(folder):
    folder.write("jobs.jsonl", [{"do": "reject", "n": n} for n in range(5)] + [{"n": n} for n in range(5000)])
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", "--max-failures", "3", "-b", "2", *FAST, code=3)
    assert "--max-failures" in ran.err
    count = oracle.read_outputs(folder / "results.jsonl", folder / "jobs.dlq.jsonl")
    assert 3 <= len(count.letters) <= 5
    assert ran.summary["dead"] == len(count.letters)
    assert ran.summary["completed"] == len(count.records) < 5000
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    assert folder.check().statuses == {"completed": 5000, "dead": 5}


def test_a_share_of_failures_stops_the_run_not_before_it_means_something(folder):
    folder.write("jobs.jsonl", [{"do": "reject"}, *({"n": n} for n in range(30))])
    folder.run("jobs.jsonl", "-o", "few.jsonl", "-d", "few.dlq.jsonl", "--max-failures", "1%", code=1)
    folder.write("jobs.jsonl", [{"do": "reject", "n": n} if n % 4 == 0 else {"n": n} for n in range(4000)])
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", "--max-failures", "20%", *FAST, code=3)
    assert 100 <= ran.summary["completed"] + ran.summary["dead"] < 4000


def test_the_least_that_a_share_means_anything_of_is_the_users_to_choose(folder):
    folder.write("jobs.jsonl", [{"do": "reject", "n": n} if n % 4 == 0 else {"n": n} for n in range(300)])
    folder.run("jobs.jsonl", "-o", "all.jsonl", "-d", "all.dlq.jsonl", "--max-failures", "20%/301", code=1)
    ran = folder.run("jobs.jsonl", "-o", "few.jsonl", "--max-failures", "20%/8", "-b", "1", *FAST, code=3)
    assert "--max-failures is 20%/8" in ran.err
    assert 8 <= ran.summary["completed"] + ran.summary["dead"] < 100


@pytest.mark.parametrize("nothing", ["0", "0%", "0%/1000"])
def test_where_no_failure_is_tolerated_the_first_one_stops_the_run(folder, nothing):
    folder.write("jobs.jsonl", [{"n": 0}, {"do": "reject"}, *({"n": n} for n in range(1, 3000))])
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", "--max-failures", nothing, "-b", "1", *FAST, code=3)
    assert f"1 job is dead, and --max-failures is {nothing.partition('/')[0]}" in ran.err
    assert ran.summary["dead"] == 1
    folder.write("jobs.jsonl", [{"n": n} for n in range(30)])
    folder.run("jobs.jsonl", "-o", "well.jsonl", "--max-failures", nothing, code=0)


def test_a_run_that_has_nothing_left_is_over_and_not_stopped(folder):
    folder.write("jobs.jsonl", [{"do": "reject"}])  # of several, the first ones may be told of before the others
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", "--max-failures", "0", *FAST, code=1)
    assert (ran.summary["dead"], ran.summary["unfinished"]) == (1, 0)
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--max-failures", "0", *FAST, code=1)


def test_unusable_lines_count_as_failures(folder):
    folder.write("jobs.jsonl", b"{\n" * 50 + b"1\n")
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--max-failures", "5", "-b", "1", code=3)


@pytest.mark.parametrize("size", [5, 50])
def test_of_an_endless_stdin_no_more_than_the_queue_is_read_behind_a_job_that_blocks(folder, size):
    """Law 3. What lies in the pipe and in the parent's read buffer is not read yet, and is bounded as well."""
    child = folder.start("-", "-o", "results.jsonl", "--queue-size", size, "-b", "1", "-j", "1")
    data = b"".join(b'{"do": "wait", "file": "go", "n": %d}\n' % n for n in range(40_000))
    os.set_blocking(child.stdin.fileno(), False)
    sent = 0
    while select.select([], [child.stdin], [], 0.5)[1] or not (folder / "log.jsonl").exists():
        with suppress(BlockingIOError):
            sent += os.write(child.stdin.fileno(), data[sent : sent + 65536])
        assert sent < 700_000, "stdin is read ahead without a bound"
    assert len(folder.log) == 1


def test_memory_does_not_grow_with_an_endless_stdin(folder):
    child = folder.start("-", "-o", "/dev/null", "--dedupe", "off")
    line = b'{"n": 1, "text": "%s"}\n' % (b"x" * 2000)
    peaks = []
    for _ in range(3):
        for _ in range(200):
            child.stdin.write(line * 20)
        child.stdin.flush()
        peaks.append(memory_of(child.pid))
    child.stdin.close()
    assert child.wait(20) == 0
    assert peaks[-1] - peaks[0] < 30 << 20
