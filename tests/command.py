"""Runs the real command in a folder of its own, in pipes or at a terminal, and ends what it started by its pid."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests import oracle

ROOT = Path(__file__).parents[1]
DEEDS = ROOT / "tests" / "process" / "deeds.py"
LIMIT = 60.0  # seconds that anything here may take, on a machine that is busy with other things


def wait_for(condition, limit=LIMIT):
    """Return the first true value of `condition`, asked again and again; fails after `limit` seconds."""
    deadline = time.monotonic() + limit
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {limit} s: {condition}"
        select.select([], [], [], 0.005)


def stands_still(measure, seconds=0.4):
    """Return what `measure` gives once it has not changed for so long."""
    seen, since = measure(), time.monotonic()

    def is_still():
        nonlocal seen, since
        now = measure()
        if now != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since > seconds

    wait_for(is_still)
    return seen


def is_alive(pid):
    """Tell whether a process runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def memory_of(pid):
    """Return the peak resident bytes of a process so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


@dataclass
class Ran:
    """How a command ended, and what it said."""

    code: int
    out: bytes
    err: str

    @property
    def records(self):
        """The lines of stdout."""
        assert not self.out or self.out.endswith(b"\n")
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def summary(self):
        """The object that `--summary json` printed."""
        return next(json.loads(line) for line in self.err.splitlines() if line.startswith('{"run"'))


class Screen:
    """A terminal that a command was started at; a real controlling one, so that Ctrl-C is a key."""

    def __init__(self, argv, cwd, env, columns=80, *, is_own=True):
        self.master, slave = os.openpty()
        self._slave = slave  # held open, so that the master never sees EIO before the end
        self.resize(columns)
        name = os.ttyname(slave)
        # A session leader that opens a terminal gets it as its own; anybody else just writes to it.
        self.process = subprocess.Popen(
            ["sh", "-c", f'exec "$@" <>{name} >&0 2>&0', "sh", *argv], cwd=cwd, env=env, start_new_session=is_own
        )
        self.seen = b""

    def resize(self, columns, lines=24):
        """Take another size; whoever has it as its own terminal is told by SIGWINCH."""
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def hang_up(self):
        """Go away, as a closed window or a lost connection does; whoever has it as its own terminal gets SIGHUP."""
        self.close()
        self.master = self._slave = -1

    def read(self):
        """Take what was written by now; return all of it."""
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 65536)
        return self.seen

    def wait_for(self, condition, limit=LIMIT):
        """Wait until `condition(seen)` holds."""
        wait_for(lambda: condition(self.read()), limit)

    def press(self, key):
        """Press a key."""
        os.write(self.master, key)

    def end(self, limit=LIMIT):
        """Wait for the end, reading on; return the exit code."""
        wait_for(lambda: (self.read(), self.process.poll() is not None)[1], limit)
        self.read()
        return self.process.returncode

    @property
    def is_cursor_visible(self):
        """Whether the cursor was shown again after it was hidden last."""
        return self.seen.rfind(b"\x1b[?25h") >= self.seen.rfind(b"\x1b[?25l")

    def close(self):
        """Let the terminal go."""
        if self.master >= 0:
            os.close(self.master)
            os.close(self._slave)


class Folder:
    """A folder with jobs, handlers and a side-effect log, in which the command is run."""

    def __init__(self, path):
        self.path = path
        self.runtime = path.parent / f"{path.name}.runtime"  # runs of others are not seen
        self._started = []
        self._screens = []

    def __truediv__(self, name):
        return self.path / name

    def write(self, name, content):
        """Write a file: text, bytes, or values as JSON Lines."""
        path = self.path / name
        if isinstance(content, list):
            content = "".join(json.dumps(value) + "\n" for value in content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def take(self, path):
        """Copy a file of handlers here, writable by its owner alone: what letters name must be, whatever the umask."""
        return self.write(path.name, path.read_bytes()).chmod(0o644)

    def argv(self, *args, deed=True):
        """Return the whole command line; the handler is deeds.py's `do` unless the arguments name one."""
        words = [str(arg) for arg in args]
        handler = [] if not deed or "-H" in words else ["-H", f"{DEEDS}:do"]
        workers = [] if not deed or "-j" in words else ["-j", "2"]
        return [sys.executable, "-m", "jqcli", *words, *handler, *workers]

    def env(self, **more):
        """Return an environment without anything that the user's shell says to jq-run."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("JQ_RUN_")}
        self.runtime.mkdir(exist_ok=True)
        own = {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "80", "XDG_RUNTIME_DIR": str(self.runtime)}
        own |= {"LC_ALL": "C.UTF-8"}
        return kept | own | more

    def run(self, *args, stdin=b"", code=None, deed=True, limit=LIMIT, is_calm=True, **env):
        """Run to the end; with `code`, that must be the exit code. `is_calm`: no traceback but a handler's own."""
        child = self.start(*args, deed=deed, **env)
        try:
            out, err = child.communicate(stdin, timeout=limit)
        except subprocess.TimeoutExpired:
            child.kill()
            raise AssertionError(f"still running after {limit} s: {args}: {child.communicate()[1]!r}") from None
        ran = Ran(child.returncode, out, err.decode())
        assert code is None or ran.code == code, f"exit {ran.code}, not {code}: {ran.err}"
        assert not is_calm or "Traceback" not in ran.err or "deeds.py" in ran.err, ran.err
        return ran

    def start(self, *args, deed=True, is_leader=False, **env):
        """Start without waiting; stdin, stdout and stderr are pipes. `is_leader`: of a process group of its own."""
        pipe = subprocess.PIPE
        child = subprocess.Popen(
            self.argv(*args, deed=deed),
            cwd=self.path,
            env=self.env(**env),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            process_group=0 if is_leader else None,
        )
        self._started.append(child)
        return child

    def keep(self, child):
        """End a process that was started elsewhere with this folder."""
        self._started.append(child)

    def start_shell(self, line, **env):
        """Start a line of shell, in which `$JQ` is the command with its handler."""
        child = subprocess.Popen(
            ["bash", "-c", line],
            cwd=self.path,
            env=self.env(JQ=" ".join(self.argv()), **env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._started.append(child)
        return child

    def shell(self, line, limit=LIMIT, **env):
        """Run a line of shell to its end."""
        child = self.start_shell(line, **env)
        out, err = child.communicate(timeout=limit)
        return Ran(child.returncode, out, err.decode())

    def screen(self, *args, columns=80, deed=True, is_own=True, **env):
        """Start at a terminal, which is the command's own unless it is said to be somebody else's."""
        screen = Screen(self.argv(*args, deed=deed), self.path, self.env(**env), columns, is_own=is_own)
        self._screens.append(screen)
        self._started.append(screen.process)
        return screen

    @property
    def log(self):
        """The payloads that were executed, one for each start."""
        return oracle.read_lines(self.path / "log.jsonl")

    def pids(self):
        """Return who has executed anything: workers, and processes that handlers said they started."""
        path = self.path / "pids"
        return [int(word) for word in path.read_text().split()] if path.exists() else []

    def check(self, results="results.jsonl", dlq="jobs.dlq.jsonl", jobs=("jobs.jsonl",), **allowed):
        """Let the oracle count."""
        ids = [each for name in jobs for each in oracle.expected_ids(self.path / name)]
        return oracle.check(ids, self.path / results, self.path / dlq, self.path / "log.jsonl", **allowed)

    def close(self):
        """End whatever still runs, by its pid."""
        for child in self._started:
            with suppress(ProcessLookupError):
                child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout, child.stderr):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
        for screen in self._screens:
            screen.close()
        for pid in self.pids():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
