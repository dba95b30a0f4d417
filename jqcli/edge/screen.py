"""Shows a run while it runs, on stderr: a live table, a line now and then, JSON, or nothing."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from math import inf, isfinite
from typing import TYPE_CHECKING, Protocol

from jqcli.edge.level import INFO, add_level
from jqcli.edge.terminal import is_ready
from jqcli.edge.text import describe_flow, safe, show_percent, show_rate
from jqcli.quantity import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from jqcli.core.tally import Snapshot


_NOT_SAID = ("busy", "histogram", "latencies")  # in JSON: they are for metrics and the report


class Screen(Protocol):
    """Something that shows snapshots of a run; it never raises and never stops the run."""

    interval: float
    """Seconds between two updates; inf where none is wanted."""
    is_drawn: bool
    """Whether it draws over itself, so that all other text has to go through `say`."""

    def update(self, snapshot: Snapshot) -> None:
        """Show this moment."""

    def say(self, line: str) -> None:
        """Show a line that a handler printed, without harm to what is shown."""

    def close(self, snapshot: Snapshot) -> None:
        """Show the last moment where that makes sense, and leave the terminal as it was."""


class NoScreen:
    """Shows nothing."""

    interval = inf
    is_drawn = False

    def update(self, snapshot: Snapshot) -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Do nothing: handlers print for themselves."""

    def close(self, snapshot: Snapshot) -> None:
        """Do nothing."""


class LineScreen:
    """Writes one line an update, without any control byte."""

    is_drawn = False

    def __init__(self, stream: TextIO, interval: float, render: Callable[[Snapshot], str]) -> None:
        self.interval = interval
        self._stream = stream
        self._render = render

    def update(self, snapshot: Snapshot) -> None:
        """Write one line; where the reader is behind, or gone, the line is dropped."""
        try:
            if self._takes_a_line():
                self._stream.write(self._render(snapshot) + "\n")
                self._stream.flush()
        # ValueError: the stream is closed, or its encoding has no such character.
        except (OSError, ValueError):
            self.interval = inf

    def say(self, line: str) -> None:
        """Do nothing: handlers print for themselves."""

    def close(self, snapshot: Snapshot) -> None:
        """Write the last line."""
        self.update(snapshot)

    def _takes_a_line(self) -> bool:
        """Return whether writing will not wait; a stream without a descriptor always takes it."""
        try:
            fd = self._stream.fileno()
        except OSError:
            return True
        return is_ready(fd)


def open_screen(style: str, stream: TextIO, title: str) -> Screen:
    """Return the screen for a style: auto, live, plain, json or none.

    `auto` is live on a terminal, else none; `live` where nothing can be drawn is plain.
    """
    if is_live(style, stream):
        # rich costs 60 ms of start-up time, so only a live table pays for it.
        from jqcli.edge.live import LiveScreen  # noqa: PLC0415

        return LiveScreen(stream, title)
    if style in ("auto", "none"):
        return NoScreen()
    interval, render = _LINES[style]
    return LineScreen(stream, interval, render)


def is_live(style: str, stream: TextIO) -> bool:
    """Tell whether a style comes to a live table on this stream."""
    return style in ("auto", "live") and _is_drawable(stream)


def _is_drawable(stream: TextIO) -> bool:
    """Return whether a live table can be drawn; colour, and so FORCE_COLOR, has no say in it."""
    encoding = (stream.encoding or "").lower().replace("-", "")
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb" and encoding in ("utf8", "ascii")


def plain_line(snapshot: Snapshot) -> str:
    """Return the state of a run as one line for people; outcomes that have not occurred are left out."""
    names = ("duplicate", "skipped", "dead", "retries", "waiting")
    counts = [(name, getattr(snapshot, name)) for name in names]
    parts = [] if snapshot.state == "running" else [safe(snapshot.state, 40)]
    parts += [f"{snapshot.read:,} read", f"{snapshot.completed:,} completed"]
    parts += [f"{count:,} {name}" for name, count in counts if count]
    parts += [] if snapshot.flow is None else describe_flow(snapshot.flow)
    parts.append(show_rate(snapshot.rate))
    return "jq-run: " + ", ".join(parts + _progress(snapshot))


def _progress(snapshot: Snapshot) -> list[str]:
    """Return percent and ETA, as far as they are known."""
    if snapshot.fraction is None:
        return []
    eta = "" if snapshot.eta is None else f" ETA {format_duration(snapshot.eta)}"
    return [show_percent(snapshot.fraction) + eta]


def json_line(snapshot: Snapshot) -> str:
    """Return the snapshot as one JSON object in ASCII."""
    fields = {name: value for name, value in asdict(snapshot).items() if name not in _NOT_SAID}
    endless = [name for name, value in fields.items() if isinstance(value, float) and not isfinite(value)]
    # Not orjson: it writes C1 controls and bidi marks as they are, and refuses lone surrogates.
    return json.dumps(fields | dict.fromkeys(endless), separators=(",", ":"))


def _leveled_line(snapshot: Snapshot) -> str:
    return add_level(plain_line(snapshot), INFO)


_LINES: dict[str, tuple[float, Callable[[Snapshot], str]]] = {
    "live": (10.0, _leveled_line),
    "plain": (10.0, _leveled_line),
    "json": (1.0, json_line),
}
