"""The handlers that are measured: one that does nothing, and one that computes for a while."""

import os

LOOPS = int(os.environ.get("BENCH_LOOPS", "0"))


def noop(payload):
    return None


def busy(payload):
    """Count to BENCH_LOOPS: work, not a wait for the clock, so that a stolen core shows."""
    left = LOOPS
    while left:
        left -= 1
