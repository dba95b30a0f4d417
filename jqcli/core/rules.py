"""Which policy holds for a job, and what a moment is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from jqcli.policy import DEFAULTS, Policy

if TYPE_CHECKING:
    from jqcli.core.effect import Limits
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

    def consider(self, index: int, asks: dict[str, Any], limits: Limits, now: Moment) -> set[int]:
        """Note the timeout that a line asks for; return its index where it may not start now."""
        if "timeout" in asks or "handler" in asks:
            limits.by_index[index] = self.of(asks.get("handler"), asks.get("timeout"), None).timeout
        is_held = asks.get("not_before", 0.0) > now.unix or asks.get("expires", now.unix + 1) <= now.unix
        return {index} if is_held else set()

    def of_job(self, asks: Asks) -> Policy:
        """Return the whole policy of one job."""
        return self.of(asks.handler, asks.timeout, asks.max_attempts)
