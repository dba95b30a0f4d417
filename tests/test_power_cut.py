"""Laws 5 and 6 without power: whatever the disk has kept, the same command ends with the right answer.

A run in this process writes through a disk that loses what was not synced; after every operation the power is cut, the
disk is laid into a new folder, and the command goes on there. The independent count has the last word.
"""

from __future__ import annotations

import random
import shutil

import pytest

import jqcli.commands
from jqcli import recorder
from jqcli.loop import Loop
from jqcli.recorder import Recorder
from tests import oracle
from tests.command import DEEDS
from tests.disk import Disk, everything, nothing

pytestmark = pytest.mark.walk

FILES = ("results.jsonl", "jobs.dlq.jsonl")
WORDS = ("jobs.jsonl", "-o", "results.jsonl", "-j", "0", "-b", "2", "--backoff-base", "1ms", "-q")
JOBS = [
    {"id": "a", "payload": {"n": 1}},
    {"n": 2, "do": "reject"},
    {"n": 1},
    {"id": "f", "payload": {"n": 3, "do": "flaky", "times": 1}},
    {"n": 2, "do": "reject"},
    {"id": "k", "key": "K", "payload": {"n": 4}},
    {"id": "l", "key": "K", "payload": {"n": 5}},
    {"n": 6, "do": "skip"},
    {"id": "z", "payload": {"n": 1}},
]
STATUSES = {"completed": 3, "duplicate": 2, "skipped": 1, "dead": 3}


class Bench:
    """A folder with jobs, in which the command runs in this process."""

    def __init__(self, path, monkeypatch):
        self.path = path / "work"
        self.patch = monkeypatch
        self.patch.chdir(path)

    def folder(self, files, log=b""):
        """Make the folder anew, with these files beside the jobs, and go there; letters name its path."""
        path = self.path
        self.patch.chdir(path.parent)
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        (path / "jobs.jsonl").write_bytes(b"".join(oracle.canonical(job).encode() + b"\n" for job in JOBS))
        for name, data in files.items():
            (path / name).write_bytes(data)
        if log:
            (path / "log.jsonl").write_bytes(log)
        self.patch.chdir(path)
        return path

    def run(self, *words):
        """Run to the end: with dead letters, as these jobs have them."""
        assert jqcli.commands.main([*WORDS, "-H", f"{DEEDS}:do", *words]) == 1

    def run_on_disk(self, path, *words, initial=None, is_synced=True):
        """Run to the end on a disk; return it."""
        disk = Disk(path, initial, is_synced=is_synced)
        disk.words = words
        told = {
            (Loop, "_turn"): FILES,
            (Recorder, "finish"): FILES[:1],
            (Recorder, "flush"): FILES,
            (Recorder, "end"): FILES,
        }
        with self.patch.context() as patch:
            for module in ("sink", "dlq", "tail", "outputs", "sync", "target", "failpoint"):
                patch.setattr(f"jqcli.edge.{module}.os", disk)
            for (kind, name), files in told.items():
                patch.setattr(kind, name, self._tell(disk, getattr(kind, name), files))
            self.run(*words)
        return disk

    def _tell(self, disk, method, files):
        """Return the method, noting that what was written counts as done: behind it, or before the first turn.

        With `batch` and `none` nothing does before the end.
        """

        def call(owner, *args):
            is_full = "full" in disk.words
            if method.__name__ == "_turn":
                if is_full and not any(op.kind == "told" for op in disk.ops):
                    disk.tell(files)
                return method(owner, *args)
            answer = method(owner, *args)
            if is_full or method.__name__ == "end":
                disk.tell(files)
            return answer

        return call

    def go_on(self, files, log, deaths=1):
        """Run the same command on what a cut has left, and count."""
        path = self.folder(files, log)
        self.run()
        self.check(path, deaths)

    def check(self, path, deaths):
        ids = oracle.expected_ids(path / "jobs.jsonl")
        count = oracle.check(ids, path / FILES[0], path / FILES[1], path / "log.jsonl", deaths=deaths)
        assert count.statuses == STATUSES
        assert jqcli.commands.main(["verify", "jobs.jsonl", "-o", "results.jsonl"]) == 0


@pytest.fixture
def bench(tmp_path, monkeypatch):
    return Bench(tmp_path, monkeypatch)


@pytest.fixture(params=["full", "batch", "none", "every turn"])
def mode(request, monkeypatch):
    """Return how to sync; `every turn` is `batch` without the second in between."""
    if request.param == "every turn":
        monkeypatch.setattr(recorder, "_LOOK_EVERY", 0.0)
    return "batch" if request.param == "every turn" else request.param


def test_after_a_power_cut_at_any_point_the_same_command_ends_with_the_right_answer(bench, mode):
    chance = random.Random(1)
    path = bench.folder({})
    disk = bench.run_on_disk(path, "--durability", mode)
    bench.check(path, deaths=0)
    log = (path / "log.jsonl").read_bytes()
    tried = set()
    for point in range(len(disk.ops) + 1):
        for choose in (nothing, everything, *[lambda most: chance.randint(0, most)] * 2):
            files = disk.cut(point, choose)
            state = tuple(sorted(files.items()))
            if state not in tried:
                tried.add(state)
                bench.go_on(files, log[: disk.ops[point - 1].log if point else 0])
    assert len(tried) > 10


@pytest.mark.parametrize("seed", range(12))
def test_cut_off_again_while_it_goes_on_the_command_still_ends_with_the_right_answer(bench, mode, seed):
    chance = random.Random(seed)
    files, log = {}, b""
    for _ in range(2):
        path = bench.folder(files, log)
        words = ("--durability", mode, *(["-k"] if seed % 2 else []))
        disk = bench.run_on_disk(path, *words, initial=files)
        point = chance.randint(0, len(disk.ops))
        files = disk.cut(point, lambda most: chance.randint(0, most))
        log = (path / "log.jsonl").read_bytes()[: disk.ops[point - 1].log if point else len(log)]
    bench.go_on(files, log, deaths=2)


def assert_what_was_told_is_sure(disk):
    for point in range(len(disk.ops) + 1):
        sure = disk.sure(point)
        for name, told in disk.told(point).items():
            assert sure.get(name, b"").startswith(told), f"{name} after {point} operations"


def test_with_full_nothing_counts_as_done_that_a_power_cut_could_take(bench):
    disk = bench.run_on_disk(bench.folder({}), "--durability", "full")
    assert len([op for op in disk.ops if op.kind == "told"]) > len(JOBS) // 2
    assert_what_was_told_is_sure(disk)


@pytest.mark.parametrize("durability", ["full", "batch"])
def test_when_the_command_has_ended_no_power_cut_takes_a_record(bench, durability):
    disk = bench.run_on_disk(bench.folder({}), "--durability", durability)
    assert_what_was_told_is_sure(disk)
    assert set(disk.sure(len(disk.ops))) == set(FILES)


@pytest.mark.parametrize("durability", ["full", "batch"])
def test_what_a_killed_run_wrote_and_never_synced_is_synced_by_the_one_that_goes_on(bench, durability):
    """Its records count as done from the start, although that run could not sync them."""
    path = bench.folder({})
    bench.run("--durability", "none")
    left = {name: (path / name).read_bytes() for name in FILES}
    for keep in (1.0, 0.6):
        cut = {
            name: b"".join(data.splitlines(keepends=True)[: round(keep * data.count(b"\n"))])
            for name, data in left.items()
        }
        log = (path / "log.jsonl").read_bytes()
        disk = bench.run_on_disk(bench.folder({}, log), "--durability", durability, initial=cut, is_synced=False)
        assert_what_was_told_is_sure(disk)


def test_batch_syncs_when_its_time_has_come_and_at_the_end_and_none_never_does(bench, monkeypatch):
    monkeypatch.setattr(recorder, "_LOOK_EVERY", 3600.0)
    calm = bench.run_on_disk(bench.folder({}), "--durability", "batch")
    never = bench.run_on_disk(bench.folder({}), "--durability", "none")
    monkeypatch.setattr(recorder, "_LOOK_EVERY", 0.0)
    eager = bench.run_on_disk(bench.folder({}), "--durability", "batch")
    counts = [sum(op.kind == "sync" for op in disk.ops) for disk in (calm, never, eager)]
    assert counts[0] == 2  # both files, at the end
    assert counts[1] == 0
    assert counts[2] > 4


def test_no_power_cut_takes_what_fresh_has_set_aside(bench):
    bench.folder({})
    bench.run()
    before = {name: (bench.path / name).read_bytes() for name in FILES}
    disk = bench.run_on_disk(bench.folder({}), "--fresh", initial=before)
    ready = 1 + max(at for at, op in enumerate(disk.ops[:8]) if op.kind == "place")
    chance = random.Random(3)
    for point in range(ready, len(disk.ops) + 1):
        for choose in (nothing, everything, lambda most: chance.randint(0, most)):
            left = disk.cut(point, choose).values()
            assert all(any(kept.startswith(data) for kept in left) for data in before.values())
