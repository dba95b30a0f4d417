"""The parts of a report, each of which is left out where there is nothing to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jqcli.core.course import MOST_ATTEMPTS
from jqcli.core.letter import NO_JOB
from jqcli.core.tally import bars
from jqcli.edge.report.chart import (
    Layer,
    area_chart,
    axis_chart,
    histogram_chart,
    lane_chart,
    share_chart,
    show_seconds,
)
from jqcli.edge.report.markup import Markup, tag, text
from jqcli.edge.text import describe_error, describe_flow, shell_line, show_percent, show_rate
from jqcli.errors import printable
from jqcli.quantity import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jqcli.core.course import Course, Lane
    from jqcli.core.tally import ErrorGroup, Snapshot

OUTCOMES = ("completed", "duplicate", "skipped", "dead", "unfinished")
_MOST_BARS = 60
_FEWEST = 4  # buckets that make a chart over time
_MOST_NAME = 120


def outcomes(snapshot: Snapshot) -> Markup:
    """Return what became of the lines."""
    counts = [(name, getattr(snapshot, name)) for name in OUTCOMES]
    counts = [(name, count) for name, count in counts if count or name in ("completed", "dead")]
    shares = [(name, count / snapshot.read) for name, count in counts if snapshot.read]
    label = ", ".join(f"{count:,} {name}" for name, count in counts)
    tiles = [
        tag(
            "li",
            tag("b", f"{count:,}"),
            tag("span", _swatch(name), name, f" · {_share(share)}" if 0 < share < 1 else None),
            data_count=name,
        )
        for name, count in counts
        for share in (count / snapshot.read if snapshot.read else 0,)
    ]
    before = f" ({snapshot.settled_before:,} settled before)" if snapshot.settled_before else ""
    tiles.append(tag("li", tag("b", f"{snapshot.read:,}"), tag("span", f"lines read{before}")))
    bar = tag("div", share_chart(shares, label), class_="bar-frame") if shares else tag("p")
    return tag("section", tag("h2", "Outcomes"), bar, tag("ul", *tiles, class_="tiles"))


def throughput(snapshot: Snapshot, course: Course) -> Markup | None:
    """Return how many lines were settled over time."""
    width = course.timeline.width
    if snapshot.read == snapshot.settled_before or course.elapsed < _FEWEST * width:
        return None
    rates = [count / width for count in _used(course, course.settled.values)]
    if rates:  # the last bucket has not run its whole time
        rates[-1] = course.settled.values[len(rates) - 1] / max(course.elapsed - (len(rates) - 1) * width, width / 4)
    dead = [count / width for count in _used(course, course.dead.values)]
    rate = show_rate(snapshot.mean_rate)
    chart = area_chart(
        [Layer("settled", rates), Layer("dead", dead)],
        course.elapsed / width,
        course.elapsed,
        _rate,
        f"lines settled a second over time; {rate} on average",
    )
    key = _key([("completed", "settled"), ("dead", "dead")] if any(dead) else [("completed", "settled")])
    return _section("Throughput", f"{rate} on average, over {format_duration(snapshot.elapsed)}", key, chart)


def latencies(snapshot: Snapshot) -> Markup | None:
    """Return how long attempts took."""
    found = bars(snapshot.latencies, _MOST_BARS)
    if not found:
        return None
    named = (("p50", snapshot.p50), ("p95", snapshot.p95), ("p99", snapshot.p99))
    points = [(name, seconds) for name, seconds in named if seconds is not None]
    said = ", ".join(f"{name} {show_seconds(seconds)}" for name, seconds in points)
    chart = histogram_chart(found, points, f"how long attempts took: {said}")
    troubles = (("crash", "es", snapshot.crashes), ("timeout", "s", snapshot.timeouts))
    parts = [f"{count:,} {word}{plural if count > 1 else ''}" for word, plural, count in troubles if count]
    return _section("Attempts by duration", ", ".join([f"{_counted(snapshot.attempts, 'attempt')}", *parts]), chart)


def retries(snapshot: Snapshot, course: Course) -> Markup | None:
    """Return what was tried again, and how many jobs waited for that."""
    if not any(course.failed):
        return None
    rows = [
        tag(
            "tr",
            tag("td", f"{attempt}{' and later' if attempt == MOST_ATTEMPTS else ''}"),
            *(_number(count) for count in (made, made - failed, failed, again, failed - again)),
            data_attempt=attempt,
        )
        for attempt, (made, failed, again) in enumerate(zip(course.made, course.failed, course.again, strict=True))
        if made
    ]
    heads = [tag("th", name, class_="number") for name in ("made", "went well", "failed", "tried again", "given up")]
    table = _table([tag("th", "attempt"), *heads], rows)
    charts = []
    width = course.timeline.width
    again = [count / width for count in _used(course, course.retries.values)]
    for name, values, show, label in (
        ("retries", again, _rate, "failed and waits for another attempt, a second"),
        ("waiting", _used(course, course.waiting.values), _whole, "waits for another attempt, or for its moment"),
    ):
        if any(values):
            chart = area_chart([Layer(name, values)], course.elapsed / width, course.elapsed, show, label, 60)
            charts.append(tag("figure", tag("figcaption", label), chart))
    left = f"; {snapshot.waiting:,} still wait" if snapshot.waiting else ""
    said = f"{_counted(snapshot.retries, 'retry', 'retries') if snapshot.retries else 'none'}{left}"
    return tag("section", tag("h2", "Retries"), tag("p", said, class_="quiet"), *charts, table)


def errors(snapshot: Snapshot, retry: Sequence[str]) -> Markup | None:
    """Return the largest groups of dead letters, and how each of them is retried; `retry` begins such a command."""
    if not snapshot.errors:
        return None
    items = [_error(group, retry) for group in snapshot.errors]
    rest = snapshot.error_groups - len(snapshot.errors)
    more = tag("p", f"… and {_counted(rest, 'more group')}", class_="quiet") if rest > 0 else None
    return tag("section", tag("h2", "Errors"), tag("ul", *items, class_="errors"), more)


def _error(group: ErrorGroup, retry: Sequence[str]) -> Markup:
    command = None
    if group.reason != "duplicate_of_dead":  # these go with their firsts
        words = [*retry, "--reason", printable(group.reason)]
        words += ["--edit"] if group.reason in NO_JOB else []
        words += [] if group.fingerprint == "other" else ["--group", printable(group.fingerprint)]
        command = tag("code", shell_line(words), class_="command")
    return tag(
        "li",
        tag(
            "p",
            tag("span", f"{group.count:,}", class_="count"),
            tag("b", text(group.reason, 40)),
            describe_error(group, 300),
            tag("span", ", such as ", tag("code", text(str(group.sample_id), _MOST_NAME)), class_="quiet"),
        ),
        command,
    )


def slowest(course: Course) -> Markup | None:
    """Return the jobs with the longest attempts."""
    found = course.slowest
    if not found:
        return None
    rows = [
        tag(
            "tr",
            tag("td", show_seconds(each.seconds), class_="number"),
            tag("td", tag("code", text(each.id, _MOST_NAME)), class_="wide"),
            tag("td", text(each.end, 20)),
            _number(each.attempt),
            _number(each.worker),
        )
        for each in found
    ]
    heads = [
        tag("th", name, class_=kind)
        for name, kind in (
            ("took", "number"),
            ("job", "wide"),
            ("ended", ""),
            ("attempt", "number"),
            ("worker", "number"),
        )
    ]
    table = _table(heads, rows)
    return tag("section", tag("h2", "Slowest jobs"), tag("p", "by their longest attempt", class_="quiet"), table)


def workers(course: Course) -> Markup | None:
    """Return what each worker did over time."""
    if not any(course.made):
        return None
    lanes = [_lane(course, number, lane) for number, lane in sorted(course.lanes.items())]
    blank = tag("span")
    lanes.append(tag("div", blank, axis_chart(course.elapsed), blank, class_="lane"))
    key = _key([("busy", "at work"), ("crash", "crash"), ("timeout", "timeout"), ("restart", "new process")])
    rest = course.workers - len(course.lanes)
    more = tag("p", f"… and {_counted(rest, 'more worker')}", class_="quiet") if rest > 0 else None
    return tag("section", tag("h2", "Workers"), key, *lanes, more)


def _lane(course: Course, number: int, lane: Lane) -> Markup:
    width = course.timeline.width
    total = max(course.elapsed / width, 1e-9)
    busy = [seconds / width for seconds in _used(course, lane.busy.values)]
    rows = (("restart", lane.restarts), ("timeout", lane.timeouts), ("crash", lane.crashes))
    marks = [
        (min((place + 0.5) / total, 1.0), symbol, f"{_counted(int(count), symbol)} at {format_duration(place * width)}")
        for symbol, row in rows
        for place, count in enumerate(row.values)
        if count
    ]
    share = sum(lane.busy.values) / course.elapsed if course.elapsed else 0.0
    notes = [_counted(lane.attempts, "attempt"), f"{show_percent(share)} busy"]
    notes += [_counted(lane.restarted, "restart")] if lane.restarted else []
    said = ", ".join(notes)
    chart = lane_chart(busy, marks, total, f"worker {number}: {said}")
    return tag("div", tag("span", f"worker {number}"), chart, tag("span", said, class_="quiet"), class_="lane")


def flow(snapshot: Snapshot, course: Course, asked: Sequence[str]) -> Markup | None:
    """Return what was asked about rates, breakers and the end of the run, and what that did."""
    did = [] if snapshot.flow is None else describe_flow(snapshot.flow, is_over=True)
    if not asked and not did:
        return None
    parts = [tag("p", ", ".join(asked))] if asked else []
    parts += [tag("p", ", ".join(did), class_="quiet")] if did else []
    held = _used(course, course.held.values)
    opened = [max(held) or 1.0 if count else 0.0 for count in _used(course, course.open.values)]
    layers = [Layer(name, row) for name, row in (("open", opened), ("held", held)) if any(row)]
    if layers and len(held) >= _FEWEST:
        buckets = course.elapsed / course.timeline.width
        label = "jobs that were read and do not run, and when a breaker was open, over time"
        names = {"held": "read, and does not run", "open": "a breaker is open"}
        key = _key([(layer.name, names[layer.name]) for layer in layers])
        parts += [tag("figure", key, area_chart(layers, buckets, course.elapsed, _whole, label, 70))]
    return tag("section", tag("h2", "Limits"), *parts)


def _used(course: Course, values: Sequence[float]) -> Sequence[float]:
    """Return the buckets that the run has come to."""
    return values[: course.timeline.reach(course.elapsed) + 1]


def _section(title: str, said: str, *parts: Markup) -> Markup:
    return tag("section", tag("h2", title), tag("p", said, class_="quiet"), tag("figure", *parts))


def _key(names: Iterable[tuple[str, str]]) -> Markup:
    """Return what the shapes of a chart mean."""
    return tag("div", *(tag("span", _swatch(name), said) for name, said in names), class_="key")


def _swatch(name: str) -> Markup:
    if name in ("crash", "timeout", "restart"):
        shape = tag("use", href=f"#{name}", class_=name, x="6", y="6")
    else:
        shape = tag("rect", class_=name, width="11", height="11", rx="2")
    return tag("svg", shape, width="12", height="12", aria_hidden="true")


def _table(heads: Sequence[Markup], rows: Sequence[Markup]) -> Markup:
    return tag("div", tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows)), class_="table")


def _rate(rate: float) -> str:
    """Return a rate of an axis.

    >>> [_rate(rate) for rate in (1200.0, 0.05, 0.0005)]
    ['1,200/s', '3/min', '1.8/h']
    """
    if rate >= 0.1:
        return show_rate(rate)
    return f"{rate * 60:.3g}/min" if rate * 60 >= 0.1 else f"{rate * 3600:.3g}/h"


def _share(share: float) -> str:
    return "< 1 %" if share < 0.01 else show_percent(share)


def _number(count: int) -> Markup:
    return tag("td", f"{count:,}", class_="number")


def _counted(count: int, one: str, many: str = "") -> str:
    plural = many or (f"{one}es" if one.endswith("sh") else f"{one}s")
    return f"{count:,} {one if count == 1 else plural}"


def _whole(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else ""
