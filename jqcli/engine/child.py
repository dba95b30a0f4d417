"""One worker process, seen from the parent: start it, speak with it, end it. Nothing here ever blocks."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import jqcli
from jqcli.engine.frame import Decoder, Kind, pack
from jqcli.engine.memory import Memory, create_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jqcli.engine.ear import Ear

_RECEIVE_SIZE = 1 << 18
_SOCKET_BUFFER = 1 << 20
_SILENCE = 2.0  # seconds, after which one that printed as it left its handlers is not waited for any longer
_SPEECH_LIMIT = 10.0  # seconds, for all that it prints then
_LOOK_EVERY = 0.005  # seconds, where the kernel tells nothing of a death
# The package may be on the parent's path alone; last, so that it hides nothing. Collecting garbage while modules and
# handlers are loaded finds none, and takes its time.
_START = "import gc, sys; gc.disable(); sys.path.append(sys.argv.pop()); from jqcli.engine.worker import main; main()"
_PACKAGE_FOLDER = str(Path(jqcli.__file__).resolve().parents[1])


class Child:
    """A spawned worker with a channel and a memory of its own.

    It leads a process group, so that what it forks can be ended with it. What it prints, to stdout too, goes to the
    `ear`, or to stderr where there is none.
    """

    def __init__(self, setup: bytes, frame_limit: int, ear: Ear | None) -> None:
        self.ear = ear
        try:
            self.channel = self._start()
        except BaseException:
            if ear is not None:
                ear.close()
            raise
        finally:
            if ear is not None:
                ear.shut()
        self.pid = self._process.pid
        self.death_fd = _open_pidfd(self.pid)
        self._decoder = Decoder(frame_limit)
        self._outbox = bytearray()
        self.heard_at = self.sent_at = time.monotonic()
        self.is_broken = False
        self._is_shut = False
        self.send(pack(Kind.SETUP, setup))

    def _start(self) -> socket.socket:
        """Start the process and return our end of its channel."""
        voice_fd, stderr_fd = (-1, 2) if self.ear is None else (self.ear.voice_end, self.ear.pipe_end)
        ours, theirs = socket.socketpair()
        memory_fd = create_file()
        try:
            ours.setblocking(False)  # noqa: FBT003 - the standard library's own
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
            self.memory = Memory(memory_fd)
            command = [
                sys.executable,
                "-c",
                _START,
                str(theirs.fileno()),
                str(memory_fd),
                str(voice_fd),
                str(os.getpid()),
                _PACKAGE_FOLDER,
            ]
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
                command,
                stdin=subprocess.DEVNULL,
                stdout=stderr_fd,
                stderr=stderr_fd,
                pass_fds=(theirs.fileno(), memory_fd, *(() if self.ear is None else (voice_fd,))),
                process_group=0,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(memory_fd)
        return ours

    @property
    def is_inside_frame(self) -> bool:
        """Whether the worker has begun to say something and not ended it."""
        return self._decoder.is_inside

    @property
    def has_outbox(self) -> bool:
        """Whether bytes wait until the worker reads."""
        return bool(self._outbox)

    @property
    def is_dead(self) -> bool:
        """Whether the process has ended; does not reap it, so its pid and group stay its own."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(os.P_PID, self.pid, flags) is not None
        except ChildProcessError:
            return True

    def send(self, *parts: bytes) -> None:
        """Send frames, as far as the worker takes them now; the rest goes when `flush` is called."""
        self.sent_at = time.monotonic()
        sent = 0
        if not self._outbox and not self._is_shut and not self.is_broken:
            try:
                sent = self.channel.sendmsg(parts)
            except BlockingIOError:
                pass
            except OSError:
                self._shut()
        for part in parts:
            self._outbox += part[sent:]
            sent = max(0, sent - len(part))
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as it goes."""
        if self._is_shut or self.is_broken:
            self._outbox.clear()
        if not self._outbox:
            return
        try:
            sent = self.channel.send(self._outbox)
            del self._outbox[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._shut()

    def receive(self) -> Iterator[tuple[Kind, bytes]]:
        """Yield the frames that arrived; raises FrameError for what is none."""
        while not self.is_broken:
            try:
                data = self.channel.recv(_RECEIVE_SIZE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._break()
                return
            self.heard_at = time.monotonic()
            yield from self._decoder.feed(data)
            if len(data) < _RECEIVE_SIZE:
                return

    def mute(self) -> None:
        """Stop listening: what it says makes no sense any more."""
        self._break()

    def wait_for_end(self, until: float) -> None:
        """Wait until the process has ended, without reaping it: up to a moment, or a while longer where it prints."""
        most = until + _SPEECH_LIMIT
        while not self.is_dead:
            if self._listen():
                until = max(until, min(most, time.monotonic() + _SILENCE))
            left = until - time.monotonic()
            if left <= 0:
                return
            poll = select.poll()
            if self.death_fd is not None:
                poll.register(self.death_fd, select.POLLIN)
            if self.ear is not None:
                for fd in self.ear.fds[: 1 if self.ear.is_over else 2]:
                    poll.register(fd, select.POLLIN)
            poll.poll(1000 * (left if self.death_fd is not None else min(left, _LOOK_EVERY)))

    def _listen(self) -> bool:
        return self.ear is not None and self.ear.listen() | self.ear.read_pipe()

    def kill(self) -> None:
        """Kill the worker and what it forked, as far as that stayed in its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def reap(self, timeout: float) -> str | None:
        """Return how the process ended, None where it has not within `timeout` seconds (state D)."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        if code >= 0:
            return f"exit code {code}"
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"

    def close(self) -> None:
        """Let go of the channel and the pidfd; the memory goes with the last record that stands there."""
        self.channel.close()
        if self.ear is not None:
            self.ear.close()
        if self.death_fd is not None:
            os.close(self.death_fd)
            self.death_fd = None

    def _shut(self) -> None:
        """Send no more: it is gone, or will not read; what it said before is still in the channel."""
        self._is_shut = True
        self._outbox.clear()

    def _break(self) -> None:
        self.is_broken = True
        self._outbox.clear()


def _open_pidfd(pid: int) -> int | None:
    """Return a descriptor that tells of a process's death; None where there is no such thing, or it is not given."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:  # an older kernel, a container that forbids it, or no descriptor left: its end is looked for
        return None
