"""A short soak; `nox -s soak` is the long one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.command import ROOT

pytestmark = pytest.mark.walk


def test_runs_that_are_hurt_at_random_go_on_to_the_right_answer(tmp_path, capsys):
    """Fault 47: ten seconds of it; the rounds come from the seed."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.faults.soak",
            "--minutes",
            "0.17",
            "--seed",
            "47",
            "--folder",
            str(tmp_path / "soak"),
        ],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("JQ_RUN_")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with capsys.disabled():
        print("\n  " + done.stdout.splitlines()[-1], end="", flush=True)
