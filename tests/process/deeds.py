"""Handlers for the tests: each does what its payload says, and writes down first that it was called."""

import ctypes
import json
import math
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

from jqcli import RateLimited, Reject, Retry, Skip, Snooze, handler


class FlakyError(ConnectionError):
    pass


class OddError(BaseException):
    pass


def write_line(name, text):
    fd = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, text.encode() + b"\n")
    os.close(fd)


def wait_until(name):
    while not os.path.exists(name):
        time.sleep(0.002)


def flaky(payload, ctx):
    if ctx.attempt <= payload["times"]:
        raise FlakyError(f"attempt {ctx.attempt}")


def fail(payload, ctx):
    raise KeyError(payload.get("message", "always"))


def again(payload, ctx):
    if ctx.attempt <= payload.get("times", 1):
        raise Retry("later", after=payload["after"])


def snooze(payload, ctx):
    """Not now, the first time; the file is this handler's memory."""
    name = f"snoozed-{payload['n']}"
    if not os.path.exists(name):
        write_line(name, "")
        raise Snooze("20ms")


def nap(payload, ctx):
    """Not while the file is missing that the payload names."""
    if not os.path.exists(payload["until"]):
        raise Snooze("1200ms")


def reject(payload, ctx):
    raise Reject("not this one")


def skip(payload, ctx):
    raise Skip("not ours")


def leave(payload, ctx):
    sys.exit(3)


def interrupt(payload, ctx):
    raise KeyboardInterrupt


def leave_oddly(payload, ctx):
    raise OddError("none of ours")


def segfault(payload, ctx):
    ctypes.string_at(0)


def end_quietly(payload, ctx):
    os._exit(0)


def kill_self(payload, ctx):
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(payload, ctx):
    if ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def stop_self(payload, ctx):
    os.kill(os.getpid(), signal.SIGSTOP)


def hang(payload, ctx):
    while True:
        time.sleep(10)


def hang_in_c(payload, ctx):
    """A C function that keeps the GIL: no signal handler, no other thread runs."""
    ctypes.PyDLL(None).pause()


def wait(payload, ctx):
    wait_until(payload["file"])
    if payload.get("then") == "fail":
        raise KeyError("after all")


def pause(payload, ctx):
    time.sleep(payload["seconds"])


def speak(payload, ctx):
    print("a handler speaks")  # noqa: T201 - that is the point
    os.write(1, b"and writes to fd 1\n")
    subprocess.run(["echo", "and its child as well"], check=True)


def show_environment(payload, ctx):
    return [name for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC") if name in os.environ]


def garble(payload, ctx):
    os.write(int(os.environ.get("CHANNEL", sys.orig_argv[3])), b"\xff" * 64)
    time.sleep(payload.get("seconds", 0))


def send(payload, ctx):
    """Write bytes to the channel, as no worker of ours would, and then die, stop, hang or just return."""
    os.write(int(sys.orig_argv[3]), bytes.fromhex(payload["hex"]))
    then = payload.get("then")
    if then == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if then == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if then == "hang":
        hang(payload, ctx)


def close_standard(payload, ctx):
    for fd in range(3):
        os.close(fd)


def fork_background(payload, ctx):
    child = subprocess.Popen(["sleep", "600"])
    write_line("pids", str(child.pid))
    if payload.get("file"):
        wait_until(payload["file"])


def return_nan(payload, ctx):
    return math.nan


def return_object(payload, ctx):
    return object()


def return_huge(payload, ctx):
    return 2**70


def return_deep(payload, ctx):
    value = payload
    for _ in range(payload["levels"]):
        value = [value]
    return value


def return_long(payload, ctx):
    return "x" * payload.get("size", 20 << 20)


def return_large(payload, ctx):
    return {"payload": payload, "text": "x" * payload.get("size", 5000)}


def say_badly(payload, ctx):
    raise ValueError(payload["message"])


class UnspeakableError(Exception):
    def __str__(self):
        raise RuntimeError("not even this")


def raise_unspeakable(payload, ctx):
    raise UnspeakableError


def raise_surrogate(payload, ctx):
    raise ValueError("\ud800 \x1b[31m")


def raise_group(payload, ctx):
    raise ExceptionGroup("two", [ValueError("a"), KeyError("b")])


def recurse(payload, ctx):
    return recurse(payload, ctx)


def return_surrogate(payload, ctx):
    return "\ud800"


def close_all(payload, ctx):
    os.closerange(3, 256)


def change_payload(payload, ctx):
    payload["changed"] = ctx.attempt
    raise FlakyError(json.dumps(payload))


def slow_down(payload, ctx):
    """Say so once, or so many `times`; the files are this handler's memory."""
    names = [f"told-{ctx.tenant}-{number}" for number in range(payload.get("times", 1))]
    name = next((name for name in names if not os.path.exists(name)), None)
    if payload.get("tell") and name is not None:
        write_line(name, "")
        raise RateLimited("slow down", retry_after=payload["tell"])


def probed(payload, ctx):
    """Fail until a call is a probe."""
    if ctx.is_probe:
        write_line("well", "")
    elif not os.path.exists("well"):
        raise ConnectionError("down")
    return {"payload": payload, "is_probe": ctx.is_probe, "run_deadline_at": ctx.run_deadline_at}


def tell_deadline(payload, ctx):
    return {"payload": payload, "deadline_at": ctx.deadline_at}


DEEDS = {
    name: deed
    for name, deed in list(globals().items())
    if callable(deed) and getattr(deed, "__module__", None) == __name__ and not isinstance(deed, type)
}


def do(payload, ctx):
    """Do what the payload says, if it says anything, and echo it."""
    write_line("log.jsonl", json.dumps(payload))
    name = payload.get("do") if isinstance(payload, dict) else None
    returned = None
    if name is not None:
        write_line("pids", str(os.getpid()))
        returned = DEEDS[name](payload, ctx)
    return {"payload": payload} if returned is None else returned


def plain(payload):
    write_line("log.jsonl", json.dumps(payload))
    return {"payload": payload}


def no_argument():
    write_line("log.jsonl", "1")


def doomed(payload):
    """Fail and leave no trace, so that 100,000 of them are cheap."""
    raise ValueError(f"job {payload} is doomed, as all of them are")


def doomed_at_length(payload):
    raise ValueError(f"job {payload} is doomed, " + "and so " * 1000)


def other(payload):
    return "other"


@handler(max_attempts=2, backoff_base="1ms", retry_on=(ConnectionError,))
def careful(payload, ctx):
    """A policy of its own: two attempts, and only for lost connections."""
    return do(payload, ctx)


@handler(timeout="300ms", max_attempts=1)
def hasty(payload, ctx):
    return do(payload, ctx)


def tell_context(payload, ctx):
    return {"id": ctx.id, "attempt": ctx.attempt, "max_attempts": ctx.max_attempts, "tenant": ctx.tenant}


class Counter:
    def __init__(self):
        write_line("made", str(os.getpid()))
        self.count = 0

    def __enter__(self):
        write_line("entered", str(os.getpid()))
        return self

    def __exit__(self, *error):
        write_line("left", str(os.getpid()))

    def __call__(self, payload):  # noqa: ARG002
        self.count += 1
        return self.count


class Broken:
    def __init__(self):
        raise RuntimeError("no model here")


def call(payload):
    """Ask the server on the loopback; the parent's environment says where."""
    request = urllib.request.Request(f"http://127.0.0.1:{os.environ['PORT']}/{payload['n']}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return {"payload": payload, "text": answer.read().decode()}
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 500:
            os.kill(os.getpid(), signal.SIGKILL)
        if error.code == 429:
            raise RateLimited("slow down", retry_after=error.headers["Retry-After"]) from None
        raise ConnectionError(f"it says {error.code}") from None


@handler(rate="20/s")
def limited(payload):
    write_line("log.jsonl", json.dumps(payload))
    write_line("times", str(time.time()))
    return {"payload": payload}
