"""The walks and the soak with a store: what is done counts for other commands, and what a killed run claimed is free.

The promise that is held against the files: what one command has done no other runs again, but for what a killed run had
recorded and not yet told the store.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests import oracle
from tests.faults.walk import DEEDS, FAST, JOBS, LETTERS, LOG, RESULTS, Walk, read_or_nothing

OTHER = "other.jsonl"
PLAIN = (None, "pause", "skip", "return_large")  # what a job does that runs once, where nobody dies


@dataclass
class StoreWalk(Walk):
    """A walk whose command has a store; each ends with another command, which asks for the same and may do nothing.

    `recorded` is what had a record whenever a life ended badly.
    """

    store: str = "memory.db"
    recorded: set = field(default_factory=set)

    def __post_init__(self):
        self.words = (*self.words, "--store", self.store)

    def start_over(self, jobs=JOBS):
        """Leave nothing of the run before, nor of its store."""
        for path in (self.folder / self.store).parent.glob("memory.db*"):
            path.unlink()
        self.recorded = set()
        super().start_over(jobs)

    def live(self, failpoint="", disturb=None, inject=None):
        """Run the command once; note what had a record when it died."""
        code = super().live(failpoint, disturb, inject)
        if code not in (0, 1):
            self.recorded |= super().settled()
        return code

    def remembered(self):
        """Return the records that the store has by now."""
        return oracle.read_store(self.folder / self.store)

    def settled(self):
        """Return what has a record by now, be it in the store alone."""
        return super().settled() | {oracle.hash_in(record) for record in self.remembered()}

    def check(self, now=JOBS, earlier=()):
        """Let the oracle count; what the store alone has a record of was done all the same."""
        paths = (self.folder / name for name in (RESULTS, LETTERS, LOG))
        more = {"deaths": self.deaths, "crashes": self.crashes, "remembered": self.remembered()}
        return oracle.check_lines(now, *paths, earlier=earlier, **more)

    def finish(self, now=JOBS, earlier=()):
        """Run the same command to its end, and then another one, which has nothing to do but what died."""
        super().finish(now, earlier)
        done = {oracle.hash_in(each) for each in oracle.read_lines(self.folder / RESULTS) if oracle.has_run(each)}
        untold = done - {oracle.hash_in(record) for record in self.remembered()}
        assert untold <= self.recorded, f"done, and the store does not know: {untold - self.recorded}"
        self.ask_again(now, done - untold)

    def check_neighbour(self, neighbour):
        """Let the oracle count the lines of another command that shared the store."""
        folder = neighbour.folder
        paths = (folder / name for name in (RESULTS, LETTERS, LOG))
        jobs = (folder / "jobs.jsonl").read_bytes()
        oracle.check_lines(jobs, *paths, deaths=neighbour.deaths, remembered=self.remembered())

    def ask_again(self, now, done):
        """Run another command over the same jobs, the last one first; what is `done` may not run again."""
        jobs = b"".join(reversed(now.splitlines(keepends=True)))
        (self.folder / OTHER).write_bytes(jobs)
        before = self.times_run()
        args = [OTHER, "-o", "other.results.jsonl", "-H", f"{DEEDS}:do", *FAST, "--store", self.store, "-j", "0"]
        assert (code := self.fork(args)) == 1, f"exit {code}: {(self.folder / 'said').read_text()}"
        after = self.times_run()
        again = [each for each in done if after[each] != before[each]]
        assert not again, f"was done, and another command did it again: {again}"
        ids = oracle.expected_ids(self.folder / OTHER)
        oracle.check(ids, self.folder / "other.results.jsonl", self.folder / "other.dlq.jsonl")


class Neighbour:
    """Another command that lives beside a soaked one and shares its store; it is killed at times, and goes on."""

    def __init__(self, folder, store, jobs, chance):
        self.folder = folder
        self.store = store
        self.deaths = 0
        self._chance = chance
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        (folder / "jobs.jsonl").write_bytes(jobs)
        self._left = chance.randrange(3)  # of its lives that are hurt
        self._start()

    def _start(self):
        point = ""
        self._wanted = None
        if self._left:
            self._left -= 1
            if self._chance.random() < 0.5:
                point = f"{self._chance.choice(STORE_POINTS)}:{self._chance.randint(1, 9)}:kill"
            else:
                self._wanted = self._log().count(b"\n") + self._chance.randrange(20)
        batch, durability = self._chance.choice(("auto", "1", "5")), self._chance.choice(("batch", "full"))
        words = ("-j", "2", "-b", batch, "--durability", durability)
        args = ["jobs.jsonl", "-o", RESULTS, "-H", f"{DEEDS}:do", *FAST, *words, "--store", self.store]
        with (self.folder / "said").open("ab") as said:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "jqcli", *args], cwd=self.folder, stdin=subprocess.DEVNULL, stderr=said,
                env=os.environ | {"JQ_RUN_FAILPOINT": point, "PYTHONPATH": str(Path(__file__).parents[2])},
            )  # fmt: skip

    def _log(self):
        return read_or_nothing(self.folder / LOG)

    def __call__(self, _):
        """Do what is due to it, while the soaked run lives."""
        code = self._child.poll()
        if code is None and self._wanted is not None and self._log().count(b"\n") >= self._wanted:
            self._child.kill()
            code = self._child.wait()
        if code is not None and code not in (0, 1):
            self.deaths += 1
            self._start()

    def finish(self):
        """Let it go on to its end, in peace."""
        self._left, self._wanted = 0, None
        while (code := self._child.wait(120)) not in (0, 1):
            assert code == -signal.SIGKILL, f"exit {code} of the neighbour: {self._log_of_errors()}"
            self.deaths += 1
            self._start()

    def _log_of_errors(self):
        return read_or_nothing(self.folder / "said")[-2000:].decode(errors="replace")

    def close(self):
        """End it, if it has not ended."""
        self._child.kill()
        self._child.wait()


STORE_POINTS = ("store.begin", "store.commit", "store.head", "*")


def check_effects(folders, deaths, crashes):
    """Fail where a plain job was done more often, over all commands together, than the deaths of runs allow."""
    times, payloads = Counter(), {}
    for folder in folders:
        for payload in oracle.read_lines_whole(folder / LOG):
            if not isinstance(payload, dict) or payload.get("do") in PLAIN:
                times[oracle.canonical(payload)] += 1
                payloads[oracle.canonical(payload)] = payload
    too_often = {name: count for name, count in times.items() if count > 1 + deaths + crashes}
    assert not too_often, f"done more often than {deaths} deaths and {crashes} crashes allow: {too_often}"
    return sum(count - 1 for count in times.values())
