"""A store whose disk or file fails a real run: it stops with 74 and names it, or goes on without it and says so."""

from __future__ import annotations

import subprocess

import pytest

from tests import oracle
from tests.command import wait_for

pytestmark = pytest.mark.walk

STOP, CONTINUE = ("stop", 74), ("continue", 0)
CHOICES = pytest.mark.parametrize("choice, code", [STOP, CONTINUE], ids=["stop", "continue"])


def run(folder, name, store, *words, code, **more):
    return folder.run(f"{name}.jsonl", "-o", f"{name}.out.jsonl", "--store", store, *words, code=code, **more)


def has_ended_well(folder, name, ran, choice, cause):
    """Look that a run said what was wrong with its store, and did what it was told to do then."""
    (said,) = [line for line in ran.err.splitlines() if cause in line]
    assert "memory.db" in said
    assert ("going on without the store" in said) == (choice == "continue")
    if choice == "continue":
        assert len(ran.err.splitlines()) == 1
        oracle.check(
            oracle.expected_ids(folder / f"{name}.jsonl"), folder / f"{name}.out.jsonl", folder / f"{name}.dlq.jsonl"
        )


@CHOICES
def test_a_store_on_a_full_disk(folder, small_disk, choice, code):
    """Faults 24 and 43: a small tmpfs under the store alone."""
    jobs = [{"do": "return_large", "size": 3000, "n": n} for n in range(200)]
    folder.write("one.jsonl", jobs)
    ran = run(folder, "one", "disk/memory.db", "-q", "--on-store-error", choice, code=code)
    has_ended_well(folder, "one", ran, choice, "disk is full")
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    run(folder, "one", "disk/memory.db", code=0)
    folder.write("two.jsonl", jobs)
    run(folder, "two", "disk/memory.db", code=0)
    assert max(oracle.read_executions(folder / "log.jsonl").values()) <= 2
    oracle.check(oracle.expected_ids(folder / "two.jsonl"), folder / "two.out.jsonl", folder / "two.dlq.jsonl")


@CHOICES
@pytest.mark.parametrize("is_new", [True, False], ids=["new", "old"])
def test_a_store_in_a_read_only_place(folder, small_disk, choice, code, is_new):
    """Fault 43: a file system that was mounted read-only, with and without a store in it."""
    folder.write("one.jsonl", [1, 2])
    if not is_new:
        run(folder, "one", "disk/memory.db", code=0)
    folder.write("two.jsonl", [1, 3])
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    before = len(folder.log) if (folder / "log.jsonl").exists() else 0
    ran = run(folder, "two", "disk/memory.db", "-q", "--on-store-error", choice, code=code)
    has_ended_well(folder, "two", ran, choice, "Read-only file system")
    assert (folder / "log.jsonl").exists() is (choice == "continue" or not is_new)
    assert choice == "continue" or not (folder / "two.out.jsonl").exists()
    if choice == "continue":
        assert len(folder.log) == before + 2  # what it did before is not known to it
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    run(folder, "two", "disk/memory.db", code=0)


@CHOICES
@pytest.mark.parametrize("name", ["memory.db", "memory.db-lock"])
def test_a_store_or_its_lock_deleted_under_a_run(folder, choice, code, name):
    """Fault 43: with another lock two runs would not see each other."""
    wait = {"do": "wait", "file": "go"}
    folder.write("one.jsonl", [wait, *({"n": n} for n in range(5))])
    words = ("-o", "one.out.jsonl", "--store", "memory.db", "-b", "1", "-j", "1", "-q", "--on-store-error", choice)
    child = folder.start("one.jsonl", *words)
    wait_for(lambda: (folder / "log.jsonl").exists() and wait in folder.log)
    (folder / name).unlink()
    folder.write("go", "")
    err = child.communicate(timeout=60)[1].decode()
    assert child.returncode == code, err
    assert "removed or replaced" in err
    assert ("going on without the store" in err) == (choice == "continue")
    run(folder, "one", "memory.db", code=0)
    oracle.check(oracle.expected_ids(folder / "one.jsonl"), folder / "one.out.jsonl", folder / "one.dlq.jsonl")


@CHOICES
@pytest.mark.parametrize("durability", ["batch", "full"])
def test_a_store_that_fails_when_it_is_told_what_is_done(folder, choice, code, durability):
    """Fault 43: by a failpoint in the commit, beside the run or not; all that was done is recorded."""
    folder.write("one.jsonl", [{"n": n} for n in range(20)])
    words = ("-q", "--durability", durability, "--on-store-error", choice)
    ran = run(folder, "one", "memory.db", *words, code=code, JQ_RUN_FAILPOINT="store.commit:3:EIO")
    has_ended_well(folder, "one", ran, choice, "Input/output error")
    run(folder, "one", "memory.db", code=0)
    oracle.check(
        oracle.expected_ids(folder / "one.jsonl"),
        folder / "one.out.jsonl",
        folder / "one.dlq.jsonl",
        folder / "log.jsonl",
        deaths=1,
    )
    if durability == "batch":
        assert len(folder.log) == 20
