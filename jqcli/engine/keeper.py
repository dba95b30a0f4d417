"""The keeper: a small process that ends the workers' process groups when the parent is gone, however it went.

It is told of groups through a pipe (`+pid` and `-pid`, a line each); the end of the pipe is the parent's end. The
kernel kills each worker with its parent already; the keeper is there for what the workers forked.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

from jqcli.errors import FileError

# Run with -I -S and without this package: it starts in 8 ms and holds nothing that the parent holds.
_PROGRAM = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
    signal.signal(number, signal.SIG_IGN)
groups = set()
for line in sys.stdin.buffer:
    (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
os._exit(0)
"""


class Keeper:
    """The parent's end of the keeper."""

    def __init__(self) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own program
                [sys.executable, "-I", "-S", "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise FileError(f"cannot start the workers' keeper: {error.strerror}") from error
        assert self._process.stdin is not None  # noqa: S101 - asked for above
        self._fd = self._process.stdin.fileno()
        os.set_blocking(self._fd, False)

    def add(self, pid: int) -> None:
        """Watch over a worker's group."""
        self._say(b"+%d\n" % pid)

    def remove(self, pid: int) -> None:
        """Forget a group whose leader is about to be reaped."""
        self._say(b"-%d\n" % pid)

    def close(self) -> None:
        """Let the keeper end; called when no group is left, any number of times."""
        if self._process.returncode is not None:
            return
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._process.communicate(timeout=1.0)
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(1.0)

    def _say(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # a keeper that was killed keeps nobody; the kernel still does
            os.write(self._fd, line)
