"""Killed before, or in the middle of, any effect on a file: the same command ends with the right answer.

Every walk ends in the oracle after every going-on, and looks that nothing that had a record ran again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.command import ROOT
from tests.faults.tracing import why_not_strace

pytestmark = pytest.mark.walk


def walk(tmp_path, capsys, name, *words, stride=1, least=15):
    """Walk in a process of its own; print how many kill points there were."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.walk", name, str(stride), str(tmp_path / "walk"), *words],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("JQ_RUN_")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    with capsys.disabled():
        print(f"\n  {name} {' '.join(words)}: {found['points']} kill points, {found['runs']} runs", end="", flush=True)
    assert found["points"] >= least
    return found


@pytest.mark.parametrize(
    "words",
    [("-j", "2", "-b", "2"), ("-j", "2", "-k", "--durability", "none"), ("-j", "0", "-b", "1", "--durability", "full")],
    ids=" ".join,
)
def test_killed_at_any_effect_the_same_command_ends_with_the_right_answer(tmp_path, capsys, words):
    """Fault 16: by failpoints, before every effect and in the middle of every append."""
    walk(tmp_path, capsys, "once", *words, least=20)


@pytest.mark.parametrize("words", [("-j", "0", "-b", "2"), ("-j", "2", "-b", "2", "-k")], ids=" ".join)
def test_killed_at_any_effect_with_a_store_no_other_command_does_again_what_is_done(tmp_path, capsys, words):
    """Faults 16 and 43: with a store, and after each going-on another command that asks for the same jobs."""
    walk(tmp_path, capsys, "once", "--shared", *words, least=40)


def test_an_error_at_any_effect_of_a_run_with_a_store_is_named_and_the_same_command_goes_on(tmp_path, capsys):
    """Faults 24 and 43: ENOSPC and EIO, once each, at every other place; `nox -s faults` tries all."""
    walk(tmp_path, capsys, "errors", "--shared", "-j", "0", "-b", "4", stride=2, least=20)


@pytest.mark.parametrize("words, stride", [(("-j", "0"), 6), (("-j", "0", "-k", "-b", "1"), 12)], ids=str)
def test_killed_again_while_it_goes_on_it_still_does(tmp_path, capsys, words, stride):
    """Fault 16: a second kill, for each place of the first; `nox -s faults` walks all pairs."""
    walk(tmp_path, capsys, "twice", *words, stride=stride, least=30)


def test_killed_at_any_effect_while_its_workers_are_killed_too(tmp_path, capsys):
    """Fault 16: mixed with deaths of workers, in both lives."""
    found = walk(tmp_path, capsys, "crashes", "-j", "2", "-b", "1")
    assert found["killed_workers"] > 10


def test_killed_at_any_effect_and_its_input_edited_every_line_that_is_there_has_one_record(tmp_path, capsys):
    """Fault 18: lines inserted, deleted, reordered and appended between the kill and the next run."""
    walk(tmp_path, capsys, "edited", "-j", "2")


def test_killed_at_a_system_call_the_same_command_ends_with_the_right_answer(tmp_path, capsys):
    """Fault 16: a sample, by strace, of the real command's; `nox -s faults` kills at every one."""
    if why := why_not_strace():
        pytest.skip(why)
    walk(tmp_path, capsys, "calls", "-j", "2", "-b", "2", stride=6, least=8)


def test_an_error_at_any_effect_stops_the_run_which_names_the_file_and_goes_on(tmp_path, capsys):
    """Faults 24 and 25: ENOSPC and EIO, once each, at every place."""
    walk(tmp_path, capsys, "errors", "-j", "0", "-b", "2", least=40)


def test_half_of_a_write_tears_no_line(tmp_path, capsys):
    """Fault 26: short writes, at every place."""
    walk(tmp_path, capsys, "short", "-j", "0", "-b", "1")
