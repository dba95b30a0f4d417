"""Jobs that are set aside, with real processes and files: they hold up no other, and what is read back is what was."""

from __future__ import annotations

import gzip
import json
import os
import signal
import time

import pytest

from tests import oracle
from tests.command import memory_of, wait_for

pytestmark = pytest.mark.walk

ENGINES = pytest.mark.parametrize("workers", ["0", "2"], ids=["inline", "process"])


def recorded(folder):
    path = folder / "results.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize("words", [(), ("--rate", "10000/s"), ("-j", "0")], ids=["", "rate", "inline"])
@pytest.mark.parametrize("form", ["file", "gz", "pipe"])
def test_jobs_for_later_hold_up_no_other_and_a_killed_run_reads_them_again(folder, form, words):
    """Many times the queue that may start in an hour, and ready ones behind them."""
    late = [{"payload": {"n": n}, "id": n, "not_before": time.time() + 3600} for n in range(5000)]
    ready = [{"payload": {"n": n}, "id": n} for n in range(5000, 5200)]
    data = folder.write("jobs.jsonl", late + ready).read_bytes()
    if form == "gz":
        folder.write("jobs.jsonl.gz", gzip.compress(data))
    name = {"file": "jobs.jsonl", "gz": "jobs.jsonl.gz", "pipe": "-"}[form]
    child = folder.start(name, "-o", "results.jsonl", "--queue-size", "400", "--summary", "json", *words)
    if form == "pipe":
        child.stdin.write(data)
    child.stdin.close()
    wait_for(lambda: recorded(folder) == 200)
    if form == "file" and not words:
        child.send_signal(signal.SIGKILL)
        child.wait(30)
    else:
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 143
        summary = json.loads(child.stderr.read().splitlines()[-1])
        assert (summary["read"], summary["completed"], summary["unfinished"]) == (5200, 200, 5000)
        assert summary["flow"]["aside"] == 5000
    folder.write("jobs.jsonl", [{"payload": each["payload"], "id": each["id"]} for each in late + ready])
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    count = oracle.read_outputs(folder / "results.jsonl", folder / "jobs.dlq.jsonl")
    assert sorted(record["id"] for record in count.results) == list(range(5200))
    assert len(folder.log) == 5200


def start_napping(folder, *words):
    """Start a run whose jobs sleep for over a second again and again, and wait until each was tried."""
    folder.write("jobs.jsonl", [{"do": "nap", "until": "go", "n": n} for n in range(5)])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", *words)
    wait_for(lambda: (folder / "log.jsonl").exists() and len(folder.log) >= 5)
    return child


@ENGINES
def test_a_file_that_is_changed_under_a_waiting_job_stops_the_run_and_is_named(folder, workers):
    child = start_napping(folder, "-j", workers)
    data = (folder / "jobs.jsonl").read_bytes()
    fd = os.open(folder / "jobs.jsonl", os.O_WRONLY)
    os.pwrite(fd, b"7", data.index(b'"n": 3') + 5)
    os.close(fd)
    assert child.wait(60) == 74
    said = child.stderr.read().decode()
    assert "jobs.jsonl:4: the file was changed" in said
    assert "Traceback" not in said
    folder.write("go", "")
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    count = oracle.read_outputs(folder / "results.jsonl", folder / "jobs.dlq.jsonl")
    assert sorted(record["result"]["payload"]["n"] for record in count.results) == [0, 1, 2, 4, 7]


@ENGINES
def test_a_file_that_is_replaced_is_read_on_as_it_was(folder, workers):
    child = start_napping(folder, "-j", workers)
    folder.write("other.jsonl", [{"other": True}])
    os.replace(folder / "other.jsonl", folder / "jobs.jsonl")
    folder.write("go", "")
    assert child.wait(60) == 0
    count = oracle.read_outputs(folder / "results.jsonl", folder / "jobs.dlq.jsonl")
    assert sorted(record["result"]["payload"]["n"] for record in count.results) == list(range(5))


@pytest.mark.parametrize("form", ["file", "pipe"])
@pytest.mark.parametrize("words", [(), ("--breaker", "90%/500ms", "-k")], ids=["", "breaker"])
def test_a_letter_tells_all_attempts_of_a_job_that_was_set_aside_between_them(folder, form, words):
    jobs = [{"do": "fail", "message": f"m\u00fc {n}", "n": n} for n in range(3)] + [{"n": n} for n in range(10, 60)]
    data = folder.write("jobs.jsonl", jobs).read_bytes()
    backoff = ("--backoff", "fixed", "--backoff-base", "1100ms", "-r", "3")
    name, stdin = ("jobs.jsonl", b"") if form == "file" else ("-", data)
    folder.run(name, "-o", "results.jsonl", "-d", "jobs.dlq.jsonl", *backoff, *words, stdin=stdin, code=1)
    count = oracle.read_outputs(folder / "results.jsonl", folder / "jobs.dlq.jsonl")
    assert len(count.results) == 50
    assert sorted(letter["job"]["n"] for letter in count.letters.values()) == [0, 1, 2]
    for letter in count.letters.values():
        message = f"'m\u00fc {letter['job']['n']}'"
        assert [(each["attempt"], each["message"]) for each in letter["history"]] == [(n, message) for n in (1, 2, 3)]
        assert letter["attempts"] == 3


def test_of_many_jobs_for_later_the_parent_keeps_little(folder):
    """A quarter of a kilobyte each is the identity, the log of it, and where the job is; as an object one takes 1.5."""
    late = time.time() + 3600
    folder.write("jobs.jsonl", [{"payload": {"n": n}, "not_before": late} for n in range(60_000)] + [1])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-j", "1")
    wait_for(lambda: recorded(folder) == 1)
    many = memory_of(child.pid)
    child.send_signal(signal.SIGTERM)
    child.wait(30)
    folder.write("few.jsonl", [{"payload": {"n": n}, "not_before": late} for n in range(100)] + [1])
    child = folder.start("few.jsonl", "-o", "few.results.jsonl", "-j", "1")
    path = folder / "few.results.jsonl"
    wait_for(lambda: path.exists() and path.read_bytes().count(b"\n") == 1)
    few = memory_of(child.pid)
    child.send_signal(signal.SIGTERM)
    child.wait(30)
    assert many - few < 60_000 * 500


@ENGINES
def test_the_duplicates_of_a_job_that_dies_do_not_all_die_before_anybody_looks(folder, workers):
    """20,000 that are set aside share its fate; --max-failures, signals and the outputs are heeded in between."""
    for seconds in (3, 12, 48):  # until the moment, before which a busy machine may not have read them all
        job = {"payload": {"do": "reject"}, "not_before": time.time() + seconds}
        folder.write("jobs.jsonl", [job | {"id": n} for n in range(20_000)])
        folder.run("jobs.jsonl", "-o", "results.jsonl", "-j", workers, "--max-failures", "10", "--fresh", code=3)
        letters = (folder / "jobs.dlq.jsonl").read_bytes().count(b"\n")
        if letters < 10_000:
            break
    assert 10 <= letters < 10_000
