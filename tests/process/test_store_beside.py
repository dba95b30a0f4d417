"""The store beside limits, redrives, kills in the middle of its writes, and those who look on."""

from __future__ import annotations

import json
import signal

import pytest

from tests import oracle
from tests.command import DEEDS, ROOT, wait_for

pytestmark = pytest.mark.walk

MEND = ROOT / "tests" / "process" / "mend.py"
STORE = ("--store", "memory.db")


@pytest.fixture(autouse=True)
def mend(folder):
    folder.take(MEND)


def run(folder, name, *words, code=0, **more):
    return folder.run(f"{name}.jsonl", "-o", f"{name}.out.jsonl", *STORE, *words, code=code, **more)


def start(folder, name, *words, **more):
    return folder.start(f"{name}.jsonl", "-o", f"{name}.out.jsonl", *STORE, *words, **more)


def finish(child, code=0):
    err = child.communicate(timeout=60)[1]
    assert child.returncode == code, err.decode()


def check(folder, name):
    """Let the oracle count one run; what was executed is counted over all of them."""
    ids = oracle.expected_ids(folder / f"{name}.jsonl")
    count = oracle.check(ids, folder / f"{name}.out.jsonl", folder / f"{name}.dlq.jsonl")
    count.executions = oracle.read_executions(folder / "log.jsonl")
    return count


def in_flight(folder):
    """Return how many identities runs that are alive have claimed and not done."""
    if not (folder / "memory.db").exists():
        return 0
    return json.loads(folder.run("store", "stats", "memory.db", "--json", code=0, deed=False).out)["in_flight"]


# Limits

PLAIN = [{"n": n} for n in range(60)]
OF_A_TENANT = [{"tenant": "acme", "payload": {"n": n}} for n in range(60)]
BEHIND_THE_GATE = (PLAIN, ["--rate", "1/h", "--burst", "2"])
SET_ASIDE = (OF_A_TENANT, ["--tenant-rate", "1/h", "--burst", "2", "--queue-size", "20"])


def test_two_runs_with_limits_that_share_a_store_call_the_handler_once_for_each_key(folder):
    folder.write("one.jsonl", PLAIN[:45])
    folder.write("two.jsonl", PLAIN[15:][::-1])
    for child in [start(folder, name, "--rate", "100/s", "--breaker", "50%/30s") for name in ("one", "two")]:
        finish(child)
    counts = [check(folder, name) for name in ("one", "two")]
    assert len(counts[0].executions) == 60
    assert set(counts[0].executions.values()) == {1}
    assert sum(count.statuses["completed"] for count in counts) == 60
    for record in (*counts[0].results, *counts[1].results):
        assert record["result"]["payload"] in PLAIN


@pytest.mark.parametrize("jobs, words", [BEHIND_THE_GATE, SET_ASIDE], ids=["behind the gate", "set aside"])
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_jobs_that_wait_for_a_limit_are_claimed_until_their_run_ends_and_then_free(folder, end, jobs, words):
    folder.write("one.jsonl", jobs)
    folder.write("two.jsonl", [*jobs, {"n": "own"}])
    one = start(folder, "one", *words)
    wait_for(lambda: in_flight(folder) >= 58 and len(folder.log) == 2)
    two = start(folder, "two")
    wait_for(lambda: {"n": "own"} in folder.log)  # all before it was ruled
    assert len(folder.log) == 3
    one.send_signal(end)
    finish(one, 130 if end == signal.SIGINT else -9)
    finish(two)
    count = check(folder, "two")
    assert len(count.executions) == 61
    assert sum(count.executions.values()) <= (61 if end == signal.SIGINT else 63)  # two were not committed, perhaps
    assert all(record["result"] for record in count.results)


def test_a_job_that_is_done_behind_the_gate_is_remembered_with_its_result(folder):
    for name in ("one", "two"):
        folder.write(f"{name}.jsonl", OF_A_TENANT)
    run(folder, "one", "--tenant-rate", "1000/s", "--queue-size", "20", "-k")
    run(folder, "two", "--rate", "1/h")  # which a duplicate does not need
    count = check(folder, "two")
    assert count.statuses == {"duplicate": 60}
    assert [record["result"] for record in count.results] == [{"payload": {"n": n}} for n in range(60)]
    assert set(count.executions.values()) == {1}


# Redrives


def bury(folder):
    """Let nine jobs die; their handler is mended by what stands in `round`."""
    (folder / "round").write_text("0")
    for name in ("one", "two"):
        folder.write(f"{name}.jsonl", [{"n": n} for n in range(9)])
    run(folder, "one", "-H", "mend.py:third", "-r", "1", code=1)
    assert len(folder.log) == 9


def retry(folder, *words, code, **more):
    return folder.run("dlq", "retry", "one.dlq.jsonl", *STORE, "-r", "1", *words, code=code, deed=False, **more)


def test_a_redriven_job_that_completes_is_remembered(folder):
    bury(folder)
    (folder / "round").write_text("2")
    retry(folder, "-j", "2", code=1)
    (folder / "round").write_text("3")
    run(folder, "two", "-H", "mend.py:third")
    count = check(folder, "two")
    assert count.statuses == {"duplicate": 6, "completed": 3}
    for record in count.results:
        n = record["result"]["payload"]["n"]
        assert record.get("duplicate_of") == (f"one:{n + 1}" if n % 3 < 2 else None)
    assert set(count.executions.values()) == {2, 3}
    retry(folder, code=0)
    assert check(folder, "one").statuses == {"completed": 6, "duplicate": 3}


def test_a_letter_whose_job_another_command_has_done_meanwhile_is_a_duplicate_and_does_not_run(folder):
    bury(folder)
    (folder / "round").write_text("3")
    run(folder, "two", "-H", "mend.py:third")
    assert len(folder.log) == 18
    ran = retry(folder, "--summary", "json", code=0)
    assert (ran.summary["duplicate"], ran.summary["completed"]) == (9, 0)
    assert len(folder.log) == 18
    count = check(folder, "one")
    assert count.statuses == {"duplicate": 9}
    assert {record["duplicate_of"] for record in count.results} == {f"two:{n}" for n in range(1, 10)}
    assert not (folder / "one.dlq.jsonl").exists()


def test_a_redrive_with_a_limit_lets_go_of_what_it_did_not_do(folder):
    bury(folder)
    (folder / "round").write_text("3")
    retry(folder, "--rate", "1/h", "--burst", "2", "--deadline", "2s", code=3)
    run(folder, "two", "-H", "mend.py:third")
    done = check(folder, "two").statuses["duplicate"]
    assert done <= 2
    retry(folder, code=0)
    assert check(folder, "one").statuses == {"completed": done, "duplicate": 9 - done}
    assert set(check(folder, "one").executions.values()) == {2}


def test_the_command_that_is_proposed_for_dead_letters_names_the_store(folder):
    folder.write("one.jsonl", [{"do": "reject"}])
    ran = run(folder, "one", code=1)
    command = next(line.strip() for line in ran.err.splitlines() if "dlq retry" in line)
    assert command.endswith("--store memory.db")


# Kills and errors in the middle of the store's writes


BATCHES = ("-b", "4", "--durability", "full")  # so that the store is told often


@pytest.mark.parametrize("place", ["begin", "commit", "head"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_killed_in_any_write_of_the_store_the_same_command_ends_with_the_right_answer(folder, place, number):
    """Fault 43: by failpoints, before a transaction begins and before it counts, and before a claim counts."""
    jobs = [{"n": n} for n in range(20)]
    folder.write("one.jsonl", jobs)
    folder.write("two.jsonl", jobs)
    run(folder, "one", *BATCHES, code=-9, JQ_RUN_FAILPOINT=f"store.{place}:{number}:kill", is_calm=False)
    run(folder, "one")
    assert check(folder, "one").statuses == {"completed": 20}
    run(folder, "two")
    count = check(folder, "two")
    assert len(count.results) == 20
    assert max(count.executions.values()) <= 2


@pytest.mark.parametrize("place", ["begin", "commit", "head"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_an_error_in_any_write_of_the_store_is_74_and_the_same_command_goes_on(folder, place, number):
    """Fault 24: by failpoints."""
    folder.write("one.jsonl", [{"n": n} for n in range(20)])
    ran = run(folder, "one", *BATCHES, code=74, JQ_RUN_FAILPOINT=f"store.{place}:{number}:ENOSPC")
    assert f"memory.db{'-lock' if place == 'head' else ''}: No space left on device" in ran.err
    run(folder, "one")
    count = check(folder, "one")
    assert count.statuses == {"completed": 20}
    assert max(count.executions.values()) <= 2


# Those who look on


def test_a_job_that_was_done_another_night_is_a_duplicate_to_everybody(folder):
    folder.write("one.jsonl", [{"n": n} for n in range(3)])
    folder.write("two.jsonl", [{"n": n} for n in range(5)])
    run(folder, "one")
    seen = ("--events", "events.jsonl", "--trace", "trace.json", "--metrics-file", "two.prom", "--summary", "json")
    ran = run(folder, "two", *seen)
    assert (ran.summary["duplicate"], ran.summary["completed"], ran.summary["read"]) == (3, 2, 5)
    events = [event for event in oracle.read_lines(folder / "events.jsonl") if event["event"] == "duplicate"]
    assert {(event["job"], event["duplicate_of"]) for event in events} == {(f"two:{n}", f"one:{n}") for n in (1, 2, 3)}
    assert 'outcome="duplicate"} 3' in (folder / "two.prom").read_text()
    json.loads((folder / "trace.json").read_text())
    words = ("two.jsonl", "-o", "two.out.jsonl", "-H", f"{DEEDS}:do", "--json")
    verified = folder.run("verify", *words, code=0, deed=False)
    assert json.loads(verified.out)["duplicate"] == 3


def test_check_asks_the_store_and_leaves_it_alone(folder):
    folder.write("one.jsonl", [{"n": n} for n in range(3)])
    run(folder, "one")
    folder.write("two.jsonl", [{"n": n} for n in range(5)])
    before = (folder / "memory.db").read_bytes()
    ran = folder.run("check", "two.jsonl", "-o", "two.out.jsonl", *STORE, code=0)
    assert ran.out.split()[:7] == [b"would", b"run", b"2", b"duplicate,", b"in", b"store", b"3"]
    assert (folder / "memory.db").read_bytes() == before
    folder.run("check", "two.jsonl", "-o", "two.out.jsonl", "--store", "none.db", code=0)
    assert not (folder / "none.db").exists()
