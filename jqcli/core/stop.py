"""Why a run gives up before its end: a text for people, None where it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from jqcli.quantity import format_duration

if TYPE_CHECKING:
    from jqcli.core.gate import Gate

LEAST_SEEN = 100  # settled lines before a share of failures means anything, where nothing is said

_EXACT = 1e-9  # of a line, which rounding may take


class Tolerance(NamedTuple):
    """At how many dead lines a run stops: a number, or a share (0 to 1) of at least so many settled lines.

    Where none is tolerated, the first one stops the run, however few were seen.
    """

    most: int = 0
    share: float | None = None
    least: int = LEAST_SEEN

    def is_over(self, dead: int, settled: int) -> bool:
        """Tell whether so many dead ones of so many settled lines are too many.

        >>> tolerance = Tolerance(share=0.05, least=100)
        >>> tolerance.is_over(4, 99), tolerance.is_over(5, 100), tolerance.is_over(5, 101)
        (False, True, False)
        >>> three, none = Tolerance(3), Tolerance(0)
        >>> three.is_over(2, 2), three.is_over(3, 3), none.is_over(0, 9), none.is_over(1, 9)
        (False, True, False, True)
        """
        if not dead or not (self.most or self.share):
            return dead > 0
        if self.share is None:
            return dead >= self.most
        return settled >= self.least and dead >= self.share * settled - _EXACT

    def __str__(self) -> str:
        """Return it as the option says it.

        >>> print(Tolerance(3), Tolerance(share=0.025, least=100), Tolerance(share=0.07, least=9), Tolerance(share=0))
        3 2.5% 7%/9 0%
        """
        if self.share is None:
            return str(self.most)
        least = "" if self.least == LEAST_SEEN or not self.share else f"/{self.least}"
        return f"{self.share * 100:g}%{least}"


def too_many_dead(tolerance: Tolerance | None, dead: int, settled: int) -> str | None:
    """Tell of too many dead lines among the settled ones.

    >>> too_many_dead(Tolerance(share=0.05), 4, 99), too_many_dead(Tolerance(share=0.05), 5, 100)
    (None, '5 of 100 jobs are dead, and --max-failures is 5%')
    """
    if tolerance is None or not tolerance.is_over(dead, settled):
        return None
    seen = f"{dead} of {settled} jobs" if tolerance.share else "1 job" if dead == 1 else f"{dead} jobs"
    return f"{seen} {'is' if dead == 1 else 'are'} dead, and --max-failures is {tolerance}"


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
