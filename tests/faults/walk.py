"""Kills a run at one place after another, runs the same command again, and lets the oracle count.

A life is a run in a fork of a process that has imported everything, so it costs some milliseconds with `-j 0` and a
worker's start with `-j 2`; what it does to files and processes is what the command does.

    python -m tests.faults.walk WALK STRIDE FOLDER [OPTION]...     prints how many kill points were walked, or fails
"""

from __future__ import annotations

import errno
import json
import os
import random
import select
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import tenacity  # noqa: F401 - here, and not in every life

from jqcli.commands import main
from tests import oracle

DEEDS = Path(__file__).parents[1] / "process" / "deeds.py"
RESULTS, LETTERS, LOG = "results.jsonl", "jobs.dlq.jsonl", "log.jsonl"
FAST = ("-r", "2", "--backoff", "fixed", "--backoff-base", "1ms", "-q")
STRACE = ("strace", "-qq", "-o", "/dev/null", "-e")  # without -f: the parent alone is traced
# With which the parent writes (to workers and their keeper too), syncs, cuts, locks, renames and removes.
CALLS = (
    "write",
    "pwrite64",
    "sendmsg",
    "sendto",
    "fdatasync",
    "fsync",
    "ftruncate",
    "flock",
    "link",
    "rename",
    "unlink",
)
WRITES = 40  # at least all the places of these runs at which something is written
MOST = 300  # places of one run, far more than there are

# Every kind of line: plain, duplicates of each fate, own ids, given keys, a conflict, retries, unusable ones.
JOBS = b"".join(
    json.dumps(line).encode() + b"\n"
    for line in [
        {"n": 1},
        {"id": "a", "payload": {"n": 2}},
        {"n": 1},
        {"do": "reject", "n": 4},
        {"do": "flaky", "times": 1, "n": 6},
        {"do": "reject", "n": 4},
        {"do": "skip", "n": 8},
        {"id": "k1", "key": "K", "payload": {"n": 10}},
        {"id": "k2", "key": "K", "payload": {"n": 10}},
        {"id": "k3", "key": "K", "payload": {"n": 12}},
        {"do": "fail", "n": 13},
        {"id": "a", "payload": {"n": 2}},
        {"payload": 1, "typo": 2},
    ]
).replace(b'{"do": "skip"', b'\nnot json\n{"do": "skip"')
EDITED = (
    b"".join(sorted(JOBS.splitlines(keepends=True)[2:], reverse=True))
    + b'{"n": 1}\n{"new": 1}\n{"do": "fail", "n": 2}\n'
)


@dataclass
class Walk:
    """A folder, the options of its command, and how far its walks went.

    `is_moved`: lines were moved, so a new one may stand before that of a dead letter, and runs.
    """

    folder: Path
    words: tuple[str, ...]
    stride: int = 1
    points: int = 0
    runs: int = 0
    deaths: int = field(default=0, init=False)
    crashes: int = field(default=0, init=False)
    killed_workers: int = 0
    is_moved: bool = False

    def start_over(self, jobs=JOBS):
        """Leave nothing of the run before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            path.unlink()
        (self.folder / "jobs.jsonl").write_bytes(jobs)
        self.deaths = self.crashes = 0

    def live(self, failpoint="", disturb=None, inject=None):
        """Run the command once; return its exit code, negative for a signal.

        `disturb(pid)` is called again and again while it runs; `inject` is what strace shall do to its system calls.
        """
        self.runs += 1
        before = self.settled(), self.times_run()
        pid = os.fork()
        if pid == 0:
            self._run(failpoint, inject)
        ended, status = os.waitpid(pid, 0 if disturb is None else os.WNOHANG)
        while not ended:
            disturb(pid)
            select.select([], [], [], 0.002)
            ended, status = os.waitpid(pid, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status)
        self.deaths += code not in (0, 1)
        after = self.times_run()
        again = [each for each in before[0] if after[each] != before[1][each]]
        assert not again, f"has a record and was run again: {again}"
        return code

    def fork(self, args):
        """Run another command in the folder to its end; return its exit code."""
        self.runs += 1
        pid = os.fork()
        if pid == 0:
            self._run("", None, args)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _run(self, failpoint, inject, args=None):
        args = args or ["jobs.jsonl", "-o", RESULTS, "-H", f"{DEEDS}:do", *FAST, *self.words]
        try:
            os.chdir(self.folder)
            os.dup2(os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
            os.environ["JQ_RUN_FAILPOINT"] = failpoint
            if inject is not None:
                os.execvp("strace", [*STRACE, inject, sys.executable, "-m", "jqcli", *args])
            os._exit(main(args))
        finally:
            os._exit(99)

    def settled(self):
        """Return what has a record by now."""
        return oracle.settled_payloads(self.folder / RESULTS, self.folder / LETTERS, dead=not self.is_moved)

    def times_run(self):
        """Count what was executed by now."""
        return oracle.times_run(self.folder / LOG)

    def check(self, now=JOBS, earlier=()):
        """Let the oracle count."""
        paths = (self.folder / name for name in (RESULTS, LETTERS, LOG))
        return oracle.check_lines(now, *paths, earlier=earlier, deaths=self.deaths, crashes=self.crashes)

    def finish(self, now=JOBS, earlier=()):
        """Run the same command to its end; there are dead letters in every one of these inputs."""
        assert (code := self.live()) == 1, f"exit {code}: {(self.folder / 'said').read_text()}"
        self.check(now, earlier)

    def kill_at_each(self, name="*", action="kill"):
        """Kill a run at each arrival at a place, and go on; one more arrival than there is completes at once."""
        for number in range(1, MOST):
            self.start_over()
            if self.live(f"{name}:{number}:{action}") != -signal.SIGKILL:
                self.check()
                return number - 1
            self.points += 1
            yield number
            self.finish()
        raise AssertionError(f"{name}: no end after {MOST} arrivals")


def workers_of(pid):
    """Return the pids of a run's workers; its keeper and those that have ended are left out."""
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if b"jqcli.engine.worker" in read_or_nothing(f"/proc/{child}/cmdline")]
    return []


def read_or_nothing(path):
    """Return the bytes of a file that may be gone."""
    with suppress(OSError):
        return Path(path).read_bytes()
    return b""


class WorkerKiller:
    """Kills one worker, when a number of jobs have begun since it was made."""

    def __init__(self, walk, chance, most=8):
        self._walk = walk
        self._chance = chance
        self._wanted = walk.times_run().total() + chance.randint(1, most)
        self.is_done = False

    def __call__(self, pid):
        if self.is_done or read_or_nothing(self._walk.folder / LOG).count(b"\n") < self._wanted:
            return
        for worker in self._chance.sample(found := workers_of(pid), min(1, len(found))):
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
            self._walk.crashes += 1
            self._walk.killed_workers += 1
        self.is_done = True


def walk_once(walk):
    """One death, at every place, and within every write."""
    for action in (("*", "kill"), ("results.append", "tear"), ("letters.append", "tear")):
        for _ in walk.kill_at_each(*action):
            pass


def walk_twice(walk):
    """A second death at every place of the going-on, for every place of the first."""
    for first in range(1, MOST):
        for second in range(1 + first % walk.stride, MOST, walk.stride):
            walk.start_over()
            if walk.live(f"*:{first}:kill") != -signal.SIGKILL:
                return
            if walk.live(f"*:{second}:{'tear' if second % 3 == 0 else 'kill'}") != -signal.SIGKILL:
                walk.check()
                break
            walk.points += 1
            walk.finish()


def walk_edited(walk):
    """The input is edited between the death and the next run."""
    for first in range(1, MOST):
        walk.start_over()
        if walk.live(f"*:{first}:{'kill' if first % 2 else 'tear'}") != -signal.SIGKILL:
            return
        walk.points += 1
        (walk.folder / "jobs.jsonl").write_bytes(EDITED)
        walk.finish(EDITED, earlier=(JOBS,))


def walk_with_crashes(walk):
    """Workers are killed at random too, in both lives."""
    chance = random.Random(16)
    for first in range(1, MOST):
        walk.start_over()
        if walk.live(f"*:{first}:kill", WorkerKiller(walk, chance)) != -signal.SIGKILL:
            walk.check()
            return
        walk.points += 1
        assert walk.live("", WorkerKiller(walk, chance)) == 1
        walk.check()


def walk_system_calls(walk):
    """A kill at every system call that changes something, each kind by itself."""
    for call in CALLS:
        for number in range(1, MOST, walk.stride):
            walk.start_over()
            if walk.live(inject=f"inject={call}:signal=SIGKILL:when={number}") != -signal.SIGKILL:
                walk.check()
                break
            walk.points += 1
            walk.finish()


def walk_errors(walk):
    """An error at every place: the run stops with 74 and names the file, which ends in whole lines."""
    for error in ("ENOSPC", "EIO"):
        for number in range(1, MOST):
            walk.start_over()
            if (code := walk.live(f"*:{number}:{error}")) == 1:
                walk.check()
                break
            walk.points += 1
            said = (walk.folder / "said").read_text()
            assert code == 74, f"exit {code} at place {number}: {said}"
            assert sum(name in said for name in (RESULTS, LETTERS, "memory.db")) == 1, f"names no file: {said}"
            assert os.strerror(getattr(errno, error)) in said, said
            oracle.read_outputs(walk.folder / RESULTS, walk.folder / LETTERS)
            walk.finish()


def walk_short_writes(walk):
    """Half of a write, at every place: no line is torn, and nothing has to run again."""
    for number in range(1, WRITES):
        walk.start_over()
        assert walk.live(f"*:{number}:short") == 1
        walk.check()
        walk.points += 1


WALKS = {
    "once": walk_once,
    "twice": walk_twice,
    "edited": walk_edited,
    "crashes": walk_with_crashes,
    "calls": walk_system_calls,
    "errors": walk_errors,
    "short": walk_short_writes,
}

if __name__ == "__main__":
    name, stride, folder, *words = sys.argv[1:]
    from tests.faults.shared import StoreWalk  # which builds on what is here

    words, kind = [word for word in words if word != "--shared"], StoreWalk if "--shared" in words else Walk
    walk = kind(Path(folder), tuple(words), int(stride))
    WALKS[name](walk)
    print(json.dumps({"points": walk.points, "runs": walk.runs, "killed_workers": walk.killed_workers}))
