"""Jobs that share every limit and one breaker, and so wait for the same moment; and what a run was asked about both."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from jqcli.core.aside import Chain
from jqcli.core.codec import canonical, value_at

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from jqcli.core.batch import Pending
    from jqcli.core.breaker import Breaker, Trip
    from jqcli.core.limit import Rate
    from jqcli.model import Job

_NO_RATES: Mapping[str | None, Rate] = MappingProxyType({})
_NO_TENANTS: Mapping[str, Rate] = MappingProxyType({})


class Flow(NamedTuple):
    """What a run was asked about the flow of its jobs.

    `rate` is one limit for all jobs, or with `rate_key` (a path into the payload) one for each value; `tenant_rate` one
    for each tenant that `tenants` does not name; `handlers` those that handlers ask for. `breaker_key` is `tenant`,
    `handler` or a path, None for one breaker in all. `budget` is a share from 0 to 1, `level` the most jobs in flight
    where their number is to be found out.
    """

    rate: Rate | None = None
    rate_key: str | None = None
    tenant_rate: Rate | None = None
    tenants: Mapping[str, Rate] = _NO_TENANTS
    handlers: Mapping[str | None, Rate] = _NO_RATES
    trip: Trip | None = None
    breaker_key: str | None = None
    budget: float | None = None
    level: int | None = None

    @property
    def is_asked(self) -> bool:
        """Whether anything of it was asked for."""
        limits = self.rate or self.tenant_rate or self.tenants or self.handlers
        return bool(limits or self.trip or self.budget is not None or self.level)

    @property
    def is_keyed(self) -> bool:
        """Whether some jobs may have to wait while others go on."""
        return bool(self.tenant_rate or self.tenants or self.rate_key or (self.trip and self.breaker_key))

    def rate_of(self, key: Hashable) -> Rate | None:
        """Return the rate of a bucket by its key: what it limits, and the name."""
        assert isinstance(key, tuple)  # noqa: S101 - see `LaneKey`
        kind, name = key
        if kind == "rate":
            return self.rate
        if kind == "tenant":
            return self.tenants.get(name, self.tenant_rate)
        return self.handlers.get(name)


class LaneKey(NamedTuple):
    """What tells lanes apart: the keys of the buckets, the first of which `RateLimited` pauses, and the breaker's."""

    buckets: tuple[tuple[str, str | None], ...]
    breaker: str | None


@dataclass(slots=True)
class Row:
    """Jobs that wait one behind the other: some as objects, and behind them those of the chain, which are set aside."""

    jobs: deque[Pending] = field(default_factory=deque)
    chain: Chain = field(default_factory=Chain)

    def __len__(self) -> int:
        return len(self.jobs) + self.chain.count


@dataclass(slots=True, eq=False)
class Lane:
    """Jobs that wait: those that never ran, in order, and retries, which go first where the budget lets them.

    `shut_until` is the monotonic moment before which none of them starts, as far as that is known.
    """

    key: LaneKey
    breaker: Breaker | None
    fresh: Row = field(default_factory=Row)
    again: Row = field(default_factory=Row)
    shut_until: float = -inf

    def __len__(self) -> int:
        return len(self.fresh) + len(self.again)


def key_of(job: Job, flow: Flow) -> LaneKey:
    """Return the lane of a job."""
    asks = job.asks
    buckets: list[tuple[str, str | None]] = []
    if flow.rate_key is not None:
        buckets.append(("rate", _name_at(job, flow.rate_key)))
    if asks.tenant is not None:
        buckets.append(("tenant", str(asks.tenant)))
    buckets.append(("handler", asks.handler))
    return LaneKey(tuple(buckets), None if flow.trip is None else _breaker_name(job, flow.breaker_key))


def cost_of(pending: Pending) -> float:
    """Return what a start of this job takes out of its buckets."""
    cost = pending.job.asks.cost
    return 1.0 if cost is None else cost


def _breaker_name(job: Job, by: str | None) -> str | None:
    if by is None:
        return None
    if by == "handler":
        return job.asks.handler
    if by == "tenant":
        return None if job.asks.tenant is None else str(job.asks.tenant)
    return _name_at(job, by)


def _name_at(job: Job, path: str) -> str | None:
    """Return what stands at a path as a name; what is no text as its JSON."""
    found = value_at(job.payload, path)
    return found if found is None or isinstance(found, str) else canonical(found).decode(errors="replace")
