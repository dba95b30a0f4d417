"""Lays the report of a run out: what is known of it in, one page of HTML out. Nothing here touches the world."""

from __future__ import annotations

import os
from base64 import b64encode
from dataclasses import asdict
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from jqcli import __version__
from jqcli.core.course import MOST_ID
from jqcli.core.record import timestamp
from jqcli.edge.digest import headline, summary_object
from jqcli.edge.report import section
from jqcli.edge.report.markup import Markup, json_data, tag
from jqcli.edge.text import show_rate
from jqcli.quantity import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jqcli.core.course import Course, Lane
    from jqcli.core.lane import Flow
    from jqcli.core.tally import Snapshot
    from jqcli.core.timeline import Row
    from jqcli.edge.status import About

_STYLE = os.path.join(os.path.dirname(__file__), "page.css")
NUMBERS = "numbers"  # the id of what is there for programs
_CODES = {
    0: "every line is completed, a duplicate, or skipped",
    1: "all is done, and there are dead letters",
    3: "stopped early; the same command goes on",
    70: "a bug in jqcli",
    74: "a file could not be read or written; the same command goes on",
    75: "another program holds a file; the same command goes on",
    129: "SIGHUP; the same command goes on",
    130: "SIGINT; the same command goes on",
    141: "whoever read stdout has left",
    143: "SIGTERM; the same command goes on",
}
# What marks stand for, drawn around the origin.
_SYMBOLS = Markup(
    '<svg width="0" height="0" aria-hidden="true"><defs>'
    '<path id="crash" d="M0-6L6 0 0 6-6 0Z"/><circle id="timeout" r="5"/><path id="restart" d="M-1-12h2v24h-2Z"/>'
    "</defs></svg>"
)


class Background(NamedTuple):
    """What was asked of a run: `retry` is how a command begins that retries its dead letters."""

    about: About
    command: str
    folder: str
    retry: Sequence[str]
    flow: Flow
    deadline_at: float | None


def render(background: Background, snapshot: Snapshot, course: Course, exit_code: int, ended_at: float) -> bytes:
    """Return the page; `ended_at` in Unix seconds."""
    about = background.about
    with open(_STYLE, encoding="utf-8") as file:
        style = file.read()
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"jq-run: {about.title}"),
        tag("style", Markup(style)),
    )
    body = tag(
        "body",
        _SYMBOLS,
        _header(background, snapshot, exit_code),
        tag(
            "main",
            section.outcomes(snapshot),
            section.throughput(snapshot, course),
            section.errors(snapshot, background.retry),
            section.workers(course),
            section.latencies(snapshot),
            section.retries(snapshot, course),
            section.slowest(course),
            section.flow(snapshot, course, _asked(background)),
            _run_list(background, snapshot, exit_code, ended_at),
        ),
        tag("footer", f"Written by jq-run {__version__}. This page loads nothing and runs nothing."),
        json_data(NUMBERS, numbers(background, snapshot, course, exit_code, ended_at)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n".encode()


def numbers(
    background: Background, snapshot: Snapshot, course: Course, exit_code: int, ended_at: float
) -> dict[str, object]:
    """Return all that the page shows, for programs: the summary's object, and what only a report has."""
    about = background.about
    dlq = about.dlq if snapshot.has_letters else None
    said = summary_object(snapshot, run=about.run, exit_code=exit_code, results=about.results, dlq=dlq)
    attempts = zip(course.made, course.failed, course.again, strict=True)
    last = course.timeline.reach(course.elapsed)
    rows = ("settled", "dead", "retries", "waiting", "held", "open")
    return said | {
        "errors": [_short_id(asdict(group)) for group in snapshot.errors],
        "cause": snapshot.cause,
        "command": background.command,
        "folder": background.folder,
        "handler": about.handler,
        "inputs": list(about.inputs),
        "started_at": timestamp(about.started_at),
        "ended_at": timestamp(ended_at),
        "histogram": snapshot.histogram[:-1],
        "attempts_by_number": [
            {"attempt": number, "made": made, "failed": failed, "again": again}
            for number, (made, failed, again) in enumerate(attempts)
            if made
        ],
        "timeline": {
            "seconds": course.timeline.width,
            **{name: _rounded(getattr(course, name), last) for name in rows},
        },
        "workers": [_worker(number, lane, last) for number, lane in sorted(course.lanes.items())],
        "slowest": [each._asdict() for each in course.slowest],
    }


def _short_id(group: dict[str, object]) -> dict[str, object]:
    """Return a group whose id is no longer than anybody wants to read: a line's id may be of any length."""
    text = str(group["sample_id"])
    return group if len(text) <= MOST_ID else group | {"sample_id": text[:MOST_ID]}


def _worker(number: int, lane: Lane, last: int) -> dict[str, object]:
    return {
        "number": number,
        "attempts": lane.attempts,
        "restarted": lane.restarted,
        "busy": _rounded(lane.busy, last),
        **{name: _places(getattr(lane, name)) for name in ("crashes", "timeouts", "restarts")},
    }


def _places(row: Row) -> list[tuple[int, int]]:
    """Return the buckets in which anything is, and how much."""
    return [(place, int(count)) for place, count in enumerate(row.values) if count]


def _rounded(row: Row, last: int) -> list[float]:
    return [round(value, 3) for value in row.values[: last + 1]]


def _header(background: Background, snapshot: Snapshot, exit_code: int) -> Markup:
    said = headline(snapshot, exit_code, resumable=False)
    kind = "code-0" if exit_code == 0 else "code-1"
    return tag(
        "header",
        tag("h1", said[:1].upper() + said[1:]),
        tag("p", tag("code", background.about.title)),
        tag("p", tag("span", f"exit {exit_code}", class_=kind), " ", _CODES.get(exit_code, "")),
        tag("p", snapshot.cause, class_="cause") if snapshot.cause else None,
    )


def _run_list(background: Background, snapshot: Snapshot, exit_code: int, ended_at: float) -> Markup:
    """Return what was run."""
    about = background.about
    entries = [
        ("command", tag("code", background.command)),
        ("folder", tag("code", background.folder)),
        ("handler", tag("code", about.handler)),
        ("input", tag("code", " ".join(about.inputs))),
        ("results", tag("code", about.results or "(stdout)")),
        ("dead letters", tag("code", about.dlq or "") if snapshot.has_letters else "none"),
        ("began", timestamp(about.started_at)),
        ("ended", f"{timestamp(ended_at)}, after {format_duration(snapshot.elapsed)}"),
        ("exit code", f"{exit_code}: {_CODES.get(exit_code, '')}"),
        ("run", tag("code", about.run)),
    ]
    pairs = [part for name, value in entries for part in (tag("dt", name), tag("dd", value))]
    return tag("section", tag("h2", "What was run"), tag("dl", *pairs))


def _asked(background: Background) -> list[str]:
    """Return what was asked about rates, breakers, the retry budget and the end of the run."""
    flow = background.flow
    found = []
    if flow.rate is not None:
        whom = f"each {flow.rate_key}" if flow.rate_key else "all jobs"
        found.append(f"{show_rate(flow.rate.per_second)} for {whom}")
    if flow.tenant_rate is not None:
        found.append(f"{show_rate(flow.tenant_rate.per_second)} for each tenant")
    found += [f"{show_rate(rate.per_second)} for tenant {name}" for name, rate in sorted(flow.tenants.items())[:10]]
    if flow.trip is not None:
        each = f" for each {flow.breaker_key}" if flow.breaker_key else ""
        found.append(f"breaker at {flow.trip.share:.0%} failures in {format_duration(flow.trip.window)}{each}")
    if flow.budget is not None:
        found.append(f"retries at most {flow.budget:.0%} of first attempts")
    if background.deadline_at is not None:
        found.append(f"deadline {timestamp(background.deadline_at)}")
    return found
