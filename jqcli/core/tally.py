"""Counts everything that happens in a run, once; every number that anybody sees comes from here."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from math import exp, inf, log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jqcli.core.census import Share

# Latencies are kept in buckets whose borders grow by 5 %, so a percentile is off by 2.5 % at most.
_GROWTH = log(1.05)
_FLOOR_US = 1.0
# Seconds; three to a decade, from the shortest job that is worth a number to an hour.
BORDERS = (
    *(1e-05, 2.5e-05, 5e-05, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, inf),
)
_MASK = re.compile(
    r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"
    r"|0x[0-9a-fA-F]+|\b[0-9a-fA-F]{8,}\b"
    r"|\b(?=[^\W\d]*\d\w*\d)\w{16,}\b"  # ids as of ULID, Stripe or MongoDB: long, with digits between letters
    r"|'[^']*'|\"[^\"]*\"|(?:/[\w.\-]+)+|\d+(?:\.\d+)?"
)
_RATE_WINDOW = 5.0
_MAX_GROUPS = 200


@dataclass(slots=True)
class ErrorGroup:
    """Failures that look alike: same reason, same type, same message once numbers and names are masked."""

    fingerprint: str
    reason: str
    type: str
    message: str
    count: int
    sample_id: str | int


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker as the live table shows it. `age` is seconds since its job started, None when idle."""

    number: int
    pid: int
    state: str
    job: str
    age: float | None
    done: int
    restarts: int


@dataclass(frozen=True, slots=True)
class Parked:
    """A breaker that is open: its key (None: all jobs), the jobs that it holds, and the seconds to its next probe."""

    key: str | None
    jobs: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FlowState:
    """What limits, breakers, the retry budget, the level and the deadline do to a run at one moment.

    `throttled` jobs wait for a rate, `parked` ones for a breaker, `delayed` retries for the budget; `aside` of them,
    and of those that wait for a moment, are set aside; `open` breakers let nothing or one probe through, and `keys` are
    those with most jobs. `trips`, `probes` and `pauses` (answers of `RateLimited`) are counts; `budget` is how many
    retries may start at once, `level` how many jobs may run at once, None where that is not limited or fixed.
    `deadline` is in so many seconds; `not_admitted` are the lines read that did not start because of it. `lanes` are
    jobs that wait, by what limits them, and `breakers` whether each is open (1) or not (0); where there are very many
    names, most share a number.
    """

    throttled: int = 0
    parked: int = 0
    delayed: int = 0
    open: int = 0
    trips: int = 0
    probes: int = 0
    pauses: int = 0
    level: int | None = None
    budget: int | None = None
    aside: int = 0
    keys: tuple[Parked, ...] = ()
    deadline: float | None = None
    not_admitted: int | None = None
    lanes: tuple[Share, ...] = ()
    breakers: tuple[Share, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that can be shown of a run at one moment; times in seconds, rates in jobs/s.

    `errors` are the largest of `error_groups`, `busy` is the sum of all attempts' durations, `histogram` how many took
    no longer than each border; `bars` makes more of them out of `latencies`. `dead_before` are those of `dead` that
    earlier runs left, `cause` is why a run stopped before its end. `letters` are those dead letters that are this run's
    concern: of its input, or in a redrive all that its DLQ holds; `has_letters` tells whether the DLQ holds any at all.
    """

    elapsed: float
    read: int
    completed: int
    duplicate: int
    skipped: int
    dead: int
    unfinished: int
    settled_before: int
    attempts: int
    retries: int
    crashes: int
    timeouts: int
    waiting: int
    in_flight: int
    rate: float
    mean_rate: float
    fraction: float | None
    eta: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    workers: tuple[WorkerRow, ...]
    errors: tuple[ErrorGroup, ...]
    state: str
    flow: FlowState | None = None
    busy: float = 0.0
    error_groups: int = 0
    histogram: tuple[tuple[float, int], ...] = ()
    latencies: Mapping[int, int] = field(default_factory=dict)
    dead_before: int = 0
    cause: str = ""
    letters: int = 0
    has_letters: bool = False


@dataclass(slots=True)
class Tally:
    """The counts of one run. Law 1: read = completed + duplicate + skipped + dead + unfinished.

    `redriven` are the letters of the DLQ that a redrive takes its lines from, 0 where lines come from inputs;
    `has_letters_before` tells whether the DLQ of such a run held letters, of whatever input.
    """

    read: int = 0
    completed: int = 0
    duplicate: int = 0
    skipped: int = 0
    dead: int = 0
    settled_before: int = 0
    dead_before: int = 0
    redriven: int = 0
    has_letters_before: bool = False
    attempts: int = 0
    retries: int = 0
    crashes: int = 0
    timeouts: int = 0
    busy: float = 0.0
    groups: dict[str, ErrorGroup] = field(default_factory=dict)
    _latency: dict[int, int] = field(default_factory=dict)
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def settled(self) -> int:
        """Lines that have their record."""
        return self.completed + self.duplicate + self.skipped + self.dead

    @property
    def unfinished(self) -> int:
        """Lines read that have no record yet."""
        return self.read - self.settled

    @property
    def letters(self) -> int:
        """Dead letters of the input, or those that a redrive leaves in its DLQ: all that did not end otherwise."""
        return self.redriven - (self.settled - self.dead) if self.redriven else self.dead

    def count_dead(self, reason: str, kind: str, message: str, sample_id: str | int) -> None:
        """Count one dead letter and put it into its group of errors."""
        self.dead += 1
        self.count_error(reason, kind, message, sample_id)

    def count_error(self, reason: str, kind: str, message: str, sample_id: str | int) -> None:
        """Add one failure to its group; past 200 groups the rest share one, so memory stays bounded."""
        print_ = fingerprint(kind, message)
        key = f"{reason}\0{print_}"
        group = self.groups.get(key)
        if group is None and len(self.groups) >= _MAX_GROUPS:
            key, print_, kind, message = f"{reason}\0", "other", "jqcli.other", "(errors of further groups)"
            group = self.groups.get(key)
        if group is None:
            self.groups[key] = ErrorGroup(print_, reason, kind, message[:300], 1, sample_id)
        else:
            group.count += 1

    def count_latency(self, microseconds: int, count: int = 1) -> None:
        """Add `count` attempts that took this long."""
        bucket = int(log(max(microseconds, _FLOOR_US)) / _GROWTH)
        self._latency[bucket] = self._latency.get(bucket, 0) + count
        self.busy += microseconds * count / 1e6

    def percentiles(self) -> tuple[float | None, float | None, float | None]:
        """Return p50, p95 and p99 of attempt durations in seconds; None before the first attempt."""
        total = sum(self._latency.values())
        if not total:
            return (None, None, None)
        found: list[float | None] = []
        wanted = [total * share for share in (0.50, 0.95, 0.99)]
        seen = 0
        for bucket in sorted(self._latency):
            seen += self._latency[bucket]
            while len(found) < 3 and seen >= wanted[len(found)]:
                found.append(exp((bucket + 0.5) * _GROWTH) / 1e6)
        return (found[0], found[1], found[2])

    def histogram(self) -> tuple[tuple[float, int], ...]:
        """Return each border in seconds with how many attempts took no longer; the last border is infinite."""
        left = sorted((exp((bucket + 0.5) * _GROWTH) / 1e6, count) for bucket, count in self._latency.items())
        found: list[tuple[float, int]] = []
        seen = at = 0
        for border in BORDERS:
            while at < len(left) and left[at][0] <= border:
                seen += left[at][1]
                at += 1
            found.append((border, seen))
        return tuple(found)

    def latencies(self) -> dict[int, int]:
        """Return how many attempts fell into each bucket, for `bars`."""
        return dict(self._latency)

    def mark(self, now: float) -> None:
        """Remember how far the run is at this moment (monotonic seconds), for the recent rate."""
        self._marks.append((now, self.settled - self.settled_before))
        while len(self._marks) > 2 and now - self._marks[0][0] > _RATE_WINDOW:
            self._marks.popleft()

    def rate(self) -> float:
        """Return the jobs settled per second over the last few seconds."""
        if len(self._marks) < 2:
            return 0.0
        (t0, n0), (t1, n1) = self._marks[0], self._marks[-1]
        return (n1 - n0) / (t1 - t0) if t1 > t0 else 0.0

    def top_errors(self, most: int) -> tuple[ErrorGroup, ...]:
        """Return the largest groups of errors."""
        return tuple(sorted(self.groups.values(), key=lambda g: -g.count)[:most])


def bars(latencies: Mapping[int, int], most: int) -> list[tuple[float, float, int]]:
    """Return at most so many bars of equal width on a logarithmic axis: from, to (seconds), and how many attempts.

    >>> bars({0: 2, 1: 1, 3: 5}, 2)
    [(1e-06, 1.1025e-06, 3), (1.1025e-06, 1.21550625e-06, 5)]
    """
    if not latencies:
        return []
    first, last = min(latencies), max(latencies)
    step = -(-(last - first + 1) // most)
    counts = [0] * ((last - first) // step + 1)
    for bucket, count in latencies.items():
        counts[(bucket - first) // step] += count
    borders = [float(f"{exp((first + step * place) * _GROWTH) / 1e6:.12g}") for place in range(len(counts) + 1)]
    return list(zip(borders, borders[1:], counts, strict=False))


@lru_cache(maxsize=1000)
def fingerprint(kind: str, message: str) -> str:
    """Return type plus message with numbers, ids, quoted text and paths masked.

    >>> fingerprint("builtins.KeyError", "no user 'anna' in /srv/db/7 (id 9f0c11aa22, 14 tried)")
    'KeyError: no user * in * (id *, * tried)'
    """
    return f"{kind.rpartition('.')[2]}: {_MASK.sub('*', message[:1000])[:160]}"
