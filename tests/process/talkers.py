"""Handlers that print and log in every way; `talk` does what its payload says."""

import ctypes
import faulthandler
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

bank = logging.getLogger("shop.bank")


def say(payload, ctx):
    print("said", ctx.id, ctx.key, ctx.attempt)
    if ctx.attempt <= payload.get("fails", 0):
        raise ValueError("not yet")


def say_lines(payload, ctx):
    print("first\nsecond\n\nfourth")
    print("on stderr", file=sys.stderr)


def say_parts(payload, ctx):
    print("one", end=" ")
    print("two", end=" ", flush=True)
    print("three")
    print("without an end", end="")


def say_bytes(payload, ctx):
    sys.stdout.buffer.write(b"\xff\x00\x1b[2J\n")


def log(payload, ctx):
    bank.debug("not wanted")
    bank.info("calling %s", "bank")
    ctx.log.warning("slow")
    try:
        {}["balance"]
    except KeyError:
        bank.exception("failed")


def call(payload, ctx):
    subprocess.run(["sh", "-c", f"echo raw {ctx.id}; echo its error >&2"], check=True)
    wait_for_log(payload, ctx)


def wait_for_log(payload, ctx):
    """Go on when it has arrived, so that no other job runs by then."""
    deadline = time.monotonic() + 50
    while f"raw {ctx.id}" not in Path("run.log").read_text() and time.monotonic() < deadline:
        time.sleep(0.002)


def crash(payload, ctx):
    print("last words")
    print("no end", end="", flush=True)
    faulthandler.enable()
    ctypes.string_at(0)


def flood(payload, ctx):
    for number in range(payload["lines"]):
        print("line", number)


def say_long(payload, ctx):
    print("漢" * payload["size"])


def fork(payload, ctx):
    pid = os.fork()
    if not pid:
        print("from a fork", flush=True)
        os._exit(0)
    os.waitpid(pid, 0)


def thread(payload, ctx):
    one = threading.Thread(target=print, args=("from a thread",))
    one.start()
    one.join()


def say_and_return(payload, ctx):
    print("n", payload["n"])
    return "x" * payload["size"]


def shut(payload, ctx):
    os.close(1)
    os.close(2)
    print("still heard")


def talk(payload, ctx):
    return globals()[payload["do"]](payload, ctx) or payload["do"]


class Leaver:
    """Says much when it is left."""

    def __call__(self, payload):
        return payload

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for number in range(20_000):
            print("leaving", number)


class SlowLeaver(Leaver):
    """Takes three seconds to say a little when it is left."""

    def __exit__(self, *error):
        for number in range(15):
            time.sleep(0.2)
            print("leaving", number)
