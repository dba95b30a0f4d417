"""Disks that are full or broken, files that change under the run: it stops with 74, says which file, and goes on."""

from __future__ import annotations

import os
import resource
import signal
import subprocess

import pytest

from tests import oracle
from tests.command import wait_for
from tests.faults.tracing import why_not_strace

pytestmark = pytest.mark.walk

FAST = ("--backoff-base", "1ms")


def large_jobs(count):
    """Lines whose records and letters take some kilobytes each."""
    return [{"do": "return_large" if n % 2 else "say_badly", "n": n, "message": "m" * 3000} for n in range(count)]


def stopped_at(ran, path, cause):
    """Look that a run said which file it could not write, and why."""
    assert ran.code == 74, f"exit {ran.code}: {ran.err}"
    assert any(str(path) in line and cause in line for line in ran.err.splitlines()), ran.err


@pytest.mark.parametrize("full", ["results", "letters", "both"])
def test_a_full_disk_stops_the_run_and_with_more_room_the_same_command_goes_on(folder, small_disk, full):
    """Fault 24: a small tmpfs under the results, under the DLQ, under both."""
    folder.write("jobs.jsonl", large_jobs(200))
    (small_disk / "ballast").write_bytes(b"x" * 100_000)
    results = (small_disk if full != "letters" else folder.path) / "results.jsonl"
    letters = (small_disk if full != "results" else folder.path) / "jobs.dlq.jsonl"
    words = ("jobs.jsonl", "-o", results, "-d", letters, "-r", "1", *FAST)
    ran = folder.run(*words)
    stopped_at(ran, small_disk, "No space left on device")
    count = oracle.read_outputs(results, letters)
    assert len(count.results) + len(count.dead) < 200
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    folder.run(*words, code=1)
    oracle.check(oracle.expected_ids(folder / "jobs.jsonl"), results, letters, folder / "log.jsonl", deaths=1)


@pytest.mark.parametrize("words", [("-o", "/dev/full"), ("-d", "/dev/full"), ()], ids=["results", "letters", "stdout"])
def test_a_device_that_is_always_full_stops_the_run_and_is_named(folder, words):
    """Fault 24: /dev/full."""
    folder.write("jobs.jsonl", large_jobs(4))
    line = " ".join(["$JQ jobs.jsonl -r 1", *words, *([] if words else ["> /dev/full"])])
    ran = folder.shell(line)
    assert ran.code == 74, ran.err
    assert ("/dev/full" if words else "stdout") in ran.err


@pytest.mark.parametrize("redirect", [">", ">>"])
def test_results_for_a_redirected_stdout_end_in_whole_lines_on_a_full_disk(folder, small_disk, redirect):
    """Fault 24: nobody reads such a file back, but a torn line would spoil it for whoever does."""
    folder.write("jobs.jsonl", [{"do": "return_large", "n": n} for n in range(100)])
    ran = folder.shell(f"$JQ jobs.jsonl {redirect} disk/out.jsonl")
    assert ran.code == 74, ran.err
    assert "stdout: No space left on device" in ran.err
    assert 10 < len(oracle.read_lines(small_disk / "out.jsonl")) < 100


def limit_growth(child, path, more):
    """Let no file of a run that is alive become larger than `path` is now by `more` bytes."""
    resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (path.stat().st_size + more, resource.RLIM_INFINITY))


@pytest.mark.parametrize("name", ["results.jsonl", "jobs.dlq.jsonl"])
def test_a_file_that_may_grow_no_further_ends_in_whole_lines(folder, name):
    """Fault 24: RLIMIT_FSIZE, set on the parent when it has begun to write the file."""
    deed = "return_large" if name == "results.jsonl" else "say_badly"
    lines = [{"do": deed, "n": n, "message": "m" * 3000} for n in range(100)]
    folder.write("jobs.jsonl", [*lines, {"do": "wait", "file": "go"}, *({"more": line} | line for line in lines)])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-j", "1", "-b", "1", "-r", "1", *FAST)
    wait_for(lambda: (folder / name).exists() and (folder / name).read_bytes().count(b"\n") == 100)
    limit_growth(child, folder / name, 20_000)
    folder.write("go", "")
    err = child.communicate(timeout=20)[1].decode()
    assert child.returncode == 74, err
    assert f"{name}: File too large" in err
    oracle.read_outputs(folder / "results.jsonl", folder / "jobs.dlq.jsonl")
    folder.run("jobs.jsonl", "-o", "results.jsonl", "-r", "1", *FAST)
    folder.check(deaths=1)


def test_a_read_only_place_is_named_before_anything_runs(folder, small_disk):
    """Fault 24: a file system that was mounted read-only, with and without earlier results."""
    folder.write("jobs.jsonl", [1, {"do": "reject"}])
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    stopped_at(folder.run("jobs.jsonl", "-o", "disk/results.jsonl"), "disk/results.jsonl", "Read-only file system")
    stopped_at(folder.run("jobs.jsonl", "-o", "results.jsonl", "-d", "disk/dlq.jsonl"), "disk/dlq.jsonl", "Read-only")
    assert not (folder / "log.jsonl").exists()
    assert not (folder / "results.jsonl").exists()
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    folder.run("jobs.jsonl", "-o", "disk/results.jsonl", code=1)
    folder.check("disk/results.jsonl", "disk/jobs.dlq.jsonl")


@pytest.mark.parametrize("name", ["results.jsonl", "jobs.dlq.jsonl"])
@pytest.mark.parametrize("words", [(), ("--durability", "full"), ("-k",)], ids=["batch", "full", "order"])
def test_a_sync_that_fails_stops_the_run_and_the_same_command_goes_on(folder, name, words):
    """Fault 25: by a failpoint."""
    folder.write("jobs.jsonl", [1, 2, {"do": "reject"}, 3])
    point = {"results.jsonl": "results.sync", "jobs.dlq.jsonl": "letters.sync"}[name]
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", *words, JQ_RUN_FAILPOINT=f"{point}:1:EIO")
    stopped_at(ran, name, "Input/output error while syncing")
    oracle.read_outputs(folder / "results.jsonl", folder / "jobs.dlq.jsonl")
    folder.run("jobs.jsonl", "-o", "results.jsonl", *words, code=1)
    folder.check(deaths=1)


def test_a_sync_that_failed_is_not_tried_again(folder):
    """Fault 25: by strace, which also sees that no second sync of that file comes."""
    if why := why_not_strace():
        pytest.skip(why)
    folder.write("jobs.jsonl", [1, 2, {"do": "reject"}, 3])
    words = folder.argv("jobs.jsonl", "-o", "results.jsonl", "--durability", "full", "-b", "1")
    done = subprocess.run(
        ["strace", "-y", "-o", "trace", "-e", "trace=fdatasync,fsync", "-P", str(folder / "results.jsonl"),
         "-e", "inject=fdatasync,fsync:error=EIO:when=1", *words],
        cwd=folder.path, env=folder.env(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 74, done.stderr
    assert "results.jsonl: Input/output error while syncing" in done.stderr
    trace = (folder / "trace").read_text()
    assert trace.count("results.jsonl") == 1, trace
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    folder.check(deaths=1)


@pytest.mark.parametrize("point", ["results.append", "letters.append"])
def test_a_write_that_fails_is_cut_back_and_if_even_that_fails_the_next_run_cuts_it(folder, point):
    """Fault 24: the disk gives an error in the middle of a line, and then takes no truncation either."""
    if why := why_not_strace():
        pytest.skip(why)
    folder.write("jobs.jsonl", [{"n": 1}, {"do": "reject"}])
    name = {"results.append": "results.jsonl", "letters.append": "jobs.dlq.jsonl"}[point]
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    folder.write(
        "jobs.jsonl",
        [{"n": n, "do": "say_badly" if n % 2 else "pause", "seconds": 0, "message": n * "m"} for n in range(6)],
    )  # no two letters are of one length, so that half of them is no whole line
    words = folder.argv("jobs.jsonl", "-o", "results.jsonl", "-r", "1", "-b", "1")
    done = subprocess.run(
        ["strace", "-o", "/dev/null", "-P", str(folder / name), "-e", "trace=write,ftruncate",
         "-e", "inject=write:error=EIO:when=2", "-e", "inject=ftruncate:error=EIO", *words],
        cwd=folder.path, env=folder.env(JQ_RUN_FAILPOINT=f"{point}:1:short"), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 74, done.stderr
    assert f"{name}: Input/output error" in done.stderr
    assert not (folder / name).read_bytes().endswith(b"\n"), "nothing was torn, so nothing was tried"
    folder.run("jobs.jsonl", "-o", "results.jsonl", "-r", "1", code=1)
    ids = oracle.expected_ids(folder / "jobs.jsonl")
    count = oracle.read_outputs(folder / "results.jsonl", folder / "jobs.dlq.jsonl")
    assert set(ids) <= count.records.keys() | count.letters.keys()


def interrupted(folder, change, *words):
    """Start a run, change its files in the middle of it, and return how it ended."""
    jobs = [{"n": n} for n in range(40)] + [{"do": "reject", "n": n} for n in range(3)]
    folder.write("jobs.jsonl", [*jobs, {"do": "wait", "file": "go"}, *({"late": n} for n in range(20))])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-j", "1", "-b", "1", *words)
    wait_for(lambda: all((folder / name).exists() for name in ("results.jsonl", "jobs.dlq.jsonl", "pids")))
    wait_for(lambda: (folder / "results.jsonl").read_bytes().count(b"\n") == 40)
    wait_for(lambda: (folder / "jobs.dlq.jsonl").read_bytes().count(b"\n") == 3)
    change()
    folder.write("go", "")
    err = child.communicate(timeout=20)[1].decode()
    return child.returncode, err


def go_on_after(folder, code, err, name):
    assert code == 74, f"exit {code}: {err}"
    assert name in err
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    ids = oracle.expected_ids(folder / "jobs.jsonl")
    oracle.check(ids, folder / "results.jsonl", folder / "jobs.dlq.jsonl")


@pytest.mark.parametrize("words", [("--durability", "none"), ("-k",)], ids=" ".join)
@pytest.mark.parametrize("how", ["deleted", "replaced", "emptied", "shortened", "appended"])
def test_results_that_another_program_changes_stop_the_run(folder, how, words):
    """Fault 24: what was written there is gone; to go on as if it were there would lose it without a word."""
    path = folder / "results.jsonl"

    def change():
        if how == "replaced":
            folder.write("other", b"")
            os.rename(folder / "other", path)
        elif how == "deleted":
            path.unlink()
        elif how == "appended":
            line = path.read_bytes().splitlines(keepends=True)[-1]
            with path.open("ab") as file:
                file.write(line.replace(b'"n":', b'"m":')[: len(line) // 2])
        else:
            os.truncate(path, 0 if how == "emptied" else path.stat().st_size - 10)

    code, err = interrupted(folder, change, *words)
    go_on_after(folder, code, err, "results.jsonl")


@pytest.mark.parametrize("how", ["emptied", "shortened"])
def test_letters_that_another_program_cuts_stop_the_run(folder, how):
    """Fault 24: they may be appended to and replaced as a whole by others, but never become shorter."""
    path = folder / "jobs.dlq.jsonl"
    folder.write("jobs.jsonl", [])

    def change():
        os.truncate(path, 0 if how == "emptied" else path.stat().st_size - 10)

    code, err = interrupted(folder, change)
    go_on_after(folder, code, err, "jobs.dlq.jsonl")


def test_an_empty_dead_letter_file_that_cannot_be_removed_is_named(folder):
    """Fault 24: at the very end of a run in which nothing died."""
    folder.write("jobs.jsonl", [1])
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", JQ_RUN_FAILPOINT="letters.unlink:1:EACCES")
    stopped_at(ran, "jobs.dlq.jsonl", "Permission denied")
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    folder.check(deaths=1)


@pytest.mark.parametrize("number", range(1, 5))
def test_fresh_killed_while_it_sets_old_files_aside_leaves_each_of_them_once(folder, number):
    """Fault 16: a file under two names would be written to under both."""
    folder.write("jobs.jsonl", [1, {"do": "reject"}])
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    before = sorted((folder / name).read_bytes() for name in ("results.jsonl", "jobs.dlq.jsonl"))
    words = ("jobs.jsonl", "-o", "results.jsonl", "--fresh")
    point = ("aside.rename:1", "aside.rename:2", "aside.name:1", "aside.name:2")[number - 1]
    assert folder.run(*words, JQ_RUN_FAILPOINT=f"{point}:kill").code == -signal.SIGKILL
    folder.run(*words, code=1)
    folder.check(deaths=5)
    kept = [path for path in folder.path.iterdir() if ".jsonl." in path.name]
    assert all(path.stat().st_nlink == 1 for path in kept)
    assert sorted(data for path in kept if (data := path.read_bytes())) == before


@pytest.mark.parametrize("workers", ["0", "1"])
def test_an_engine_that_gets_no_memory_is_74(folder, workers):
    """Fault 24: files may not become as large as the memory that a worker shares, which is a file of a kind."""
    folder.write("jobs.jsonl", [1])
    ran = folder.shell(f"ulimit -f 500; $JQ jobs.jsonl -o results.jsonl -j {workers}")
    assert ran.code == 74, ran.err
    assert "cannot start" in ran.err
    assert "File too large" in ran.err
