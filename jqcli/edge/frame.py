"""Lays the live table out: a snapshot in, lines of (text, style) out. Nothing here touches a terminal.

Columns have fixed widths, so that a number that grows moves nothing, and texts of the user's stand last in
their line, so that a character of doubtful width moves nothing either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from jqcli.edge.text import describe_error, describe_flow, safe, show_percent, show_rate
from jqcli.quantity import format_duration

if TYPE_CHECKING:
    from jqcli.core.tally import ErrorGroup, Snapshot, WorkerRow

Line = list[tuple[str, str]]

# Colour means something or is absent: green is done, red is lost for this run, yellow cost an attempt.
STYLES = {
    "title": "bold",
    "label": "dim",
    "value": "",
    "nothing": "dim",
    "completed": "green",
    "dead": "red",
    "trouble": "yellow",
    "bar": "green",
    "rest": "dim",
}
_LABEL_STYLE = {
    "completed": "completed",
    "dead": "dead",
    "retries": "trouble",
    "crashes": "trouble",
    "timeouts": "trouble",
}
_NONE = "—"
_CELL = 24
_GAP = 3
_WIDEST = 118
_MOST_ERRORS = 5
_FEWEST_ROWS = 3  # a section is its blank line, its head and a row, or it is not worth drawing


def draw(snapshot: Snapshot, title: str, width: int, height: int) -> list[Line]:
    """Return at most `height` lines for so many columns; longer ones are for the caller to crop."""
    width = min(width, _WIDEST)
    lines = [_head(snapshot, title, width), _bar(snapshot, width), []]
    lines += _grid(_count_columns(snapshot), width)
    lines += _flow_lines(snapshot)
    workers, errors = _share(height - len(lines), snapshot)
    lines += _worker_lines(snapshot.workers, workers)
    lines += _error_lines(snapshot.errors, errors)
    return lines[:height]


def _head(snapshot: Snapshot, title: str, width: int) -> Line:
    """Return the title, and the state at the right."""
    state = safe(snapshot.state, 20)
    name = safe(title, max(width - len(state) - 2, 1))
    gap = " " * max(width - cell_len(name) - cell_len(state), 1)
    return [(name, "title"), (gap, "value"), (state, "value")]


def _bar(snapshot: Snapshot, width: int) -> Line:
    """Return the bar with percent and ETA; where the end is unknown, what is known and no bar."""
    if snapshot.fraction is None:
        settled = snapshot.read - snapshot.unfinished
        return [(f"{settled:,} of {snapshot.read:,} lines read so far are settled", "value")]
    tail = f"  {show_percent(snapshot.fraction, 1):>7}   ETA {_seconds(snapshot.eta):>7}"
    room = max(width - len(tail), 0)
    halves = int(min(max(snapshot.fraction, 0.0), 1.0) * room * 2)
    done = "━" * (halves // 2) + "╸" * (halves % 2)
    return [(done, "bar"), ("━" * (room - len(done)), "rest"), (tail, "value")]


def _count_columns(snapshot: Snapshot) -> list[list[tuple[str, str]]]:
    """Return the three columns of (label, text) under the bar."""
    outcomes = ("read", "completed", "duplicate", "skipped", "dead", "unfinished")
    efforts = ("attempts", "retries", "crashes", "timeouts")
    before = [("settled before", f"{snapshot.settled_before:,}")] if snapshot.settled_before else []
    latency = [(name, _seconds(getattr(snapshot, name))) for name in ("p50", "p95", "p99")]
    elapsed = ("elapsed", format_duration(snapshot.elapsed))
    return [
        [("rate now", show_rate(snapshot.rate)), *_counts(snapshot, outcomes)],
        [("rate mean", show_rate(snapshot.mean_rate)), *_counts(snapshot, efforts), *before],
        [elapsed, *_counts(snapshot, ("in_flight", "waiting")), *latency],
    ]


def _counts(snapshot: Snapshot, names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return (label, text) for each of these fields."""
    return [(name.replace("_", " "), f"{getattr(snapshot, name):,}") for name in names]


def _seconds(seconds: float | None) -> str:
    """Return a duration, or a dash where there is none yet."""
    return _NONE if seconds is None else format_duration(seconds)


def _grid(columns: list[list[tuple[str, str]]], width: int) -> list[Line]:
    """Return the columns side by side as far as they fit, the others under the last."""
    while len(columns) > 1 and width < len(columns) * (_CELL + _GAP) - _GAP:
        columns = [*columns[:-2], columns[-2] + columns[-1]]
    lines: list[Line] = []
    for row in range(max(map(len, columns))):
        line: Line = []
        for column in columns:
            line += _cell(*column[row]) if row < len(column) else [(" " * _CELL, "value")]
            line.append((" " * _GAP, "value"))
        lines.append(line[:-1])
    return lines


def _cell(label: str, text: str) -> Line:
    """Return one label and its text at the right of a cell; a count that is too long loses its commas."""
    room = _CELL - len(label) - 1
    if len(text) > room:
        text = text.replace(",", "")
    style = "nothing" if text in ("0", _NONE) else _LABEL_STYLE.get(label, "value")
    return [(label, "label"), (f" {text:>{room}}", style)]


def _flow_lines(snapshot: Snapshot) -> list[Line]:
    """Return one line on what holds jobs up on purpose, where anything does."""
    parts = [] if snapshot.flow is None else describe_flow(snapshot.flow)
    if snapshot.flow is None or not parts:
        return []
    return [[("flow  ", "label"), (", ".join(parts), "trouble" if snapshot.flow.open else "value")]]


def _share(room: int, snapshot: Snapshot) -> tuple[int, int]:
    """Return how many lines the workers and the errors get of what is left."""
    workers = len(snapshot.workers) + 2 if snapshot.workers else 0
    errors = min(len(snapshot.errors), _MOST_ERRORS) + 2 if snapshot.errors else 0
    errors = min(errors, max(room - workers, room // 2))
    return (room - errors if errors >= _FEWEST_ROWS else room), errors


def _worker_lines(workers: tuple[WorkerRow, ...], room: int) -> list[Line]:
    """Return the table of workers in at most `room` lines, with what is left out as a number."""
    if not workers or room < _FEWEST_ROWS:
        return []
    rows = room - 2
    shown = workers if len(workers) <= rows else workers[: rows - 1]
    if not shown:
        return []
    head = f"{'pid':>8}  {'state':<9}{'age':>9}{'done':>15}{'restarts':>10}   job"
    lines: list[Line] = [[], [(head, "label")]]
    lines += [_worker_line(row) for row in shown]
    if len(shown) < len(workers):
        lines.append([(f"{'':>8}  … and {len(workers) - len(shown):,} more", "label")])
    return lines


def _worker_line(row: WorkerRow) -> Line:
    """Return one worker; an idle one is dim."""
    style = "nothing" if row.age is None else "value"
    text = f"{row.pid:>8}  {safe(row.state, 9):<9}{_seconds(row.age):>9}{row.done:>15,}"
    restarts = (f"{row.restarts:>10,}", "trouble" if row.restarts else "nothing")
    return [(text, style), restarts, (f"   {safe(row.job)}", style)]


def _error_lines(errors: tuple[ErrorGroup, ...], room: int) -> list[Line]:
    """Return the largest groups of errors in at most `room` lines."""
    if not errors or room < _FEWEST_ROWS:
        return []
    shown = errors[: room - 2]
    width = max(12, *(len(safe(group.reason, 21)) for group in shown))
    head: Line = [(f"{'errors':>8}  {'reason':<{width}}  {'sample':<12}  message", "label")]
    return [[], head, *(_error_line(group, width) for group in shown)]


def _error_line(group: ErrorGroup, width: int) -> Line:
    """Return one group: how many, why, an example and what it said."""
    sample = set_cell_size(safe(str(group.sample_id), 12), 12)
    reason = safe(group.reason, 21)
    text = f"  {reason:<{width}}  {sample}  {describe_error(group)}"
    return [(f"{group.count:>8,}", "dead"), (text, "value")]
