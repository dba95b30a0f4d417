"""Says what a run came to: a block for people, and the same as an object for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from jqcli.edge.text import describe_error, describe_flow, safe, show_rate
from jqcli.quantity import format_duration

if TYPE_CHECKING:
    from jqcli.core.tally import ErrorGroup, Snapshot

_MOST_ERRORS = 5
_WHOLE = 10_000  # a path or a command is there to be copied, so it is not cut
_OUTCOMES = ("completed", "duplicate", "skipped", "dead", "unfinished")
_HEADLINES = {
    0: "finished",
    1: "finished",
    3: "stopped early",
    70: "stopped by a bug in jqcli",
    74: "stopped: a file could not be read or written",
    75: "stopped: another program holds a file",
    129: "stopped by SIGHUP",
    130: "stopped by SIGINT",
    141: "stopped: the reader of stdout went away",
    143: "stopped by SIGTERM",
}
_RESUMABLE = frozenset({3, 74, 75, 129, 130, 141, 143})


def summary_text(
    snapshot: Snapshot,
    *,
    exit_code: int,
    results: str | None,
    dlq: str | None,
    retry_command: str | None,
    goes_on: bool = True,
    width: int = 80,
) -> str:
    """Return the block for people at the end of a run: under 25 lines, no colour, ending in a newline.

    `results` and `dlq` are None where there is no such file, `retry_command` where nothing is to be retried; `goes_on`
    tells whether the same command gets further where this one was stopped.
    """
    places = (("results", results), ("dead letters", dlq), ("retry with", retry_command))
    sections = [
        [f"jq-run: {headline(snapshot, exit_code, resumable=results is not None and goes_on)}"],
        _count_lines(snapshot),
        _effort_lines(snapshot),
        _error_lines(snapshot, width),
        [f"  {label:<14}{safe(place, _WHOLE)}" for label, place in places if place],
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def summary_object(
    snapshot: Snapshot, *, run: str, exit_code: int | None, results: str | None, dlq: str | None
) -> dict[str, object]:
    """Return the summary for programs; durations in seconds, `rate` in jobs/s over the whole run."""
    names = ("read", *_OUTCOMES, "settled_before", "attempts", "retries", "crashes", "timeouts")
    counts = {name: getattr(snapshot, name) for name in names}
    fields = ("fingerprint", "reason", "type", "message", "count", "sample_id")
    return {
        "run": run,
        "exit_code": exit_code,
        **counts,
        "duration": snapshot.elapsed,
        "rate": snapshot.mean_rate,
        "latency": {"p50": snapshot.p50, "p95": snapshot.p95, "p99": snapshot.p99},
        **({} if snapshot.flow is None else {"flow": asdict(snapshot.flow)}),
        "outputs": {"results": results, "dlq": dlq},
        "errors": [{name: asdict(group)[name] for name in fields} for group in snapshot.errors],
    }


def headline(snapshot: Snapshot, exit_code: int, *, resumable: bool) -> str:
    """Return what happened, how long it took, and what to do where it is not at its end."""
    if exit_code in (0, 1) and snapshot.read == snapshot.settled_before:
        why = "every line was settled before" if snapshot.read else "there are no jobs"
        return f"nothing to do, {why}{_dead_letters(snapshot)}"
    what = _HEADLINES.get(exit_code, f"stopped with exit code {exit_code}")
    took = f" after {format_duration(snapshot.elapsed)}, {show_rate(snapshot.mean_rate)}"
    then = "; the same command goes on from here" if resumable and exit_code in _RESUMABLE else ""
    return f"{what}{_dead_letters(snapshot)}{took}{then}"


def _dead_letters(snapshot: Snapshot) -> str:
    """Return how many letters there are, as the headline's second part."""
    return f" with {_number(snapshot.dead, 'dead letter')}" if snapshot.dead else ""


def _count_lines(snapshot: Snapshot) -> list[str]:
    """Return the outcomes that occurred, and their sum, in one column."""
    counts = [(name, getattr(snapshot, name)) for name in (*_OUTCOMES, "read")]
    rows = [(name, count) for name, count in counts if count or name in ("completed", "read")]
    digits = max(len(f"{count:,}") for _, count in rows)
    lines = [f"  {name:<14}{count:>{digits},}" for name, count in rows]
    if snapshot.settled_before:
        lines[-1] += f"  ({snapshot.settled_before:,} settled before)"
    return lines


def _effort_lines(snapshot: Snapshot) -> list[str]:
    """Return attempts and what went wrong in them, and how long they took."""
    if not snapshot.attempts:
        return []
    troubles = (("retry", snapshot.retries), ("crash", snapshot.crashes), ("timeout", snapshot.timeouts))
    parts = [_number(count, word) for word, count in (("attempt", snapshot.attempts), *troubles) if count]
    lines = ["  " + ", ".join(parts)]
    if snapshot.p50 is not None and snapshot.p95 is not None and snapshot.p99 is not None:
        times = zip(("p50", "p95", "p99"), (snapshot.p50, snapshot.p95, snapshot.p99), strict=True)
        lines.append("  " + ", ".join(f"{name} {format_duration(seconds)}" for name, seconds in times))
    flow = [] if snapshot.flow is None else describe_flow(snapshot.flow, is_over=True)
    lines += ["  " + ", ".join(flow)] if flow else []
    return lines


def _number(count: int, word: str) -> str:
    """Return a count with its noun.

    >>> _number(1, "crash"), _number(2, "crash"), _number(1200, "retry"), _number(3, "attempt")
    ('1 crash', '2 crashes', '1,200 retries', '3 attempts')
    """
    plural = {"retry": "retries", "crash": "crashes"}.get(word, word + "s")
    return f"{count:,} {word if count == 1 else plural}"


def _error_lines(snapshot: Snapshot, width: int) -> list[str]:
    """Return the largest groups of errors, one a line, and how many groups there are beside them."""
    shown = snapshot.errors[:_MOST_ERRORS]
    column = max(16, *(len(safe(group.reason, 21)) for group in shown)) if shown else 0
    lines = [_error_line(group, column, width) for group in shown]
    rest = max(snapshot.error_groups, len(snapshot.errors)) - len(shown)
    return [*lines, f"  {'':>7}  … and {_number(rest, 'more group')}"] if rest > 0 else lines


def _error_line(group: ErrorGroup, column: int, width: int) -> str:
    """Return one group of errors on one line of about this width, its example last."""
    head = f"  {group.count:>7,}  {safe(group.reason, 21):<{column}}  "
    tail = f"  ({safe(str(group.sample_id), 30)})"
    return head + describe_error(group, max(width - len(head) - len(tail), 20)) + tail
