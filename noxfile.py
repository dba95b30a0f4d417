"""What is checked, and with which interpreters. `nox` runs lint, types and tests; `nox -s bench` measures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_missing_interpreters = False  # a missing one is named as skipped, in CI too
nox.options.download_python = "never"
# The tests start thousands of processes, each of which would compile every module anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
VERSIONS = sorted({"3.11", "3.12", "3.13", RUNNING}, key=lambda version: int(version.split(".")[1]))
GROUPS = nox.project.load_toml("pyproject.toml")
FUZZED = [
    *("tests/test_fuzz.py", "tests/core/test_prepare.py", "tests/edge/test_journal.py", "tests/edge/test_source.py"),
    "tests/engine/test_frame.py",
]


def is_python(path: str, version: str) -> bool:
    """Say whether `path` runs and is that version; a pyenv shim may exist and yet refuse to run."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        ran = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ran.returncode == 0 and ran.stdout.strip() == version


def find_python(version: str) -> str:
    """Return the path of an interpreter of `version`, or `version` itself where there is none."""
    if version == RUNNING:
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    installed = sorted(pyenv.glob(f"{version}.*/bin/python{version}"), reverse=True)
    candidates = [shutil.which(f"python{version}"), *map(str, installed)]
    return next((path for path in candidates if path and is_python(path, version)), version)


def install(session: nox.Session, group: str) -> None:
    """Install the project with one of pyproject's dependency groups."""
    session.install("-q", "-e", ".[zstd]", *nox.project.dependency_groups(GROUPS, group))


@nox.session
def lint(session: nox.Session) -> None:
    """Check the rules and the layout of the code."""
    session.install("-q", *nox.project.dependency_groups(GROUPS, "lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, strictly."""
    install(session, "types")
    session.run("mypy", "--strict")


@nox.session
@nox.parametrize("python", [nox.param(find_python(version), id=version) for version in VERSIONS])
def tests(session: nox.Session) -> None:
    """Run the tests; an interpreter that is not installed is skipped by name.

    What takes long, such as the faults and the recipes, is left to the interpreter that runs nox, unless pytest's
    arguments are given.
    """
    install(session, "test")
    walks = [] if session.python == find_python(RUNNING) else ["-m", "not walk"]
    # Most tests wait for processes, so more of them than there are cores make use of the time.
    session.run("pytest", *(session.posargs or ["-n", "4", "--dist", "loadgroup", *walks]))


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the speed and the memory; `nox -s bench -- --help` shows the options."""
    install(session, "test")
    session.run("python", "tests/benchmarks/bench.py", *session.posargs)


@nox.session
def pictures(session: nox.Session) -> None:
    """Make the pictures of the README from a real run; needs chromium (Debian: apt-get install chromium)."""
    install(session, "pictures")
    session.run("python", "-m", "tests.pictures")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Try the properties with thousands of new cases each; takes some minutes."""
    install(session, "test")
    session.run("pytest", "-q", *(session.posargs or FUZZED), env={"HYPOTHESIS_PROFILE": "long"})


KILL_POINTS = {
    "once": [
        *("-j 2", "-j 2 -b 1 -k", "-j 2 -b 2 --durability full", "-j 2 --durability none", "-j 0 -b 1"),
        *("--shared -j 2 -b 1 -k", "--shared -j 0 -b 1 --durability full", "--shared -j 2 --durability none"),
    ],
    "twice": ["-j 0", "-j 0 -k", "-j 0 -b 2 --durability full", "-j 2", "--shared -j 0", "--shared -j 2 -k"],
    "edited": ["-j 2", "-j 2 -b 1 -k", "-j 0 --durability full", "--shared -j 2"],
    "crashes": ["-j 2 -b 1", "-j 2 -b 4 -k", "-j 2 --durability full", "--shared -j 2 -b 1"],
    "calls": ["-j 2", "-j 2 -b 1 -k --durability full", "--shared -j 2 -b 2"],
    "errors": ["-j 0 -b 1", "-j 2 -k", "-j 2 -b 2 --durability full", "--shared -j 2 -b 2 --durability full"],
}


@nox.session
def faults(session: nox.Session) -> None:
    """Kill a run at every place and every system call with an effect; takes long, and `calls` needs strace.

    With `--shared` it has a store, and each going-on is followed by another command.
    """
    install(session, "test")
    for walk, variants in KILL_POINTS.items():
        for words in variants:
            session.log(f"{walk}: {words}")
            session.run("python", "-m", "tests.faults.walk", walk, "1", session.create_tmp(), *words.split())


@nox.session
def soak(session: nox.Session) -> None:
    """Hurt runs at random for ten minutes; `nox -s soak -- --minutes 60 --seed 7` sets how long, and the seed."""
    install(session, "test")
    session.run("python", "-m", "tests.faults.soak", *session.posargs)
