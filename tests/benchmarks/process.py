"""Start programs and look at them from outside: their time, their terminal, their memory."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
import time
from pathlib import Path


class FailedError(Exception):
    """A measured program ended with another code than expected; nothing that it took counts."""


def expect(code, command, errors=""):
    if code:
        raise FailedError(f"{' '.join(command)}: exit code {code}\n{errors.strip()[-2000:]}")


def time_all(commands, folder, env):
    """Return the seconds from the start of the first command until all have ended."""
    start = time.perf_counter()
    children = [
        subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    errors = [child.communicate()[1] for child in children]
    seconds = time.perf_counter() - start
    for command, child, error in zip(commands, children, errors, strict=True):
        expect(child.returncode, command, error)
    return seconds


def drain(master, seen):
    """Read a terminal until its last program has gone; add the number of bytes to `seen`."""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # EIO: the other side is closed
            return
        if not data:
            return
        seen.append(len(data))


def time_on_terminal(command, folder, env, rows=24, columns=80):
    """Return (seconds, bytes shown) of a command whose stderr is a terminal."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    seen = []
    reader = threading.Thread(target=drain, args=(master, seen))
    start = time.perf_counter()
    child = subprocess.Popen(
        command,
        cwd=folder,
        env=env | {"TERM": "xterm-256color"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=slave,
    )
    os.close(slave)
    reader.start()
    code = child.wait()
    seconds = time.perf_counter() - start
    reader.join()
    os.close(master)
    expect(code, command)
    return seconds, sum(seen)


def time_watched(command, watcher, ready, folder, env, rows=24, columns=80):
    """Return (seconds, its CPU seconds, the watcher's CPU seconds) of a command at which a watcher looks, or none.

    The watcher starts when the file `ready` is there, and ends with the command; its terminal is read.
    """
    ready.unlink(missing_ok=True)
    quiet = {"cwd": folder, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    start = time.perf_counter()
    child = subprocess.Popen(command, env=env, **quiet)
    other = reader = None
    if watcher is not None:
        while not ready.exists() and child.poll() is None:
            time.sleep(0.001)
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        seen = []
        other = subprocess.Popen(watcher, env=env | {"TERM": "xterm-256color"}, **quiet | {"stdout": slave})
        os.close(slave)
        reader = threading.Thread(target=drain, args=(master, seen))
        reader.start()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    expect(os.waitstatus_to_exitcode(status), command)
    watching = 0.0
    if other is not None:
        _, status, watched = os.wait4(other.pid, 0)
        reader.join()
        os.close(master)
        expect(os.waitstatus_to_exitcode(status), watcher)
        if not seen:
            raise FailedError(f"{' '.join(watcher)}: showed nothing")
        watching = watched.ru_utime + watched.ru_stime
    return seconds, usage.ru_utime + usage.ru_stime, watching


def parents():
    """Return {pid: parent's pid} of every process."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # the name in parentheses may hold anything: count from its end
                found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it has ended meanwhile
    return found


def family(root):
    """Return `root` and all that descend from it."""
    above = parents()
    members = {root}
    while grown := {pid for pid, parent in above.items() if parent in members} - members:
        members |= grown
    return members


def memory(pid):
    """Return (VmHWM, VmRSS) in bytes; zeros for a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    values = {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in (line.partition(":") for line in lines)
        if name in {"VmHWM", "VmRSS"}
    }
    return values.get("VmHWM", 0), values.get("VmRSS", 0)


def peak_memory(command, folder, env, every=0.05):
    """Return (peak of the parent, peak of the sum over the whole family) in bytes, sampled.

    Pages that processes share are counted in each: the sum is an upper bound.
    """
    child = subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    peak = total = 0
    while child.poll() is None:
        peak = max(peak, memory(child.pid)[0])
        total = max(total, sum(memory(pid)[1] for pid in family(child.pid)))
        time.sleep(every)
    expect(child.returncode, command)
    return peak, total
