"""Why a run gives up before its end: a text for people, None where it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jqcli.quantity import format_duration

if TYPE_CHECKING:
    from jqcli.core.gate import Gate

_MIN_SEEN = 100  # settled lines before a share of failures means anything


def too_many_dead(limit: tuple[float, bool] | None, dead: int, settled: int) -> str | None:
    """Tell of too many dead jobs; `limit` is a number, and whether it is a percentage.

    >>> too_many_dead((5.0, True), 4, 99), too_many_dead((5.0, True), 5, 100)
    (None, '5 of 100 jobs are dead, and --max-failures is 5%')
    """
    if limit is None:
        return None
    most, is_share = limit
    if is_share:
        is_over = settled >= _MIN_SEEN and dead * 100 >= most * settled
        return f"{dead} of {settled} jobs are dead, and --max-failures is {most:g}%" if is_over else None
    return f"{dead} jobs are dead, and --max-failures is {most:g}" if dead >= most else None


def no_use(gate: Gate, *, stops_at_trip: bool) -> str | None:
    """Tell that what the jobs call is down, where that is a reason to stop."""
    if gate.tripped is not None and stops_at_trip:
        return f"the circuit breaker of {gate.tripped} opened, and --breaker-action is stop"
    if gate.is_stuck:
        return "open circuit breakers hold what is left, and for an hour no probe has succeeded"
    return None


def too_late(left: float, p95: float) -> str | None:
    """Tell that a job, which takes so many seconds, would not end in the seconds that are left.

    >>> too_late(60.0, 2.0), too_late(1.0, 2.0), too_late(-1.0, 2.0)
    (None, 'the deadline is in 1.0 s, and a job takes 2.0 s (p95)', 'the deadline has come')
    """
    if left > p95:
        return None
    if left <= 0:
        return "the deadline has come"
    return f"the deadline is in {format_duration(left)}, and a job takes {format_duration(p95)} (p95)"
