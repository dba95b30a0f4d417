"""Which policy holds for a job, and what a moment is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from jqcli.policy import DEFAULTS, Policy

if TYPE_CHECKING:
    from jqcli.model import Asks


class Moment(NamedTuple):
    """Now, twice: monotonic seconds, which moments of this run are in, and Unix seconds, which lines speak of."""

    monotonic: float
    unix: float
    chance: float = 0.5


class Rules:
    """Which policy holds for a job: its line, then its handler's (options are laid on that), then the defaults."""

    def __init__(self, handlers: dict[str | None, Policy]) -> None:
        self._handlers = handlers
        self._known: dict[tuple[str | None, float | None, int | None], Policy] = {}

    def of(self, handler: str | None, timeout: float | None, max_attempts: int | None) -> Policy:
        """Return the whole policy."""
        key = (handler, timeout, max_attempts)
        if key not in self._known:
            if len(self._known) > 10_000:
                self._known.clear()
            asked = Policy(timeout=timeout, max_attempts=max_attempts)
            self._known[key] = asked.over(self._handlers[handler]).over(DEFAULTS)
        return self._known[key]

    def of_job(self, asks: Asks) -> Policy:
        """Return the whole policy of one job."""
        return self.of(asks.handler, asks.timeout, asks.max_attempts)
