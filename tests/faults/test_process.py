"""Processes: nobody and nothing is left by any end of the parent, and it makes do with what it gets."""

from __future__ import annotations

import fcntl
import itertools
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import oracle
from tests.command import is_alive, wait_for

pytestmark = pytest.mark.walk

FAST = ("--backoff-base", "1ms")


def family_of(pid):
    """Return a process's descendants by now."""
    try:
        children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [each for child in children for each in (child, *family_of(child))]


def is_lock_free(path):
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def end_by_kill(child):
    child.kill()
    return -signal.SIGKILL


def end_by_group_kill(child):
    os.killpg(child.pid, signal.SIGKILL)
    return -signal.SIGKILL


def end_by_term(child):
    child.send_signal(signal.SIGTERM)
    return 143


def end_by_two_signals(child):
    child.send_signal(signal.SIGTERM)
    child.send_signal(signal.SIGINT)
    return (130, 143)  # that of the signal which Python looks at first


def end_by_quit(child):
    child.send_signal(signal.SIGQUIT)
    return -signal.SIGQUIT


def end_by_full_disk(child):
    resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    return 74


ENDS = {
    name.removeprefix("end_by_"): end for name, end in list(globals().items()) if name.startswith("end_by_")
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_after_any_end_of_the_parent_nobody_no_lock_and_no_file_is_left(folder, tmp_path_factory, end):
    """Fault 17: busy workers, one of them deaf in C, one stopped, and a grandchild; the limit is 5 seconds."""
    lines = [{"do": "hang_in_c"}, {"do": "stop_self"}, {"do": "fork_background", "file": "never"}]
    trickle = [{"do": "pause", "seconds": 0.05, "n": n} for n in range(2000)]
    folder.write("jobs.jsonl", [*lines, *trickle])
    scratch = tmp_path_factory.mktemp("scratch")
    shared = set(os.listdir("/dev/shm"))
    child = folder.start(
        "jobs.jsonl", "-o", "results.jsonl", "-j", "4", "-b", "1", "--grace", "200ms", *FAST, TMPDIR=str(scratch),
        is_leader=True,
    )  # fmt: skip
    wait_for(lambda: len(set(folder.pids())) >= 5 and (folder / "results.jsonl").stat().st_size)
    family = {*family_of(child.pid), *folder.pids()}
    assert len(family) >= 6, "four workers, a keeper and a grandchild"
    code = end(child)
    child.communicate(timeout=5)
    assert child.returncode in (code if isinstance(code, tuple) else (code,))
    wait_for(lambda: not any(map(is_alive, family | set(folder.pids()))), 5)
    assert is_lock_free(folder / "results.jsonl")
    assert not list(scratch.iterdir())
    assert set(os.listdir("/dev/shm")) <= shared
    known = {"jobs.jsonl", "results.jsonl", "jobs.dlq.jsonl", "log.jsonl", "pids"}
    assert {path.name for path in folder.path.iterdir()} <= known


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_substitution_around_a_run_that_is_ended_returns(folder, number):
    """Fault 17: `$(…)` waits for whoever holds the pipe, a grandchild too."""
    folder.write("jobs.jsonl", [{"do": "fork_background", "file": "never"}, {"do": "hang_in_c"}])
    child = folder.start_shell("echo got $($JQ jobs.jsonl --grace 100ms 2>&1 >/dev/null & echo $! > parent; wait) >&2")
    wait_for(lambda: len(folder.pids()) == 3)
    os.kill(int((folder / "parent").read_text()), number)
    assert b"got" in child.communicate(timeout=8)[1]
    wait_for(lambda: not any(map(is_alive, folder.pids())), 5)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTSTP])
def test_a_parent_that_is_stopped_and_continued_loses_no_job(folder, number):
    """Fault 23: workers go on meanwhile as far as their batches reach; the timeout is not theirs to pay."""
    jobs = [{"do": "pause", "seconds": 0.01, "n": n} for n in range(100)]
    folder.write("jobs.jsonl", jobs)
    # Of a group of its own: SIGTSTP does not stop one that has no parent in its session, as under a CI's runner.
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-t", "5s", *FAST, is_leader=True)
    wait_for(lambda: (folder / "log.jsonl").exists() and len(oracle.read_lines_whole(folder / "log.jsonl")) > 10)
    child.send_signal(number)
    wait_for(lambda: Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    child.send_signal(signal.SIGCONT)
    assert child.wait(20) == 0
    assert set(folder.check().executions.values()) == {1}


@pytest.mark.parametrize("most", range(4, 34, 2))
def test_with_few_descriptors_there_are_fewer_workers_or_74_and_then_the_same_command_goes_on(folder, most):
    """Fault 15: `ulimit -n`, every other number of them."""
    folder.write("jobs.jsonl", [{"n": n} for n in range(20)] + [{"do": "reject"}])
    ran = folder.shell(f"ulimit -n {most}; $JQ jobs.jsonl -o results.jsonl -j 6 -b 1")
    if most < 6:
        assert ran.code != 0, "the interpreter itself needs as many"
    else:
        assert ran.code in (1, 74), f"exit {ran.code}: {ran.err}"
    wait_for(lambda: not any(map(is_alive, folder.pids())), 5)
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    folder.check(deaths=1)


NEW_USERS = itertools.count(1_000_000_000 + 100 * os.getpid())  # whom no account names, and nobody was yet


@pytest.fixture
def alone(folder):
    """Words that run a command as a user who runs nothing else; the kernel counts processes of all but root."""
    words = f"setpriv --reuid {next(NEW_USERS)} --clear-groups --inh-caps +dac_override --ambient-caps +dac_override"
    tried = folder.shell(f"{words} true")
    if tried.code:
        pytest.skip(f"no command can be run as another user: {tried.err.strip()}")
    folder.path.chmod(0o777)
    return words


@pytest.mark.parametrize("most", [0, 1, 2, 3, 5])
def test_with_few_processes_there_are_fewer_workers_or_74_and_then_the_same_command_goes_on(folder, alone, most):
    """Fault 15: `ulimit -u`; the keeper and the first worker are needed."""
    folder.write("jobs.jsonl", [{"n": n} for n in range(20)] + [{"do": "reject"}])
    command = "exec $JQ jobs.jsonl -o results.jsonl -j 6 -b 1"
    ran = folder.shell(f"exec {alone} bash -c 'ulimit -u {1 + most}; {command}'")
    assert ran.code == (74 if most < 2 else 1), f"exit {ran.code}: {ran.err}"
    if ran.code == 74:
        assert "cannot start" in ran.err
    assert folder.shell(f"exec {alone} bash -c '{command}'").code == 1
    folder.check(deaths=1)


def test_jobs_that_hang_leave_the_other_workers_at_work(folder):
    """Fault 8: what is taken back from behind them stands before what the others wait with."""
    folder.write("jobs.jsonl", [{"do": "wait", "file": "go", "n": n} for n in range(3)] + [{"n": n} for n in range(50)])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-j", "4", "-b", "1")
    wait_for(lambda: (folder / "results.jsonl").exists() and (folder / "results.jsonl").read_bytes().count(b"\n") == 50)
    folder.write("go", "")
    assert child.wait(20) == 0
    folder.check()


@pytest.mark.parametrize("words", [("-j", "1"), ("-j", "3"), ("-j", "1", "-t", "30s")], ids=" ".join)
def test_a_worker_that_is_stopped_while_it_is_idle_is_replaced(folder, words):
    """Fault 9: no attempt runs that could take too long, and all others may wait for the ruling of its lines."""
    # The limit is a minute; the rest is the command as it is.
    hasty = "import jqcli.engine.member as m; m.PREPARE_LIMIT = 0.5; from jqcli.__main__ import main; main()"
    argv = [sys.executable, "-c", hasty, *folder.argv("-", "-o", "results.jsonl", *words)[3:]]
    child = subprocess.Popen(argv, cwd=folder.path, env=folder.env(), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    folder.keep(child)
    child.stdin.write(b'{"do": "pause", "seconds": 0, "n": 0}\n')
    child.stdin.flush()
    wait_for(lambda: (folder / "results.jsonl").exists() and (folder / "results.jsonl").stat().st_size)
    for pid in folder.pids():
        os.kill(pid, signal.SIGSTOP)
    child.stdin.write(b"".join(b'{"n": %d}\n' % n for n in range(20)))
    child.stdin.close()
    assert child.wait(20) == 0, child.stderr.read()
    records = oracle.read_lines(folder / "results.jsonl")
    assert len(records) == 21
    assert {record["attempts"] for record in records} == {1}


def test_of_twenty_starts_at_once_one_works_and_when_it_is_killed_the_next_start_succeeds(folder):
    """Fault 29: the others end with 75 and name the holder."""
    folder.write("jobs.jsonl", [{"do": "wait", "file": "go"}, {"n": 1}])
    children = [folder.start("jobs.jsonl", "-o", "results.jsonl", "-j", "1") for _ in range(20)]
    wait_for(lambda: sum(child.poll() == 75 for child in children) == 19, 60)
    (holder,) = [child for child in children if child.poll() is None]
    for child in children:
        if child is not holder:
            assert str(holder.pid) in child.stderr.read().decode()
    holder.kill()
    holder.wait()
    folder.write("go", "")
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    folder.check(deaths=1)
