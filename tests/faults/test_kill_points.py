"""Killed before, or in the middle of, any effect on a file: the same command ends with the right answer.

Every walk ends in the oracle after every going-on, and looks that nothing that had a record ran again.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import ROOT

WALK = Path(__file__).with_name("walk.py")


def walk(tmp_path, capsys, name, *words, stride=1, least=15):
    """Walk in a process of its own; print how many kill points there were."""
    done = subprocess.run(
        [sys.executable, str(WALK), name, str(stride), str(tmp_path / "walk"), *words],
        env={key: value for key, value in os.environ.items() if not key.startswith("JQ_RUN_")}
        | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    with capsys.disabled():
        print(f"\n  {name} {' '.join(words)}: {found['points']} kill points, {found['runs']} runs", end="", flush=True)  # noqa: T201 - the number is what is asked for
    assert found["points"] >= least
    return found


@pytest.mark.parametrize(
    "words",
    [("-j", "2", "-b", "2"), ("-j", "2", "-k", "--durability", "none"), ("-j", "0", "-b", "1", "--durability", "full")],
    ids=" ".join,
)
def test_killed_at_any_effect_the_same_command_ends_with_the_right_answer(tmp_path, capsys, words):
    """Fault 16: by failpoints, before every effect and in the middle of every append."""
    walk(tmp_path, capsys, "once", *words, least=25)


@pytest.mark.parametrize("words", [("-j", "0"), ("-j", "0", "-k", "-b", "1")], ids=" ".join)
def test_killed_again_while_it_goes_on_it_still_does(tmp_path, capsys, words):
    """Fault 16: a second kill, for each place of the first; `nox -s faults` walks all pairs."""
    walk(tmp_path, capsys, "twice", *words, stride=3, least=60)


def test_killed_at_any_effect_while_its_workers_are_killed_too(tmp_path, capsys):
    """Fault 16: mixed with deaths of workers, in both lives."""
    found = walk(tmp_path, capsys, "crashes", "-j", "2", "-b", "1")
    assert found["killed_workers"] > 10


def test_killed_at_any_effect_and_its_input_edited_every_line_that_is_there_has_one_record(tmp_path, capsys):
    """Fault 18: lines inserted, deleted, reordered and appended between the kill and the next run."""
    walk(tmp_path, capsys, "edited", "-j", "2")


# The same by strace: a kill at every system call with which the parent writes, syncs, cuts, renames or locks.

CALLS = ("write", "sendmsg", "sendto", "fdatasync", "fsync", "ftruncate", "flock", "link", "rename", "unlink")


def why_not_strace():
    """Return why system calls cannot be tampered with here, or an empty string."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    try:
        tried = subprocess.run(
            ["strace", "-qq", "-o", "/dev/null", "-e", "inject=getppid:retval=1", "true"],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    except OSError as error:
        return f"strace does not run: {error}"
    return f"strace may not trace: {tried.stderr.strip()[-200:]}" if tried.returncode else ""
