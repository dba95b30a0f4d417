"""The handlers that are measured: one that does nothing, one that computes for a while, and one that waits."""

import os
import time

LOOPS = int(os.environ.get("BENCH_LOOPS", "0"))


def noop(payload):
    return None


def busy(payload):
    """Count to BENCH_LOOPS: work, not a wait for the clock, so that a stolen core shows."""
    left = LOOPS
    while left:
        left -= 1


def pause(payload):
    """Wait 2 ms, as for a request."""
    time.sleep(0.002)
