"""The metrics of a run in the text format of Prometheus: in a file for a collector of text files, or to be scraped.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import os
import re
import time
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from jqcli.core.census import NAMED
from jqcli.edge.whole import replace_file
from jqcli.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jqcli.core.census import Share
    from jqcli.core.tally import FlowState, Snapshot

    _Sample = tuple[str, Mapping[str, str], float]

_FEW = f"the first {NAMED} by name, others as rest"
_OUTCOMES = ("completed", "duplicate", "skipped", "dead")
_STATES = ("starting", "running", "idle")
_MOST_BYTES = 1 << 20
_LAST = re.compile(r"^jqcli_last_(run|success|exit)_\w+(?:\{[^\n]*\})? ([0-9.e+]+)$", re.MULTILINE)


class Last(NamedTuple):
    """How the last run ended, and when, and when one ended well; Unix seconds, None where there was none."""

    run: float | None = None
    success: float | None = None
    exit: float | None = None

    def then(self, exit_code: int, now: float) -> Last:
        """Return what holds after a run that ended now."""
        return Last(now, now if exit_code == 0 else self.success, exit_code)


class _Family(NamedTuple):
    """One metric: its name, type and help, and (suffix, labels, value) of each sample."""

    name: str
    kind: str
    help: str
    samples: list[_Sample]


def expose(snapshot: Snapshot, last: Last, labels: Mapping[str, str], *, is_running: bool) -> bytes:
    """Return all metrics of a run at one moment; every sample carries `labels`."""
    lines: list[str] = []
    for family in _families(snapshot, last, is_running=is_running):
        lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}"]
        lines += [
            f"{family.name}{suffix}{_braces({**labels, **own})} {_number(value)}"
            for suffix, own, value in family.samples
        ]
    return ("\n".join(lines) + "\n").encode()


def _families(snapshot: Snapshot, last: Last, *, is_running: bool) -> Iterable[_Family]:
    outcomes = _by("outcome", ((name, getattr(snapshot, name)) for name in _OUTCOMES))
    yield _Family("jqcli_jobs_total", "counter", "Lines settled, earlier runs' included, by outcome.", outcomes)
    for name, text in (
        ("read", "Lines read."),
        ("attempts", "Attempts made and charged."),
        ("retries", "Attempts that were followed by another."),
        ("crashes", "Attempts that ended their worker."),
        ("timeouts", "Attempts that ran out of time."),
    ):
        full = f"jqcli_{'lines_read' if name == 'read' else name}_total"
        yield _Family(full, "counter", text, [("", {}, getattr(snapshot, name))])
    for name, text, value in (
        ("settled_before_jobs", "Lines that earlier runs had settled.", snapshot.settled_before),
        ("queue_jobs", "Lines read and not settled.", snapshot.unfinished),
        ("in_flight_jobs", "Jobs that are with the workers.", snapshot.in_flight),
        ("waiting_jobs", "Jobs that wait for a moment, such as a retry.", snapshot.waiting),
        ("dlq_letters", "Dead letters of this input, earlier runs' included, or of a redrive's DLQ.", snapshot.letters),
        ("running", "1 while the run runs, else 0.", int(is_running)),
    ):
        yield _Family(f"jqcli_{name}", "gauge", text, [("", {}, value)])
    if snapshot.flow is not None:
        yield from _flow_families(snapshot.flow)
    states = [row.state for row in snapshot.workers]
    workers = _by("state", ((state, states.count(state)) for state in (*_STATES, *(set(states) - set(_STATES)))))
    yield _Family("jqcli_workers", "gauge", "Worker processes by state.", workers)
    yield _histogram(snapshot)
    yield from _endings(last)


def _flow_families(flow: FlowState) -> Iterable[_Family]:
    held = (("rate", flow.throttled), ("breaker", flow.parked), ("retry_budget", flow.delayed))
    yield _Family("jqcli_held_jobs", "gauge", "Waiting jobs by what holds them.", _by("by", held))
    yield _Family("jqcli_lane_jobs", "gauge", f"Jobs behind each limit; {_FEW}.", _shares(flow.lanes))
    yield _Family("jqcli_breaker_open", "gauge", f"1 while a breaker is open; {_FEW}.", _shares(flow.breakers))
    for name, kind, text, value in (
        ("breaker_trips_total", "counter", "How often breakers opened.", flow.trips),
        ("breaker_probes_total", "counter", "Attempts that were probes of an open breaker.", flow.probes),
        ("rate_limited_total", "counter", "Attempts that were told to slow down.", flow.pauses),
        ("set_aside_jobs", "gauge", "Waiting jobs that are set aside in a file.", flow.aside),
        ("level_jobs", "gauge", "How many jobs --adaptive lets run at once.", flow.level),
        ("retry_budget_left", "gauge", "Retries that the budget lets start at once.", flow.budget),
    ):
        if value is not None:
            yield _Family(f"jqcli_{name}", kind, text, [("", {}, value)])


def _by(label: str, counts: Iterable[tuple[str, float]]) -> list[_Sample]:
    return [("", {label: name}, count) for name, count in counts]


def _shares(shares: Iterable[Share]) -> list[_Sample]:
    return [("", {"kind": share.kind, "of": printable(share.name)}, share.count) for share in shares]


def _histogram(snapshot: Snapshot) -> _Family:
    buckets: list[_Sample] = [("_bucket", {"le": _number(border)}, count) for border, count in snapshot.histogram]
    total = snapshot.histogram[-1][1] if snapshot.histogram else 0
    rest: list[_Sample] = [("_sum", {}, snapshot.busy), ("_count", {}, total)]
    text = "How long attempts took; borders are kept to 2.5 %."
    return _Family("jqcli_attempt_duration_seconds", "histogram", text, buckets + rest)


def _endings(last: Last) -> Iterable[_Family]:
    for name, text, value in (
        ("last_run_timestamp_seconds", "When a run ended last.", last.run),
        ("last_success_timestamp_seconds", "When a run ended last with exit code 0.", last.success),
        ("last_exit_code", "The exit code of the last run that ended.", last.exit),
    ):
        if value is not None:
            yield _Family(f"jqcli_{name}", "gauge", text, [("", {}, value)])


def _braces(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escape(value: str) -> str:
    r"""Return a label's value as the format wants it.

    >>> _escape('a"b\\c')
    'a\\"b\\\\c'
    """
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    """Return a number as the format has it.

    >>> [_number(value) for value in (3, 0.25, 1e-05, inf)]
    ['3', '0.25', '1e-05', '+Inf']
    """
    return "+Inf" if value == inf else repr(value)


class MetricsFile:
    """Writes the metrics at the beginning, every 15 s and at the end.

    The label `name`, the file's name without its suffix, keeps several runs apart whose files one collector reads.
    What the file says of the last run that ended is kept until this one ends.
    """

    interval = 15.0

    def __init__(self, path: str, say: Callable[[str], None]) -> None:
        self._path = path
        self._say = say
        self._labels = {"name": printable(os.path.basename(path).removesuffix(".prom"))}
        self._last = _read_last(path)

    def update(self, snapshot: Snapshot) -> None:
        """Write this moment."""
        self._write(expose(snapshot, self._last, self._labels, is_running=True))

    def end(self, snapshot: Snapshot, exit_code: int) -> None:
        """Write how the run ended."""
        self._last = self._last.then(exit_code, time.time())
        self._write(expose(snapshot, self._last, self._labels, is_running=False))

    def _write(self, data: bytes) -> None:
        """Write the file; one that cannot be written is said once and costs the run nothing else."""
        if self.interval == inf:
            return
        try:
            replace_file(self._path, data)
        except OSError as error:
            self.interval = inf
            self._say(f"{self._path}: the metrics cannot be written any more: {error.strerror}")


def _read_last(path: str) -> Last:
    """Return what an earlier run's file says of its end."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = dict(_LAST.findall(file.read(_MOST_BYTES)))
        return Last(**{name: float(value) for name, value in found.items()})
    except (OSError, ValueError):
        return Last()
