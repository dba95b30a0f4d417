"""Measure jq-run against what it would be compared with, on this machine, interleaved.

Prints a Markdown table. It never fails for being slow; it does fail where a program did not do its work.
"""

import argparse
import datetime as dt
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import handlers
import process

from jqcli.core.recall import New
from jqcli.edge.store import Store

HERE = Path(__file__).parent
JQ_RUN = [sys.executable, "-m", "jqcli"]
BUSY_SECONDS = 100e-6
LINE_BYTES = 115
RECORD = b'{"id":"a","key":"5f01ab:9f0c","status":"completed","result":null,"attempts":1,"duration":0.000001}\n'


def clean_environment():
    """Return this environment without options, and with the bytecode that every installed program has."""
    left_out = "PYTHONDONTWRITEBYTECODE"
    return {name: value for name, value in os.environ.items() if not name.startswith("JQ_RUN_") and name != left_out}


class Bench:
    """A folder with inputs and handlers, and the ways to run a program in it."""

    def __init__(self, folder, options):
        self.folder = folder
        self.jobs = options.jobs
        self.runs = options.runs
        self.workers = options.workers
        self.env = clean_environment()
        for name in ("handlers.py", "pool_script.py", "serial_script.py", "floor_script.py"):
            shutil.copy(HERE / name, folder)

    def input(self, jobs):
        """Return the name of an input of that many jobs, 115 bytes a line, all distinct, always the same."""
        path = self.folder / ("one.jsonl" if jobs == 1 else f"jobs-{jobs}.jsonl")
        if not path.exists() or path.stat().st_size != jobs * LINE_BYTES:
            with path.open("wb") as lines:
                lines.writelines(job_line(number) for number in range(jobs))
        return path.name

    def clean(self):
        """Take away what an earlier run left, so that nothing is gone on with."""
        for path in self.folder.glob("results*"):
            path.unlink()
        for path in (*self.folder.glob("*.dlq.jsonl"), *self.folder.glob("memory.db*")):
            path.unlink()

    def jq_run(self, source, *options, handler="noop"):
        count = str(self.workers)
        return [*JQ_RUN, source, "-H", f"handlers.py:{handler}", "-o", "results.jsonl", "-j", count, *options]

    def pool(self, source, chunksize, handler="noop"):
        return [
            sys.executable,
            "pool_script.py",
            source,
            "results.jsonl",
            str(self.workers),
            str(chunksize),
            handler,
        ]

    def serial(self, source, handler, part=0, parts=1):
        output = f"results-{part}.jsonl"
        return [sys.executable, "serial_script.py", source, output, handler, str(part), str(parts)]

    def floor(self, source, handler):
        """Return the commands of all workers' own work, side by side."""
        script = [sys.executable, "floor_script.py", source]
        return [
            [*script, f"results-{part}.jsonl", handler, str(part), str(self.workers)] for part in range(self.workers)
        ]

    def records(self):
        """Count the records of the run that just ended."""
        total = 0
        for path in self.folder.glob("results*.jsonl"):
            with path.open("rb") as lines:
                total += sum(block.count(b"\n") for block in iter(lambda: lines.read(1 << 20), b""))
        return total

    def once(self, commands, records):
        """Return the seconds of one clean run that left so many records."""
        self.clean()
        seconds = process.time_all(commands, self.folder, self.env)
        if self.records() != records:
            raise process.FailedError(f"{' '.join(commands[0])}: {self.records()} records of {records}")
        return seconds

    def once_more(self, commands):
        """Return the seconds of one run that goes on from what is there."""
        return process.time_all(commands, self.folder, self.env)

    def interleave(self, contestants, records):
        """Return {name: seconds of each run}; a round runs every contestant once, so noise meets all."""
        times = {name: [] for name in contestants}
        for number in range(self.runs):
            for name, commands in contestants.items():
                times[name].append(self.once(commands, records))
            last = "  ".join(f"{name} {seconds[-1]:.3f} s" for name, seconds in times.items())
            print(f"  round {number + 1}: {last}", file=sys.stderr)
        return times


def job_line(number):
    """Return one job, 115 bytes with its newline: an envelope whose payload has six members."""
    return b'{"id":"job-%07d","payload":{"user":%d,"kind":"scale","width":640,"height":480,"to":"jpg","at":%d}}\n' % (
        number,
        1_000_000 + number,
        1_700_000_000 + number,
    )


def ratio(slow, fast):
    """Return (of the best, of the medians): how many times as fast the second is."""
    return min(slow) / min(fast), median(slow) / median(fast)


def rates(jobs, seconds):
    return f"best {jobs / min(seconds):,.0f}/s, median {jobs / median(seconds):,.0f}/s"


def rows_noop(bench):
    """No-op jobs, everything on, against a Pool with chunks of 256 and of 4,096."""
    source = bench.input(bench.jobs)
    times = bench.interleave(
        {
            "jq-run": [bench.jq_run(source)],
            "pool 256": [bench.pool(source, 256)],
            "pool 4096": [bench.pool(source, 4096)],
            "workers alone": bench.floor(source, "noop"),
        },
        bench.jobs,
    )
    ours = rates(bench.jobs, times["jq-run"])
    for chunk, goal in ((256, "at least 1.8 x (1.5 required)"), (4096, "at least 1.0 x (0.85 required)")):
        theirs = times[f"pool {chunk}"]
        best, middle = ratio(theirs, times["jq-run"])
        detail = f"jq-run {ours}; Pool {rates(bench.jobs, theirs)}"
        yield (
            f"no-op jobs against Pool, chunks of {chunk:,}",
            goal,
            f"{best:.2f} x",
            f"{middle:.2f} x",
            detail,
        )
        best, middle = ratio(theirs, times["workers alone"])
        detail = f"prepare and run in {bench.workers} processes, no parent: {rates(bench.jobs, times['workers alone'])}"
        yield (
            f"the workers' part alone against Pool, chunks of {chunk:,}",
            "",
            f"{best:.2f} x",
            f"{middle:.2f} x",
            detail,
        )


def calibrate():
    """Return how far the busy handler has to count for 100 microseconds here: the best of many trials."""
    handlers.LOOPS = probe = 3000

    def trial():
        start = time.perf_counter()
        handlers.busy(None)
        return time.perf_counter() - start

    return round(probe * BUSY_SECONDS / min(trial() for _ in range(5000)))


def rows_busy(bench):
    """100 µs of work a job: the share of what the workers could do at best."""
    jobs = max(bench.jobs // 4, 1000)
    source = bench.input(jobs)
    bench.env["BENCH_LOOPS"] = str(calibrate())
    workers = bench.workers
    times = bench.interleave(
        {
            "jq-run": [bench.jq_run(source, handler="busy")],
            "serial": [bench.serial(source, "busy")],
            "side by side": [bench.serial(source, "busy", part, workers) for part in range(workers)],
            "pool 256": [bench.pool(source, 256, "busy")],
        },
        jobs,
    )
    each = min(times["serial"]) / jobs * 1e6
    for name, label in (("jq-run", "jq-run"), ("pool 256", "Pool, for comparison")):
        best, middle = (share / workers for share in ratio(times["serial"], times[name]))
        beside, _ = ratio(times["side by side"], times[name])
        detail = f"{jobs:,} jobs of {each:.0f} µs; {beside:.3f} of {workers} plain loops side by side"
        goal = "0.97" if name == "jq-run" else ""
        yield f"handler of 100 µs, share of ideal, {label}", goal, f"{best:.3f}", f"{middle:.3f}", detail


def rows_live(bench):
    """The live table on a terminal of 80 x 24 against none on the same terminal."""
    source = bench.input(bench.jobs)
    times = {"live": [], "none": []}
    shown = 0
    for _ in range(bench.runs):
        for mode, seconds in times.items():
            bench.clean()
            command = bench.jq_run(source, "--progress", mode)
            took, bytes_shown = process.time_on_terminal(command, bench.folder, bench.env)
            seconds.append(took)
            shown = bytes_shown if mode == "live" else shown
    best, middle = ratio(times["live"], times["none"])
    detail = f"live {rates(bench.jobs, times['live'])}; the table wrote {shown:,} bytes"
    yield "live table on", "costs under 2 %", f"{best - 1:+.1%}", f"{middle - 1:+.1%}", detail


def rows_top(bench):
    """A run that `top` is attached to against one that nobody looks at."""
    source, status = bench.input(bench.jobs), bench.folder / "status.json"
    command = bench.jq_run(source, "--status-file", status.name)
    watchers = {"watched": [*JQ_RUN, "top", str(status)], "alone": None}
    found = {name: [] for name in watchers}
    for _ in range(bench.runs):
        for name, watcher in watchers.items():
            bench.clean()
            found[name].append(process.time_watched(command, watcher, status, bench.folder, bench.env))
    walls, runs, tops = ({name: [each[at] for each in took] for name, took in found.items()} for at in range(3))
    goal = "costs under 2 %"
    for what, times in (("wall clock", walls), ("CPU of the run", runs)):
        best, middle = ratio(times["watched"], times["alone"])
        detail = f"{min(times['alone']):.2f} s alone"
        yield f"top attached, {what}", goal, f"{best - 1:+.1%}", f"{middle - 1:+.1%}", detail
    own = tops["watched"]
    yield (
        "top's own CPU, start included",
        "",
        f"{min(own):.2f} s",
        f"{median(own):.2f} s",
        f"{median(walls['watched']):.1f} s",
    )


def rows_resume(bench):
    """A finished run gone on with: reading back alone, and the whole command again."""
    source, one = bench.input(bench.jobs), bench.input(1)
    bench.once([bench.jq_run(source)], bench.jobs)
    fresh, read_back, again = [], [], []
    kept = bench.folder / "kept"
    results = bench.folder / "results.jsonl"
    shutil.copy(results, kept)
    for _ in range(bench.runs):
        # job 0 of `one` is settled by the file, so all the work is in reading back
        read_back.append(process.time_all([bench.jq_run(one)], bench.folder, bench.env))
        again.append(process.time_all([bench.jq_run(source)], bench.folder, bench.env))
        bench.clean()
        fresh.append(process.time_all([bench.jq_run(one)], bench.folder, bench.env))
        shutil.copy(kept, results)
    if bench.records() != bench.jobs:
        raise process.FailedError("going on with a finished run added records")
    kept.unlink()
    start = median(fresh)
    best = bench.jobs / max(min(read_back) - min(fresh), 1e-9)
    middle = bench.jobs / max(median(read_back) - start, 1e-9)
    detail = f"one input line; start of {start:.2f} s taken off"
    yield "reading back to go on", "500,000 records/s", f"{best:,.0f}/s", f"{middle:,.0f}/s", detail
    best, middle = bench.jobs / min(again), bench.jobs / median(again)
    yield "a finished run again, whole command", "", f"{best:,.0f}/s", f"{middle:,.0f}/s", "nothing taken off"


def rows_durability(bench):
    """What syncing costs: full and batch against none, on jobs of 2 ms and on no-op jobs."""
    for jobs, handler, what in (
        (min(bench.jobs, 10_000), "pause", "jobs of 2 ms"),
        (bench.jobs, "noop", "no-op jobs"),
    ):
        source = bench.input(jobs)
        modes = ("none", "batch", "full")
        commands = {mode: [bench.jq_run(source, "--durability", mode, handler=handler)] for mode in modes}
        times = bench.interleave(commands, jobs)
        for mode in modes[1:]:
            best, middle = ratio(times[mode], times["none"])
            detail = f"{jobs:,} jobs; {rates(jobs, times[mode])}; none {rates(jobs, times['none'])}"
            goal = "under 3 %" if (mode, handler) == ("batch", "noop") else ""
            yield f"--durability {mode} against none, {what}", goal, f"{best - 1:+.1%}", f"{middle - 1:+.1%}", detail


def rows_verify(bench):
    """Counting a finished run again: whole command, and without its start."""
    source, one = bench.input(bench.jobs), bench.input(1)
    bench.once([bench.jq_run(source)], bench.jobs)
    many = [*JQ_RUN, "verify", source, "-o", "results.jsonl"]
    whole = [process.time_all([many], bench.folder, bench.env) for _ in range(bench.runs)]
    bench.once([bench.jq_run(one)], 1)
    few = [*JQ_RUN, "verify", one, "-o", "results.jsonl"]
    start = [process.time_all([few], bench.folder, bench.env) for _ in range(bench.runs)]
    best = bench.jobs / max(min(whole) - min(start), 1e-9)
    middle = bench.jobs / max(median(whole) - median(start), 1e-9)
    detail = f"whole command {min(whole):.2f} s, its start {min(start):.2f} s"
    yield "counting again with verify", "300,000 records/s", f"{best:,.0f}/s", f"{middle:,.0f}/s", detail


def rows_store(bench):
    """No-op jobs with new keys, with a store and without; and all of them again as duplicates."""
    source = bench.input(bench.jobs)
    times = bench.interleave(
        {"with": [bench.jq_run(source, "--store", "memory.db")], "without": [bench.jq_run(source)]}, bench.jobs
    )
    best, middle = ratio(times["without"], times["with"])
    detail = "; ".join(f"{name} {rates(bench.jobs, seconds)}" for name, seconds in times.items())
    yield "new keys with a store, against without", "at least 0.75 x", f"{best:.2f} x", f"{middle:.2f} x", detail
    bench.once([bench.jq_run(source, "--store", "memory.db")], bench.jobs)
    size = (bench.folder / "memory.db").stat().st_size
    (bench.folder / "results.jsonl").unlink()
    seconds = process.time_all([bench.jq_run(source, "--store", "memory.db")], bench.folder, bench.env)
    detail = f"once; the store has {size / bench.jobs:.0f} bytes a key, results of `null` included"
    yield "the same keys again, all of them duplicates", "", f"{bench.jobs / seconds:,.0f}/s", "", detail


def rows_recall(bench):
    """New keys against a store that remembers ten times as many: time, and the parent's peak memory."""
    source, one, many = bench.input(bench.jobs), bench.input(1), 10 * bench.jobs
    store, kept = bench.folder / "memory.db", bench.folder / "kept"
    bench.once([bench.jq_run(one, "--store", store.name)], 1)
    fill_store(store, many)
    folding = bench.once_more([bench.jq_run(one, "--store", store.name)])
    shutil.move(store, kept)
    times = {"with": [], "without": []}
    for _ in range(bench.runs):
        for name, words in (("with", ("--store", store.name)), ("without", ())):
            bench.clean()
            shutil.copy(kept, store)
            times[name].append(bench.once_more([bench.jq_run(source, *words)]))
    bench.clean()
    shutil.move(kept, store)
    peak = process.peak_memory(bench.jq_run(source, "--store", store.name), bench.folder, bench.env)
    bench.clean()
    bare = process.peak_memory(bench.jq_run(source), bench.folder, bench.env)
    best, middle = ratio(times["without"], times["with"])
    detail = f"with {rates(bench.jobs, times['with'])}; folding them into the tree took {folding:.0f} s, once"
    yield f"new keys against {many:,} remembered ones, against no store", "", f"{best:.2f} x", f"{middle:.2f} x", detail
    detail = f"{in_mib(peak)}; without a store {in_mib(bare)}"
    yield "the parent's memory for that", "at most 400 MB", f"{peak[0] / 1e6:.0f} MB", "", detail


def fill_store(path, keys):
    """Let a store with one scope remember that many random keys more, in rows of 1,000."""
    store = Store(str(path))
    for _ in range(keys // 100_000):
        with store.transaction():
            for _ in range(100):
                store.append([New(1, 1, time.time(), None, os.urandom(16_000), RECORD * 1000)])
    store.close()


def in_mib(peak):
    return f"parent {peak[0] / 2**20:.0f} MiB, all {peak[1] / 2**20:.0f} MiB"


def rows_memory(bench):
    """Peak memory with dedupe on and off, at a quarter and at all of the jobs; and the Pool's."""
    few, many = max(bench.jobs // 4, 1), bench.jobs
    peaks = {}
    for dedupe in ("run", "off"):
        for jobs in (few, many):
            bench.clean()
            command = bench.jq_run(bench.input(jobs), "--dedupe", dedupe)
            peaks[dedupe, jobs] = process.peak_memory(command, bench.folder, bench.env)
    bench.clean()
    pool = process.peak_memory(bench.pool(bench.input(many), 256), bench.folder, bench.env)
    key = (peaks["run", many][0] - peaks["off", many][0]) / many
    slope = (peaks["run", many][0] - peaks["run", few][0]) / (many - few)
    flat = (peaks["off", many][0] - peaks["off", few][0]) / (many - few)
    said = {
        dedupe: "; ".join(f"{jobs:,} jobs: {in_mib(peaks[dedupe, jobs])}" for jobs in (few, many))
        for dedupe in ("run", "off")
    }
    what = "memory a distinct key (on less off, and growth from a quarter)"
    yield what, "at most 200 B", f"{key:.0f} B", f"{slope:.0f} B", said["run"]
    yield "memory growth a job, dedupe off", "flat", f"{flat:.1f} B", "", said["off"]
    yield "memory of Pool, chunks of 256", "", "", "", in_mib(pool)


def rows_start(bench):
    """One job, the whole process, against importing typer and rich.live alone."""
    one = bench.input(1)
    bare = [sys.executable, "-c", "import typer, rich.live"]
    runs = bench.runs * 4
    ours, theirs = [], []
    for _ in range(runs):
        ours.append(bench.once([bench.jq_run(one)], 1))
        theirs.append(process.time_all([bare], bench.folder, bench.env))
    best, middle = ratio(ours, theirs)
    detail = f"jq-run {min(ours) * 1e3:.0f} ms, imports alone {min(theirs) * 1e3:.0f} ms, {runs} runs"
    yield "one job, whole process", "at most 2.5 x", f"{best:.2f} x", f"{middle:.2f} x", detail


ROWS = {
    "noop": rows_noop,
    "busy": rows_busy,
    "live": rows_live,
    "top": rows_top,
    "resume": rows_resume,
    "verify": rows_verify,
    "durability": rows_durability,
    "memory": rows_memory,
    "start": rows_start,
    "store": rows_store,
    "recall": rows_recall,
}


def describe_machine():
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2] for line in cpuinfo if line.startswith("model name")]
    cpus = len(os.sched_getaffinity(0))
    model = models[0].strip() if models else platform.machine()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{cpus} x {model}, Linux {platform.release()}, {python}, {dt.datetime.now(dt.UTC):%d %B %Y}"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000, help="no-op jobs (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="rounds of each row (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default: %(default)s)")
    parser.add_argument("--rows", default=",".join(ROWS), help="some of: %(default)s")
    parser.add_argument("--dir", type=Path, help="where to work (default: a temporary folder)")
    options = parser.parse_args()
    options.rows = options.rows.split(",")
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    return options


def main():
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="jqcli-bench-") as temporary:
        folder = options.dir or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(folder, options)
        print(f"{describe_machine()}; {options.jobs:,} jobs, {options.workers} workers, {options.runs} rounds\n")
        print("| what | goal | best | median | |\n|---|---|---:|---:|---|", flush=True)
        for name in options.rows:
            print(f"{name}: {ROWS[name].__doc__}", file=sys.stderr)
            for row in ROWS[name](bench):
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
