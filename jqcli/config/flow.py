"""What the options and the file say about limits, breaker, budget, level and deadline."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from jqcli import value as v
from jqcli.config.given import Given, pick
from jqcli.config.option import BREAKER_ACTIONS
from jqcli.core.breaker import Trip
from jqcli.core.lane import Flow
from jqcli.core.limit import Rate
from jqcli.core.stop import LEAST_SEEN, Tolerance
from jqcli.errors import UsageError
from jqcli.quantity import parse_share

if TYPE_CHECKING:
    from collections.abc import Mapping

TENANT_NAMES = ("rate", "burst")

_NEEDS = {  # what an option is of no use without: one of these, or a table of tenants for the burst
    "burst": ("rate", "tenant_rate"),
    "rate_key": ("rate",),
    "breaker_key": ("breaker",),
    "breaker_action": ("breaker",),
}
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_DAY = 86400.0
_GIBIBYTE = 2**30


class Deadline(NamedTuple):
    """When a run should be over: so many seconds after its start, or at the next time of day (local)."""

    seconds: float
    clock: tuple[int, int] | None = None

    def moment(self, start: float) -> float:
        """Return the moment for a run that starts then, both in Unix seconds."""
        if self.clock is None:
            return start + self.seconds
        today = time.localtime(start)
        hour, minute = self.clock
        days = (today.tm_mday, today.tm_mday + 1)  # mktime knows months and changes of the clock
        moments = [time.mktime((today.tm_year, today.tm_mon, day, hour, minute, 0, 0, 0, -1)) for day in days]
        return next(moment for moment in moments if moment > start)


def read_flow(given: Mapping[str, Given], tenants: Mapping[str, Rate]) -> dict[str, Any]:
    """Return the settings of the flow; raises UsageError for an option that another one is missing for."""
    for name, needed in _NEEDS.items():
        if name in given and not any(other in given for other in needed) and not (name == "burst" and tenants):
            options = " or ".join(f"--{other.replace('_', '-')}" for other in needed)
            raise UsageError(f"{given[name].where}: says nothing without {options}")
    burst = pick(given, "burst", v.whole(1), None)
    trip = pick(given, "breaker", read_trip, None)
    flow = Flow(
        rate=_rate_of(pick(given, "rate", v.rate, None), burst),
        rate_key=pick(given, "rate_key", v.dotted_path, None),
        tenant_rate=_rate_of(pick(given, "tenant_rate", v.rate, None), burst),
        tenants={name: rate if rate.burst else Rate(rate.per_second, burst) for name, rate in tenants.items()},
        trip=trip,
        breaker_key=pick(given, "breaker_key", v.dotted_path, None),
        budget=pick(given, "retry_budget", v.percent, None),
    )
    deadline = pick(given, "deadline", read_deadline, None)
    return {
        "flow": flow,
        "max_failures": pick(given, "max_failures", read_tolerance, None),
        "breaker_action": pick(given, "breaker_action", v.choice(*BREAKER_ACTIONS), "park"),
        "deadline_at": None if deadline is None else deadline.moment(time.time()),
        "adaptive": pick(given, "adaptive", v.flag, default=False),
        "spill": pick(given, "spill", v.size_or_off, _GIBIBYTE),
    }


def read_trip(value: object) -> Trip:
    """Return when a breaker opens.

    >>> read_trip("50%/30s")
    Trip(share=0.5, window=30.0, least=10)
    """
    share, slash, window = str(value).partition("/")
    try:
        if slash:
            return Trip(v.percent(share.strip()), v.some_seconds(window.strip()))
    except ValueError:
        pass
    raise ValueError(f"{value!r} is not a share of failures in a time; write 50%/30s")


def read_tolerance(value: object) -> Tolerance | None:
    """Return at how many dead lines a run stops, None for `off`.

    >>> read_tolerance("5%/1000"), read_tolerance(3)
    (Tolerance(most=0, share=0.05, least=1000), Tolerance(most=3, share=None, least=100))
    """
    if value == "off":
        return None
    body, slash, least = str(value).partition("/")
    try:
        if isinstance(value, (int, str)) and not isinstance(value, bool):
            number, is_percent = parse_share(body)
            if not is_percent and not slash:
                return Tolerance(int(number))
            if is_percent:
                return Tolerance(share=number / 100, least=v.whole(1)(least) if slash else LEAST_SEEN)
    except ValueError:
        pass
    raise ValueError(
        f"{value!r} is not a limit of failures; write a whole number, a percentage such as 5%, or one of at least so "
        "many settled lines such as 5%/1000"
    )


def read_deadline(value: object) -> Deadline:
    """Return a deadline.

    >>> read_deadline("06:00").clock, read_deadline("4h").seconds
    ((6, 0), 14400.0)
    """
    match = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is not None:
        return Deadline(_DAY, (int(match[1]), int(match[2])))
    try:
        return Deadline(v.some_seconds(value))
    except ValueError:
        raise ValueError(f"{value!r} is neither a time of day nor a duration; write 06:00 or 4h") from None


def read_tenant(given: Mapping[str, Given]) -> Rate:
    """Return what the table of a tenant says."""
    return Rate(given["rate"].read(v.rate), pick(given, "burst", v.whole(1), None))


def _rate_of(per_second: float | None, burst: float | None) -> Rate | None:
    return None if per_second is None else Rate(per_second, burst)
