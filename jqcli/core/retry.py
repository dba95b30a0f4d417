"""What becomes of a job whose attempt failed. Law 4: every failure, of whatever kind, passes `decide`.

tenacity's strategies are the calculators: its stop says whether attempts are left, its retry whether the error is
worth another, its wait how long the backoff may be. Nobody sleeps: the answer is a number of seconds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jqcli.core.batch import Pending
    from jqcli.model import Failure
    from jqcli.policy import Policy


_MIN_SNOOZE = 0.01  # seconds: a snooze costs no attempt, so without a pause it would spin for ever


class Again(NamedTuple):
    """Try again after so many seconds."""

    after: float


class Dead(NamedTuple):
    """Never again in this run; `reason` as letters say it."""

    reason: str


Decision = Again | Dead


class AttemptError(Exception):
    """Carries a failure through tenacity, whose strategies look at exceptions."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class _State:
    """What tenacity's strategies look at. Its own class makes a future with locks for each failure, 5 µs."""

    __slots__ = ("_error", "attempt_number")
    failed = True

    def __init__(self, attempt: int, failure: Failure) -> None:
        self.attempt_number = attempt
        self._error = AttemptError(failure)

    @property
    def outcome(self) -> _State:
        """Return what stands for the future."""
        return self

    def exception(self) -> AttemptError:
        """Return the error, as a future does."""
        return self._error


class _Strategies(NamedTuple):
    stop: Any
    retry: Any
    wait: Any


def decide(pending: Pending, failure: Failure, policy: Policy, chance: float) -> Decision:  # noqa: PLR0911 - a table
    """Decide about a job whose attempt was just charged; `chance` in [0, 1) is the jitter's die.

    `policy` is whole: defaults are in it. A job's errors and its crashes are limited each on their own.
    """
    strategies = _strategies(policy)
    if failure.verdict == "crash":
        if pending.crashes >= (policy.max_crashes or 1):
            return Dead("worker_crash")
        return Again(_backoff(strategies, policy, pending.crashes, failure, chance))
    if failure.verdict == "snooze":
        return Again(max(failure.after if failure.after is not None else policy.backoff_base or 0.0, _MIN_SNOOZE))
    if failure.verdict == "unserializable":
        return Dead("unserializable_result")
    if failure.verdict == "reject" or matches(failure.names, policy.reject_on or ()):
        return Dead("rejected")
    attempt = pending.attempts - pending.crashes
    state = _State(attempt, failure)
    if failure.verdict != "retry" and not strategies.retry(state):
        return Dead("not_retryable")
    if strategies.stop(state):
        return Dead("timeout" if failure.verdict == "timeout" else "max_attempts")
    if failure.verdict == "retry" and failure.after is not None:
        return Again(failure.after)
    return Again(_backoff(strategies, policy, attempt, failure, chance))


def matches(names: Sequence[str], wanted: Sequence[str]) -> bool:
    """Tell whether any of an error's dotted names is wanted, by its bare or its dotted name.

    >>> matches(("builtins.KeyError", "builtins.LookupError"), ("LookupError",))
    True
    >>> matches(("mine.KeyError",), ("builtins.KeyError",))
    False
    """
    if not wanted:
        return False
    known = set(names) | {name.rpartition(".")[2] for name in names}
    return not known.isdisjoint(wanted)


def _backoff(strategies: _Strategies, policy: Policy, attempt: int, failure: Failure, chance: float) -> float:
    """Return the wait before the next attempt; full jitter is a share of the exponential one, drawn evenly."""
    wait = float(strategies.wait(_State(attempt, failure)))
    return wait * chance if policy.backoff == "full-jitter" else wait


@lru_cache(maxsize=64)
def _strategies(policy: Policy) -> _Strategies:
    import tenacity  # noqa: PLC0415 - costs 40 ms with its asyncio; a run without failures needs none of it

    def is_worth_it(error: BaseException) -> bool:
        assert isinstance(error, AttemptError)  # noqa: S101 - see `_State`
        if policy.retry_on is None:
            return error.failure.is_exception
        return matches(error.failure.names, policy.retry_on)

    base, most = policy.backoff_base or 0.0, policy.backoff_max or 0.0
    return _Strategies(
        stop=tenacity.stop_after_attempt(policy.max_attempts or 1),
        retry=tenacity.retry_if_exception(is_worth_it),
        wait=(
            tenacity.wait_fixed(min(base, most))
            if policy.backoff == "fixed"
            else tenacity.wait_exponential(multiplier=base, max=most if base else 0.0)  # 0 overflows to max too
        ),
    )
