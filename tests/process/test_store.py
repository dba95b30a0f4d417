"""The store: once per identity over all runs that share it, whatever ends them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing

import pytest

from tests import oracle
from tests.command import DEEDS, wait_for

STORE = ("--store", "memory.db")
FAST = ("--backoff-base", "1ms")


def run(folder, name, *words, code=0, **more):
    return folder.run(f"{name}.jsonl", "-o", f"{name}.out.jsonl", *STORE, *FAST, *words, code=code, **more)


def start(folder, name, *words):
    return folder.start(f"{name}.jsonl", "-o", f"{name}.out.jsonl", *STORE, *FAST, *words)


def check(folder, name):
    """Let the oracle count one run; what was executed is counted over all of them."""
    ids = oracle.expected_ids(folder / f"{name}.jsonl")
    count = oracle.check(ids, folder / f"{name}.out.jsonl", folder / f"{name}.dlq.jsonl")
    count.executions = oracle.read_executions(folder / "log.jsonl")
    return count


def has_run(folder, payload):
    path = folder / "log.jsonl"
    return path.exists() and json.dumps(payload).encode() in path.read_bytes().splitlines()


def finish(child, code=0):
    err = child.communicate(timeout=60)[1]
    assert child.returncode == code, err.decode()
    return err.decode()


@pytest.mark.parametrize("words", [[], ["-b", "1"], ["-k"], ["-j", "0"], ["--durability", "full"]], ids=" ".join)
def test_a_second_night_runs_only_what_is_new_and_carries_the_first_nights_results(folder, words):
    folder.write("one.jsonl", [{"n": n} for n in range(60)])
    folder.write("two.jsonl", [{"n": n} for n in range(40, 100)])
    run(folder, "one", *words)
    run(folder, "two", *words)
    assert check(folder, "one").statuses == {"completed": 60}
    count = check(folder, "two")
    assert count.statuses == {"completed": 40, "duplicate": 20}
    assert set(count.executions.values()) == {1}
    for n in range(40, 60):
        record = count.records[f'"two:{n - 39}"']
        assert (record["duplicate_of"], record["result"]) == (f"one:{n + 1}", {"payload": {"n": n}})


def test_a_skipped_job_is_not_called_again_and_a_dead_one_is(folder):
    folder.write("one.jsonl", [{"n": 1, "do": "skip"}, {"n": 2, "do": "reject"}, {"n": 3, "do": "flaky", "times": 1}])
    folder.write("two.jsonl", [{"n": 1, "do": "skip"}, {"n": 2, "do": "reject"}, {"n": 3, "do": "flaky", "times": 1}])
    run(folder, "one", code=1)
    run(folder, "two", code=1)
    count = check(folder, "two")
    assert count.statuses == {"duplicate": 2, "dead": 1}
    assert "result" not in count.records['"two:1"']
    assert sorted(count.executions.values()) == [1, 2, 2]


def test_results_on_stdout_are_remembered_by_the_store_alone(folder):
    folder.write("jobs.jsonl", [{"n": n} for n in range(5)])
    first = folder.run("jobs.jsonl", *STORE, code=0)
    again = folder.run("jobs.jsonl", *STORE, code=0)
    assert {record["status"] for record in first.records} == {"completed"}
    assert [(r["status"], r["result"]) for r in again.records] == [
        ("duplicate", {"payload": {"n": n}}) for n in range(5)
    ]
    assert len(folder.log) == 5


def test_an_identity_in_flight_in_another_run_is_waited_for_and_not_run(folder):
    job = {"do": "wait", "file": "go"}
    folder.write("one.jsonl", [job])
    folder.write("two.jsonl", [job, {"n": 1}, job])
    one = start(folder, "one")
    wait_for(lambda: has_run(folder, job))
    two = start(folder, "two")
    wait_for(lambda: has_run(folder, {"n": 1}))
    folder.write("go", "")
    finish(one)
    finish(two)
    count = check(folder, "two")
    assert count.executions[oracle.canonical(job)] == 1
    assert count.statuses == {"completed": 1, "duplicate": 2}
    assert {count.records[f'"two:{n}"']["duplicate_of"] for n in (1, 3)} == {"one:1"}


def test_what_dies_in_one_run_is_tried_by_the_other_that_waited(folder):
    job = {"do": "wait", "file": "go", "then": "fail"}
    folder.write("one.jsonl", [job])
    folder.write("two.jsonl", [job, {"n": 1}, job])
    one = start(folder, "one", "-r", "1")
    wait_for(lambda: has_run(folder, job))
    two = start(folder, "two", "-r", "1")
    wait_for(lambda: has_run(folder, {"n": 1}))
    folder.write("go", "")
    finish(one, 1)
    finish(two, 1)
    count = check(folder, "two")
    assert count.executions[oracle.canonical(job)] == 2
    assert count.reasons == {"max_attempts": 1, "duplicate_of_dead": 1}


def test_what_a_killed_run_had_in_flight_is_taken_over(folder):
    job = {"do": "wait", "file": "go"}
    folder.write("one.jsonl", [job, {"n": 1}])
    folder.write("two.jsonl", [job, {"n": 2}])
    one = start(folder, "one", "-b", "1")
    wait_for(lambda: has_run(folder, job))
    two = start(folder, "two")
    wait_for(lambda: has_run(folder, {"n": 2}))
    one.kill()
    wait_for(lambda: folder.log.count(job) == 2)
    folder.write("go", "")
    finish(two)
    assert check(folder, "two").statuses == {"completed": 2}
    finish(start(folder, "one"))
    assert check(folder, "one").records['"one:1"']["duplicate_of"] == "two:1"


@pytest.mark.parametrize("words", [[], ["-k"], ["-b", "7"]], ids=" ".join)
def test_two_runs_at_once_call_the_handler_once_for_each_key(folder, words):
    jobs = [{"n": n, "do": "pause", "seconds": 0.001} for n in range(300)]
    folder.write("one.jsonl", jobs[:220])
    folder.write("two.jsonl", jobs[100:][::-1])
    children = [start(folder, name, *words) for name in ("one", "two")]
    for child in children:
        finish(child)
    counts = [check(folder, name) for name in ("one", "two")]
    assert len(counts[0].executions) == 300
    assert set(counts[0].executions.values()) == {1}
    assert sum(count.statuses["completed"] for count in counts) == 300
    for count in counts:
        assert all(record["result"]["payload"]["n"] < 300 for record in count.results)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_runs_one_of_them_killed_and_gone_on_with_lose_and_double_nothing(folder, seed):
    jobs = [{"n": n, "do": "pause", "seconds": 0.002} for n in range(200)]
    folder.write("one.jsonl", jobs[:150])
    folder.write("two.jsonl", jobs[50:])
    one, two = start(folder, "one"), start(folder, "two")
    wait_for(lambda: (folder / "log.jsonl").exists() and len(folder.log) > 40 * seed)
    one.kill()
    one.wait()
    finish(start(folder, "one"))
    finish(two)
    counts = [check(folder, name) for name in ("one", "two")]
    assert all(times <= 2 for times in counts[0].executions.values())
    assert counts[0].statuses.get("completed", 0) + counts[0].statuses.get("duplicate", 0) == 150


def test_a_finished_command_run_again_with_a_store_does_nothing(folder):
    folder.write("one.jsonl", [{"n": n} for n in range(10)])
    run(folder, "one")
    before = (folder / "one.out.jsonl").read_bytes()
    run(folder, "one")
    assert (folder / "one.out.jsonl").read_bytes() == before
    assert len(folder.log) == 10


def test_what_is_dead_from_an_earlier_start_is_not_waited_for_by_others(folder):
    dead, wait = {"do": "reject"}, {"do": "wait", "file": "go"}
    folder.write("one.jsonl", [dead])
    run(folder, "one", code=1)
    folder.write("one.jsonl", [dead, wait, dead])
    one = start(folder, "one")
    wait_for(lambda: has_run(folder, wait))
    folder.write("two.jsonl", [dead])
    assert run(folder, "two", "--summary", "json", code=1).summary["dead"] == 1
    folder.write("go", "")
    finish(one, 1)
    assert folder.log.count(dead) == 2


def test_a_run_stopped_by_a_signal_lets_go_of_what_it_did_not_do(folder):
    jobs = [{"n": n, "do": "wait", "file": "go"} for n in range(100)]
    folder.write("one.jsonl", jobs)
    folder.write("two.jsonl", jobs)
    one = start(folder, "one", "-b", "5")
    wait_for(lambda: has_run(folder, jobs[0]))
    one.send_signal(signal.SIGINT)
    folder.write("go", "")
    finish(one, 130)
    run(folder, "two")
    assert set(oracle.read_executions(folder / "log.jsonl").values()) == {1}
    assert 0 < check(folder, "two").statuses["duplicate"] == len(oracle.read_lines(folder / "one.out.jsonl"))


def test_a_given_key_with_another_payload_conflicts_over_runs(folder):
    folder.write("one.jsonl", [{"id": "a", "key": "k", "payload": {"n": 1}}])
    folder.write("two.jsonl", [{"id": f"b{n}", "key": "k", "payload": {"n": n}} for n in (2, 1, 2)])
    run(folder, "one")
    run(folder, "two", code=1)
    count = check(folder, "two")
    assert count.records['"b1"']["duplicate_of"] == "a"
    assert count.reasons == {"key_conflict": 2}
    assert {letter["conflicts_with"] for letter in count.dead} == {"a"}
    assert len(folder.log) == 1


def test_what_is_older_than_its_ttl_runs_again(folder):
    folder.write("one.jsonl", [{"n": 1}])
    folder.write("two.jsonl", [{"n": 1}])
    folder.write("three.jsonl", [{"n": 1}])
    run(folder, "one")
    run(folder, "two", "--ttl", "1h")
    assert len(folder.log) == 1
    with closing(sqlite3.connect(folder / "memory.db")) as sql, sql:
        sql.execute("update log set at = at - 3600")
    sql.close()
    run(folder, "three", "--ttl", "1h")
    assert len(folder.log) == 2


def test_a_new_version_of_a_handler_voids_its_own_results_and_no_others(folder):
    folder.write("h.py", "def a(payload): return 'a'\ndef b(payload): return 'b'\n")
    settings = '[handlers.a]\nspec = "h.py:a"\nversion = 1\n[handlers.b]\nspec = "h.py:b"\nversion = "%s"\n'
    job = [{"payload": 1}, {"payload": 1, "handler": "b"}]
    for name, version in (("one", "x"), ("two", "y"), ("three", "y")):
        folder.write("jqcli.toml", settings % version)
        folder.write(f"{name}.jsonl", job)
        run(folder, name, "-H", "a")
    statuses = [[r["status"] for r in oracle.read_lines(folder / f"{name}.out.jsonl")] for name in ("two", "three")]
    assert sorted(statuses[0]) == ["completed", "duplicate"]
    assert statuses[1] == ["duplicate", "duplicate"]


def test_a_new_version_beside_the_code_voids_what_it_did_and_another_one_makes_it_count_again(folder):
    text = "from jqcli import handler\n@handler(version=%d)\ndef do(payload): return %d\n"
    results = []
    for name, version in (("one", 1), ("two", 2), ("three", 1)):
        # Of another size each time: bytecode of one size and second is taken for that of the file.
        folder.write("h.py", text % (version, version) + "#" * len(results))
        folder.write(f"{name}.jsonl", [{"n": 1}])
        run(folder, name, "-H", "h.py:do")
        (record,) = oracle.read_lines(folder / f"{name}.out.jsonl")
        results.append((record["status"], record["result"]))
    assert results == [("completed", 1), ("completed", 2), ("duplicate", 1)]


def test_without_a_cache_duplicates_still_run_once(folder):
    folder.write("one.jsonl", [{"n": n % 3} for n in range(30)])
    folder.write("two.jsonl", [{"n": n % 3} for n in range(30)])
    run(folder, "one", "--cache", "off")
    run(folder, "two", "--cache-size", "0")
    assert len(folder.log) == 3
    records = [*check(folder, "one").results, *check(folder, "two").results]
    assert all(record["result"]["payload"]["n"] in range(3) for record in records)
    assert all(r["result"] == {"payload": {"n": r["result"]["payload"]["n"]}} for r in check(folder, "two").results)


def test_a_store_is_private_whatever_the_umask(folder):
    """Fault 44."""
    folder.write("one.jsonl", [{"do": "wait", "file": "go"}])
    child = folder.start_shell(f"umask 000; exec $JQ one.jsonl -o out.jsonl {' '.join(STORE)}")
    wait_for((folder / "log.jsonl").exists)
    names = ["memory.db", "memory.db-journal", "memory.db-lock"]
    assert [stat.S_IMODE((folder / name).stat().st_mode) for name in names] == [0o600] * 3
    folder.write("go", "")
    assert child.wait(20) == 0


def broken(folder):
    folder.write("memory.db", b"this is no database at all" * 100)


def truncated(folder):
    folder.write("zero.jsonl", [{"n": n, "text": "x" * 100} for n in range(2000)])
    run(folder, "zero")
    whole = (folder / "memory.db").read_bytes()
    (folder / "memory.db").write_bytes(whole[: len(whole) // 3])
    (folder / "log.jsonl").unlink()


def newer(folder):
    folder.write("zero.jsonl", [0])
    run(folder, "zero")
    (folder / "log.jsonl").unlink()
    with closing(sqlite3.connect(folder / "memory.db")) as sql, sql:
        sql.execute("pragma user_version = 99")
    sql.close()


def directory(folder):
    (folder / "memory.db").mkdir()


def lock(folder):
    """Let another program hold the database; return it."""
    code = (
        "import sqlite3, sys; sql = sqlite3.connect('memory.db', isolation_level=None);"
        "sql.execute('begin exclusive'); sql.execute('create table t (a)'); print('held', flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    child = subprocess.Popen([sys.executable, "-c", code], cwd=folder.path, stdin=pipe, stdout=pipe)
    assert child.stdout.readline() == b"held\n"
    return child


DAMAGES = [(broken, 74, "is no store, or is damaged"), (newer, 74, "newer jq-run"), (truncated, 74, "memory.db")]


@pytest.mark.parametrize("damage, code, text", DAMAGES, ids=[each[0].__name__ for each in DAMAGES])
def test_a_store_that_does_not_work_stops_the_run_before_anything_ran(folder, damage, code, text):
    """Fault 43."""
    damage(folder)
    folder.write("one.jsonl", [{"n": 1}])
    ran = run(folder, "one", code=code)
    assert text in ran.err
    assert "memory.db" in ran.err
    assert not (folder / "log.jsonl").exists()
    assert not (folder / "one.out.jsonl").exists()


@pytest.mark.parametrize("damage, code, text", DAMAGES, ids=[each[0].__name__ for each in DAMAGES])
def test_or_the_run_goes_on_without_it_and_says_so(folder, damage, code, text):
    """Fault 43."""
    damage(folder)
    folder.write("one.jsonl", [{"n": 1}, {"n": 1}])
    ran = run(folder, "one", "--on-store-error", "continue")
    assert text in ran.err
    assert "going on without the store" in ran.err
    assert len(ran.err.splitlines()) == 1
    assert check(folder, "one").statuses == {"completed": 1, "duplicate": 1}


def test_a_store_that_another_program_holds_is_75(folder):
    """Fault 43."""
    folder.write("one.jsonl", [{"n": 1}])
    holder = lock(folder)
    try:
        ran = run(folder, "one", code=75, limit=60)
        assert "locked by another program" in ran.err
        assert not (folder / "log.jsonl").exists()
        run(folder, "one", "--on-store-error", "continue", limit=60)
    finally:
        holder.communicate(b"")
    assert check(folder, "one").statuses == {"completed": 1}


def test_a_store_that_is_a_folder_or_another_programs_is_refused(folder):
    """Fault 43."""
    folder.write("one.jsonl", [{"n": 1}])
    with closing(sqlite3.connect(folder / "other.db")) as sql, sql:
        sql.execute("create table t (a)")
    sql.close()
    before = (folder / "other.db").read_bytes()
    ran = folder.run("one.jsonl", "-o", "out.jsonl", "--store", "other.db", "--on-store-error", "continue", code=65)
    assert "database of another program" in ran.err
    assert (folder / "other.db").read_bytes() == before
    directory(folder)
    assert "is a folder" in run(folder, "one", code=2).err
    assert "no folder" in folder.run("one.jsonl", "--store", "missing/memory.db", code=2).err


def test_a_link_in_a_folder_that_all_may_write_to_is_refused(folder):
    """Fault 44."""
    folder.write("one.jsonl", [{"n": 1}])
    public = folder / "public"
    public.mkdir()
    public.chmod(0o777)
    (public / "memory.db").symlink_to(folder / "elsewhere.db")
    ran = folder.run("one.jsonl", "-o", "out.jsonl", "--store", "public/memory.db", code=74)
    assert "is a link" in ran.err
    assert not (folder / "elsewhere.db").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_store_that_may_not_be_written_is_74(folder):
    """Fault 43."""
    folder.write("one.jsonl", [{"n": 1}])
    run(folder, "one")
    (folder / "memory.db").chmod(0o400)
    folder.write("two.jsonl", [{"n": 1}])
    assert "Permission denied" in run(folder, "two", code=74).err


def test_a_store_deleted_under_a_run_stops_it_and_the_same_command_goes_on(folder):
    """Fault 43."""
    jobs = [{"do": "wait", "file": "go"}, *({"n": n} for n in range(5))]
    folder.write("one.jsonl", jobs)
    child = start(folder, "one", "-b", "1", "-j", "1")
    wait_for(lambda: has_run(folder, jobs[0]))
    (folder / "memory.db").unlink()
    folder.write("go", "")
    assert "removed or replaced" in finish(child, 74)
    run(folder, "one")
    count = check(folder, "one")
    assert sum(count.statuses.values()) == 6


def test_a_run_that_may_go_on_without_its_store_ends_what_waited_for_others(folder):
    """Fault 43."""
    job = {"do": "wait", "file": "go"}
    folder.write("one.jsonl", [job])
    folder.write("two.jsonl", [job, {"n": 1}])
    one = start(folder, "one")
    wait_for(lambda: has_run(folder, job))
    two = start(folder, "two", "--on-store-error", "continue")
    wait_for(lambda: has_run(folder, {"n": 1}))
    (folder / "memory.db").unlink()
    wait_for(lambda: folder.log.count(job) == 2)
    folder.write("go", "")
    assert "going on without the store" in finish(two)
    finish(one, 74)
    assert check(folder, "two").statuses == {"completed": 2}


def test_a_disk_that_is_full_for_the_store_is_74(folder):
    """Fault 24."""
    folder.write("one.jsonl", [{"n": n, "text": "x" * 1000} for n in range(400)])
    ran = folder.shell(f"ulimit -f 300; exec $JQ one.jsonl -o out.jsonl {' '.join(STORE)}", limit=60)
    assert ran.code == 74, ran.err
    assert "Traceback" not in ran.err
    folder.run("one.jsonl", "-o", "out.jsonl", *STORE, code=0)
    folder.check("out.jsonl", "one.dlq.jsonl", ("one.jsonl",), deaths=1)


@pytest.mark.parametrize(
    "words, text",
    [
        (["--ttl", "1h"], "says nothing without --store"),
        (["--on-store-error", "stop"], "says nothing without --store"),
        (["--store", "m.db", "--dedupe", "off"], "--dedupe off"),
        (["--store", "one.jsonl"], "another file of this run"),
        (["--store", "m.db", "--events", "m.db"], "another file of this run"),
        (["--store", "m.db", "--on-store-error", "hope"], "is none of stop, continue"),
        (["--cache-size", "much"], "is not a size"),
    ],
)
def test_what_makes_no_sense_is_refused(folder, words, text):
    folder.write("one.jsonl", [1])
    assert text in folder.run("one.jsonl", "-o", "out.jsonl", *words, code=2).err


def test_a_handler_that_a_line_chose_is_remembered_under_its_own_name(folder):
    folder.write("jqcli.toml", f'[handlers.other]\nspec = "{DEEDS}:other"\n')
    for name in ("one", "two"):
        folder.write(f"{name}.jsonl", [{"payload": 1}, {"payload": 1, "handler": "other"}, {"payload": 2}])
        run(folder, name)
    count = check(folder, "two")
    assert count.statuses == {"duplicate": 3}
    assert count.records['"two:2"']["result"] == "other"


# jq-run store


def test_stats_prune_and_forget_do_what_they_say(folder):
    folder.write("one.jsonl", [{"n": n} for n in range(20)])
    run(folder, "one")
    said = folder.run("store", "stats", "memory.db", deed=False, code=0)
    assert "20 keys" in said.out.decode()
    assert f"{DEEDS.name}:do" in said.out.decode()
    found = json.loads(folder.run("store", "stats", "memory.db", "--json", deed=False, code=0).out)
    assert [part["keys"] for part in found["parts"]] == [20]
    record = oracle.read_lines(folder / "one.out.jsonl")[4]
    assert "1 key forgotten" in folder.run("store", "forget", "memory.db", record["key"], deed=False, code=0).err
    assert "0 keys forgotten" in folder.run("store", "forget", "memory.db", record["key"], deed=False, code=1).err
    folder.write("two.jsonl", [{"n": n} for n in range(20)])
    run(folder, "two")
    assert check(folder, "two").statuses == {"completed": 1, "duplicate": 19}
    ran = folder.run("store", "prune", "memory.db", "--older-than", "1h", deed=False, code=0)
    assert "0 keys forgotten, 20 left" in ran.err
    ran = folder.run("store", "prune", "memory.db", "--max-size", "0", deed=False, code=0)
    assert "20 keys forgotten, 0 left" in ran.err
    folder.write("three.jsonl", [{"n": 1}])
    run(folder, "three")
    name = f"{DEEDS.name}:do"
    assert "1 key forgotten" in folder.run("store", "forget", "memory.db", "--handler", name, deed=False, code=0).err


def test_stats_tell_of_a_run_that_is_going_on(folder):
    folder.write("one.jsonl", [{"do": "wait", "file": "go"}])
    child = start(folder, "one")
    wait_for((folder / "log.jsonl").exists)
    assert b"1 running, 1 in flight" in folder.run("store", "stats", "memory.db", deed=False, code=0).out
    folder.write("go", "")
    finish(child)
    assert b"0 running, 0 in flight" in folder.run("store", "stats", "memory.db", deed=False, code=0).out


@pytest.mark.parametrize(
    "words, code, text",
    [
        (["stats", "nothing.db"], 74, "there is no store"),
        (["stats", "one.jsonl"], 74, "is no store"),
        (["forget", "memory.db"], 2, "name what to forget"),
        (["forget", "memory.db", "k", "--handler", "h"], 2, "name what to forget"),
        (["forget", "memory.db", "k"], 2, "is not a key"),
        (["prune", "memory.db", "--older-than", "long"], 2, "--older-than: 'long' is not a duration"),
    ],
)
def test_a_slip_in_a_store_command_is_explained(folder, words, code, text):
    folder.write("one.jsonl", [1])
    run(folder, "one")
    assert text in folder.run("store", *words, deed=False, code=code).err
    assert not (folder / "nothing.db").exists()


def test_a_run_that_waits_for_another_ends_at_a_signal_and_goes_on_later(folder):
    job = {"do": "wait", "file": "go"}
    folder.write("one.jsonl", [job])
    folder.write("two.jsonl", [job, {"n": 1}])
    one = start(folder, "one")
    wait_for(lambda: has_run(folder, job))
    two = start(folder, "two")
    wait_for(lambda: has_run(folder, {"n": 1}))
    two.send_signal(signal.SIGINT)
    finish(two, 130)
    folder.write("go", "")
    finish(one)
    finish(start(folder, "two"))
    assert check(folder, "two").statuses == {"completed": 1, "duplicate": 1}
    assert set(check(folder, "two").executions.values()) == {1}


def test_two_runs_that_keep_the_order_and_wait_for_each_other_both_end(folder):
    """Each holds a record that the other waits for, behind a line that waits for the other."""
    slow = [{"n": n, "do": "pause", "seconds": 0.3} for n in range(2)]
    folder.write("one.jsonl", [slow[0], {"n": 10}, slow[1]])
    folder.write("two.jsonl", [slow[1], {"n": 11}, slow[0]])
    children = [start(folder, name, "-k", "-b", "1") for name in ("one", "two")]
    for child in children:
        finish(child)
    for name in ("one", "two"):
        count = check(folder, name)
        assert [record["id"] for record in count.results] == [f"{name}:{n}" for n in (1, 2, 3)]
    assert set(count.executions.values()) == {1}


def test_a_failure_limit_counts_what_is_dead_and_not_what_is_remembered(folder):
    folder.write("one.jsonl", [{"n": n} for n in range(5)])
    run(folder, "one")
    jobs = [{"n": n} for n in range(5)] + [{"n": 9, "do": "reject"}] + [{"n": n} for n in range(10, 3000)]
    folder.write("two.jsonl", jobs)
    run(folder, "two", "--max-failures", "1", "-b", "1", code=3)
    records = oracle.read_lines(folder / "two.out.jsonl")
    assert sum(record["status"] == "duplicate" for record in records) == 5
    assert len(oracle.read_lines(folder / "two.dlq.jsonl")) == 1
