"""Law 5 of a redrive without power: whatever the disk has kept, no letter is lost and none is there twice.

As in test_power_cut.py: a `dlq retry` in this process writes through a disk that loses what was not synced; after every
operation the power is cut, and the same command goes on with what is left.
"""

from __future__ import annotations

import os
import random
import re
import shutil

import pytest

import jqcli.commands
from jqcli.edge.merge import merge
from tests import oracle
from tests.command import ROOT
from tests.disk import Disk, everything, nothing

pytestmark = pytest.mark.walk

MODULES = ("sink", "dlq", "tail", "outputs", "sync", "target", "failpoint", "redrive_log", "merge")
DLQ, RESULTS, LOG = "jobs.dlq.jsonl", "results.jsonl", "jobs.dlq.jsonl.redrive"
WORDS = ("-j", "0", "-b", "2", "-r", "1", "-q")
JOBS = [{"id": "a", "payload": {"n": 0}}, {"n": 1}, {"n": 3}, {"id": "d", "payload": {"n": 4}}, {"n": 0}]
FULL, NONE = ("--durability", "full"), ("--durability", "none")
RETRIES = {"full": FULL, "none": NONE, "set": ("--set", "x=1"), "set and full": ("--set", "x=1", *FULL)}
OTHER = '"other:1"'


def lay(path, files, monkeypatch, old=b""):
    """Make the folder anew, with these files in it, and go there.

    A redrive's file names by its number the DLQ that took the place of the `old` one; it has another number here.
    """
    monkeypatch.chdir(path.parent)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    shutil.copy(ROOT / "tests" / "process" / "mend.py", path)
    for name, data in files.items():
        (path / name).write_bytes(data)
    if LOG in files:
        status = (path / DLQ).stat()
        merged = b'"merged":[%d,%d]' % ((0, 0) if files[DLQ].startswith(old) else (status.st_dev, status.st_ino))
        (path / LOG).write_bytes(re.sub(rb'"merged":\[[0-9]+,[0-9]+\]', merged, files[LOG]))
    monkeypatch.chdir(path)
    return path


def bury(path, monkeypatch):
    """Let all jobs die once, and mend a third of them; return the files by name."""
    jobs = b"".join(oracle.canonical(job).encode() + b"\n" for job in JOBS)
    lay(path, {"jobs.jsonl": jobs, "round": b"0"}, monkeypatch)
    assert jqcli.commands.main(["jobs.jsonl", "-H", "mend.py:third", "-o", RESULTS, *WORDS]) == 1
    (path / "round").write_text("1")
    return {each.name: each.read_bytes() for each in path.iterdir() if each.suffix != ".py" and each.is_file()}


def append(disk, data):
    """Write letters as another run does, and sync them."""
    fd = disk.open(DLQ, os.O_WRONLY | os.O_APPEND)
    disk.write(fd, data)
    disk.fdatasync(fd)
    disk.close(fd)


def retry(words):
    assert jqcli.commands.main(["dlq", "retry", DLQ, *WORDS, *words]) == 1


@pytest.mark.parametrize("words", RETRIES.values(), ids=RETRIES)
def test_after_a_power_cut_at_any_point_the_same_redrive_ends_with_the_right_answer(tmp_path, monkeypatch, words):
    chance, path = random.Random(1), tmp_path / "work"
    kept = bury(path, monkeypatch)
    fixed = {name: kept[name] for name in ("jobs.jsonl", "round")}
    disk = Disk(lay(path, fixed, monkeypatch), {name: kept[name] for name in (DLQ, RESULTS)})
    (path / "log.jsonl").write_bytes(kept["log.jsonl"])
    began, appended = len(disk.ops), []
    other = next(line for line in kept[DLQ].splitlines(keepends=True) if line.startswith(b'{"id":"d"'))
    other = other.replace(b'"d"', OTHER.encode())

    def append_and_merge(log):
        append(disk, other)
        appended.append(len(disk.ops))
        merge(log)

    with monkeypatch.context() as patch:
        for module in MODULES:
            patch.setattr(f"jqcli.edge.{module}.os", disk)
        patch.setattr("jqcli.redrive.merge", append_and_merge)
        retry(words)
    sure = disk.sure(len(disk.ops))
    assert all(sure[name] == (path / name).read_bytes() for name in (DLQ, RESULTS))
    log, tried = (path / "log.jsonl").read_bytes(), set()
    for point in range(began, len(disk.ops) + 1):
        for choose in (nothing, everything, lambda most: chance.randint(0, most)):
            files = disk.cut(point, choose)
            state = tuple(sorted(files.items()))
            if state in tried:
                continue
            tried.add(state)
            left = fixed | files | {"log.jsonl": log[: disk.ops[point - 1].log]}
            lay(path, left, monkeypatch, old=kept[DLQ])
            is_over = not files[DLQ].startswith(kept[DLQ]) and not files.get(LOG)
            retry(words)
            ids = oracle.expected_ids(path / "jobs.jsonl")
            is_there = point >= appended[0] or OTHER.encode() in files[DLQ]
            ids += [OTHER] * is_there
            count = oracle.check(ids, path / RESULTS, path / DLQ, path / "log.jsonl", deaths=2)
            own = [letter for letter in count.dead if oracle.canonical(letter["id"]) != OTHER]
            assert [each["status"] for each in count.results].count("completed") == 2, point
            assert [letter["redrives"] for letter in own] == [2 if is_over else 1] * 2, point
            assert [len(letter["history"]) for letter in own] == [3 if is_over else 2] * 2, point
    assert len(tried) > 10
