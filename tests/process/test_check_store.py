"""What `check` says of a run with a store is what the next run does; and the store is only looked at."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import signal
from collections import Counter

import pytest

from tests.command import stands_still, wait_for
from tests.process.test_check import SETTINGS, explain, fate_of, id_of, make_line, records_of

pytestmark = pytest.mark.walk

STORE = ("--store", "memory.db")


def write_lines(folder, name, lines):
    folder.write(name, "\n".join(lines) + "\n")


def look(folder):
    """Return all files with what is in them; of SQLite's shared memory alone no more than that it is there."""
    paths = [path for path in folder.path.iterdir() if path.is_file()]
    return {
        path.name: "" if path.name.endswith("-shm") else hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    }


def remember(folder, lines, *options, name="old", code=None):
    write_lines(folder, f"{name}.jsonl", lines)
    return folder.run(f"{name}.jsonl", "-o", f"{name}.out", "-d", f"{name}.dlq", "-r", "1", *STORE, *options, code=code)


@pytest.mark.parametrize("seed", range(8))
def test_what_it_says_of_each_line_is_what_the_next_run_does(folder, seed):
    chance = random.Random(seed)
    old = [line for line in (make_line(chance) for _ in range(60)) if len(line) < 300]
    remember(folder, old)
    lines = [make_line(chance) for _ in range(50)] + old[:20]
    chance.shuffle(lines)
    write_lines(folder, "jobs.jsonl", lines[: chance.choice([0, 30])])
    folder.run("jobs.jsonl", *SETTINGS, *STORE)
    write_lines(folder, "jobs.jsonl", lines)
    before, untouched = records_of(folder), look(folder)
    told = explain(folder, *STORE)
    counted = json.loads(folder.run("check", "jobs.jsonl", *SETTINGS, *STORE, "--json").out)
    assert look(folder) == untouched
    ran = folder.run("jobs.jsonl", *SETTINGS, *STORE, "--summary", "json")
    news = [one for one in told.records if one["action"] != "settled"]
    in_store = [one for one in news if one["reason"] == "in_store"]
    fates = Counter((id_of(lines, one["line"]), "duplicate") for one in in_store)
    fates += Counter((id_of(lines, one["line"]), fate_of(lines, one)) for one in news if one not in in_store)
    assert fates == records_of(folder) - before
    firsts = {record["id"]: record.get("duplicate_of") for record in map(json.loads, open_lines(folder, "r.jsonl"))}
    for one in in_store:
        assert firsts[id_of(lines, one["line"])] == one["why"]
    assert counted["in_store"] == len(in_store)
    assert counted["read"] == len(told.records) == ran.summary["read"]
    assert counted["run"] == sum(one["action"] == "run" for one in told.records)
    assert {one["action"] for one in explain(folder, *STORE).records} == {"settled"}


def open_lines(folder, name):
    return (folder / name).read_text().splitlines() if (folder / name).exists() else []


@pytest.mark.parametrize("workers", [0, 2])
def test_what_the_import_of_a_handler_prints_is_not_in_what_it_says(folder, workers):
    folder.write("tasks.py", "print('loading')\n\ndef do(payload): ...\n")
    folder.write("jobs.jsonl", [1])
    words = ("jobs.jsonl", "-H", "tasks.py:do", "-j", workers, "-o", "r.jsonl", *STORE)
    folder.run(*words, code=0)
    ran = folder.run("check", *words, "--json", code=0)
    assert json.loads(ran.out)["read"] == 1
    assert "loading" in ran.err


def test_what_is_in_the_store_is_counted_and_explained(folder):
    remember(folder, ['{"id":"first","payload":{"n":1}}'], code=0)
    folder.write("jobs.jsonl", [{"n": 1}, {"n": 2}, {"n": 1}])
    out = folder.run("check", "jobs.jsonl", *SETTINGS, *STORE, code=0).out.decode()
    assert "  duplicate, in store" in out
    said = folder.run("check", "jobs.jsonl", *SETTINGS, *STORE, "--explain", code=0).out.decode().splitlines()
    assert said == [
        "jobs.jsonl:1: duplicate (of first, in the store)",
        "jobs.jsonl:2: runs",
        "jobs.jsonl:3: duplicate (of first, in the store)",
    ]


def test_a_store_that_is_not_there_remembers_nothing_and_is_not_made(folder):
    folder.write("jobs.jsonl", [{"n": 1}])
    assert json.loads(folder.run("check", "jobs.jsonl", *SETTINGS, *STORE, "--json", code=0).out)["run"] == 1
    assert not list(folder.path.glob("memory.db*"))


def test_another_version_of_a_handler_has_a_memory_of_its_own(folder):
    text = "from jqcli import handler\n@handler(version={})\ndef do(payload):\n    return 1\n"
    folder.write("jobs.jsonl", [{"n": 1}])
    folder.write("tasks.py", text.format(1))
    folder.run("jobs.jsonl", "-H", "tasks.py:do", "-o", "one.out", *STORE, code=0)
    check = ("check", "jobs.jsonl", "-H", "tasks.py:do", "-o", "two.out", *STORE, "--json")
    assert json.loads(folder.run(*check, code=0).out)["in_store"] == 1
    folder.write("tasks.py", text.format(2) + "# 2\n")
    assert json.loads(folder.run(*check, code=0).out)["run"] == 1
    folder.write("tasks.py", "1 / 0\n")
    assert "ZeroDivisionError" in folder.run(*check, code=2).err


def test_what_another_run_is_doing_is_waited_for_by_the_run_and_not_by_check(folder):
    folder.write("one.jsonl", [{"n": 1}, {"do": "wait", "file": "go"}])
    child = folder.start("one.jsonl", "-o", "one.out", "-b", "1", *STORE)
    wait_for(lambda: len(folder.log) == 2)
    wait_for(lambda: (folder / "one.out").exists() and (folder / "one.out").read_text().count("\n") == 1)
    folder.write("jobs.jsonl", [{"do": "wait", "file": "go"}, {"n": 5}, {"do": "wait", "file": "go"}])
    check = ("check", "jobs.jsonl", *SETTINGS, *STORE, "--json")
    before = stands_still(lambda: look(folder), 2.5)  # the store is told of the first job within some time
    said = json.loads(folder.run(*check, code=0).out)
    assert (said["elsewhere"], said["run"]) == (2, 1)
    assert look(folder) == before
    explained = folder.run(*check[:-1], "--explain", code=0).out.decode()
    assert "jobs.jsonl:1: waits (another run is doing it)\n" in explained
    assert [line.split(" ")[1] for line in explained.splitlines()] == ["waits", "runs", "waits"], "a line each"
    child.send_signal(signal.SIGKILL)
    child.wait()
    before = look(folder)
    assert json.loads(folder.run(*check, code=0).out)["run"] == 2
    assert look(folder) == before


def test_nobody_has_to_wait_for_a_look_and_a_look_for_nobody(folder):
    remember(folder, ['{"n":1}'], code=0)
    folder.write("jobs.jsonl", [{"n": 1}])
    fd = os.open(folder / "memory.db-lock", os.O_RDWR)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX, 1, 0)  # as a run does that writes
        said = json.loads(folder.run("check", "jobs.jsonl", *SETTINGS, *STORE, "--json", code=0, limit=25).out)
    finally:
        os.close(fd)
    assert said["in_store"] == 1


@pytest.mark.parametrize("on_error, code", [("stop", 74), ("continue", 0)])
def test_a_store_that_does_not_work_ends_it_as_it_would_end_the_run(folder, on_error, code):
    folder.write("memory.db", "no database, and no header of one either " * 100)
    folder.write("jobs.jsonl", [{"n": 1}])
    words = ("jobs.jsonl", *SETTINGS, *STORE, "--on-store-error", on_error)
    ran = folder.run("check", *words, code=code)
    assert "is no store, or is damaged" in ran.err
    folder.run(*words, code=code)
