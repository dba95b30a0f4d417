"""Hurts runs at random, one after another, and lets the oracle count after each of their lives.

    python -m tests.faults.soak [--minutes M] [--seed N] [--folder F]

A round is an input, a command, and its lives until one of them ends by itself: parents are killed, also in the middle
of a write; workers are killed; disks are full, short or broken; files may grow no further; signals come; the input is
edited between two lives. In every other round the command has a store, which it shares with another one that lives, and
is killed, at the same time. The seed gives the rounds; what the machine's clock decides is not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.faults.shared import STORE_POINTS, Neighbour, StoreWalk, check_effects
from tests.faults.walk import FAST, LETTERS, LOG, RESULTS, Walk, WorkerKiller, read_or_nothing

LIVES = 6  # that are hurt, of one round; then it is left in peace
POINTS = (
    "*", "results.append", "letters.append", "results.sync", "letters.sync", "letters.lock", "results.lock", "tail.cut",
)  # fmt: skip
ACTIONS = ("kill", "kill", "tear", "tear", "short", "ENOSPC", "EIO", "EDQUOT")
OPTIONS = (
    ("-j", ("1", "2", "3", "0")),
    ("-b", ("auto", "1", "3", "20")),
    ("--durability", ("batch", "full", "none")),
    ("--max-crashes", ("9",)),
)


def make_line(chance, number):
    """Return a line of any kind; the same payload may come again."""
    n = chance.randrange(number + 2)
    payload = chance.choice(
        [
            {"n": n},
            {"n": n, "text": '\u00e9\\"\n' * chance.randrange(30)},
            {"do": "pause", "seconds": 0.003, "n": n},
            {"do": "flaky", "times": 1, "n": n},
            {"do": "reject", "n": n},
            {"do": "skip", "n": n},
            {"do": "fail", "n": n},
            {"do": "return_large", "size": chance.choice((10, 5000, 60_000)), "n": n},
        ]
    )
    kind = chance.randrange(10)
    if kind == 0:
        return b"broken %d {" % number
    if kind == 1:
        return b""
    line = payload
    if kind in (2, 3):
        line = {"id": f"own-{number}", "payload": payload}
    elif kind == 4:
        line = {"id": f"own-{number}", "key": f"key-{n}-{payload.get('do')}", "payload": payload | {"keyed": True}}
    return json.dumps(line).encode()


def edit(chance, data):
    """Return the bytes of an input with lines deleted, inserted, moved and appended."""
    lines = data.split(b"\n")[:-1]
    for _ in range(chance.randrange(4)):
        if len(lines) > 5:
            del lines[chance.randrange(len(lines))]
        lines.insert(chance.randrange(len(lines) + 1), make_line(chance, 5000 + chance.randrange(1000)))
    if chance.random() < 0.3:
        chance.shuffle(lines)
    lines += [make_line(chance, 9000 + chance.randrange(1000)) for _ in range(chance.randrange(5))]
    return b"".join(line + b"\n" for line in lines)


class Trouble:
    """What is done to one life from outside, at a moment that is counted in executed jobs."""

    def __init__(self, walk, chance, kind):
        self._walk = walk
        self._chance = chance
        self._kind = kind
        lines = read_or_nothing(walk.folder / "jobs.jsonl").count(b"\n")
        self._wanted = walk.times_run().total() + chance.randrange(1 + lines // 2)
        self.is_done = False

    def __call__(self, pid):
        if self.is_done or read_or_nothing(self._walk.folder / LOG).count(b"\n") < self._wanted:
            return
        self.is_done = True
        with suppress(ProcessLookupError):
            if self._kind == "limit":
                path = self._walk.folder / self._chance.choice((RESULTS, LETTERS))
                size = path.stat().st_size if path.exists() else 0
                most = size + self._chance.randrange(0, 3000)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
            elif self._kind == "pause":
                os.kill(pid, signal.SIGSTOP)
                os.kill(pid, signal.SIGCONT)
            else:
                os.kill(pid, self._kind)


class Soak:
    """The rounds, and what happened in them."""

    def __init__(self, folder, seed):
        self.folder = folder / "one"
        self.seed = seed
        self.counts = Counter()

    def round(self, number):
        """Run one input to its end, hurting it; with a store, beside another command that wants some of the same."""
        chance = random.Random(f"{self.seed}-{number}")
        is_shared = chance.random() < 0.5
        kind = partial(StoreWalk, store="../memory.db") if is_shared else Walk
        walk = kind(self.folder, tuple(self._words(chance)))
        first = b"".join(make_line(chance, n) + b"\n" for n in range(chance.choice((5, 40, 150))))
        walk.start_over(first)
        if not is_shared:
            self._hurt(walk, chance, first)
            return
        neighbour = Neighbour(self.folder.parent / "two", walk.store, edit(chance, first), chance)
        try:
            self._hurt(walk, chance, first, neighbour)
            neighbour.finish()
            walk.check_neighbour(neighbour)
        finally:
            neighbour.close()
        self.counts["shared"] += 1
        self.counts["killed_neighbours"] += neighbour.deaths
        self.counts["done_again"] += check_effects(
            (walk.folder, neighbour.folder), walk.deaths + neighbour.deaths, walk.crashes
        )

    def _hurt(self, walk, chance, first, neighbour=None):
        versions, code = [first], None
        for life in range(LIVES + 1):
            was_whole = is_whole(walk)
            code = self._live(walk, chance, neighbour, is_last=life == LIVES)
            if code in (0, 1):
                break
            if code != -signal.SIGKILL:
                assert is_whole(walk) or not was_whole, f"exit {code}, and a torn line: {said(walk)}"
            if chance.random() < 0.3 and life < LIVES:
                self.counts["edits"] += 1
                walk.is_moved = True
                versions.append(edit(chance, versions[-1]))
                (walk.folder / "jobs.jsonl").write_bytes(versions[-1])
        assert code in (0, 1), f"exit {code} of the last life, in peace: {said(walk)}"
        count = walk.check(versions[-1], tuple(versions[:-1]))
        assert code == bool(count.dead), f"exit {code}, {len(count.dead)} dead"
        self.counts["rounds"] += 1
        self.counts["records"] += len(count.results) + len(count.dead)
        self.counts["killed_workers"] += walk.killed_workers

    def _words(self, chance):
        for option, values in OPTIONS:
            yield from (option, chance.choice(values))
        if chance.random() < 0.3:
            yield "-k"

    def _live(self, walk, chance, neighbour, *, is_last):
        trouble, failpoint = None, ""
        kind = "peace" if is_last else chance.choice(("failpoint",) * 4 + ("kill", "kill", "limit", "signal", "pause"))
        if kind == "failpoint":
            points = POINTS if neighbour is None else POINTS + STORE_POINTS
            number = chance.choice((1, 2, 2, 3, 3, 4, 5, 8, 13, 21))
            failpoint = f"{chance.choice(points)}:{number}:{chance.choice(ACTIONS)}"
        elif kind != "peace":
            signals = {"kill": signal.SIGKILL, "signal": chance.choice((signal.SIGTERM, signal.SIGHUP))}
            trouble = Trouble(walk, chance, signals.get(kind, kind))
        killer = WorkerKiller(walk, chance, 60) if not is_last and chance.random() < 0.5 else None
        code = walk.live(failpoint, lambda pid: [each(pid) for each in (trouble, killer, neighbour) if each])
        self.counts["runs"] += 1
        self.counts["killed_parents"] += code == -signal.SIGKILL
        self.counts["disk_faults"] += code == 74
        self.counts["signals"] += code in (129, 143, -signal.SIGHUP, -signal.SIGTERM)
        # Before a run takes its signals over, which it does while its workers start, they end it as they end anybody.
        allowed = {0, 1, -signal.SIGKILL, 74, 129, 143, -signal.SIGHUP, -signal.SIGTERM}
        assert code in allowed, f"exit {code} with {failpoint or kind}: {said(walk)}"
        if code == 74 and kind != "limit":  # which what is said may be longer than
            names = (RESULTS, LETTERS, "memory.db", "cannot start")
            assert any(name in said(walk).splitlines()[-1] for name in names), said(walk)
        return code


def is_whole(walk):
    """Tell whether both outputs end in whole lines, each of which parses."""
    texts = [read_or_nothing(walk.folder / name) for name in (RESULTS, LETTERS)]
    for text in texts:
        for line in text.split(b"\n")[:-1]:
            json.loads(line)
    return all(text.endswith(b"\n") or not text for text in texts)


def said(walk):
    """Return the end of what the lives of a round said."""
    return read_or_nothing(walk.folder / "said")[-2000:].decode(errors="replace")


def main():
    """Soak until the time is over; return 0 where the oracle never failed."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument("--first", type=int, default=0, help="the round to begin with, to see one again")
    parser.add_argument("--folder", type=Path, default=None, help="where to run; it is kept when the oracle fails")
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="jqcli-soak-"))
    soak = Soak(folder, asked.seed)
    print(f"seed {asked.seed}, {asked.minutes:g} minutes, in {folder}; {' '.join(FAST)}", flush=True)
    began = shown = time.monotonic()
    number = asked.first
    while time.monotonic() - began < asked.minutes * 60:
        try:
            soak.round(number)
        except Exception:  # noqa: BLE001 - whatever it is, the round is named and its files are kept
            traceback.print_exc()
            print(f"FAILED in round {number}: --seed {asked.seed} --first {number}; its files are in {folder}")
            return 1
        number += 1
        if time.monotonic() - shown > 30:
            shown = time.monotonic()
            print(f"{shown - began:5.0f} s  {dict(soak.counts)}", flush=True)
    print(f"passed with seed {asked.seed} after {time.monotonic() - began:.0f} s: {dict(soak.counts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
