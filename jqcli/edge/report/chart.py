"""Charts as SVG: positions across are percentages and text has a fixed size, so that one drawing fits any width."""

from __future__ import annotations

import re
from math import ceil, floor, log, log10
from typing import TYPE_CHECKING, NamedTuple

from jqcli.edge.report.markup import Markup, Part, tag
from jqcli.quantity import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_TICKS = 16  # pixels below a chart for what its axis says
_LABELS = 18  # pixels above it
_LEAST_SPAN = log(10)  # of a logarithmic axis
_MINUTES, _HOURS = (1, 2, 5, 10, 15, 20, 30), (1, 2, 3, 6, 12, 24, 48, 96, 240)
_STEPS = (15, 20, 30, *(60 * each for each in _MINUTES), *(3600 * each for each in _HOURS))
_ZEROS = re.compile(r"(?<=[mhd])00[smh]$")


class Layer(NamedTuple):
    """An area of a chart: its class in the style sheet, and a value for each bucket."""

    name: str
    values: Sequence[float]


class Mark(NamedTuple):
    """A place on an axis, from 0 to 1, and what is written there."""

    at: float
    label: str


def area_chart(
    layers: Sequence[Layer], buckets: float, seconds: float, show: Callable[[float], str], label: str, height: int = 120
) -> Markup:
    """Return areas over time, the later ones in front; `buckets`, not always a whole number, are as wide as it all."""
    top = nice_above(max((max(layer.values, default=0.0) for layer in layers), default=0.0))
    shapes = [tag("path", class_=layer.name, d=_area(layer.values, top)) for layer in layers]
    return tag(
        "svg",
        _stretched(shapes, buckets, _LABELS, height),
        *_grid(height, (Mark(1.0, show(top)), Mark(0.5, show(top / 2)))),
        *axis(time_marks(seconds), _LABELS + height),
        **_frame(_LABELS + height + _TICKS, label),
    )


def histogram_chart(
    bars: Sequence[tuple[float, float, int]], points: Sequence[tuple[str, float]], label: str, height: int = 120
) -> Markup:
    """Return bars (from, to, count) on a logarithmic axis of seconds, with some points of it marked by name."""
    low, high = log(bars[0][0]), log(bars[-1][1])
    padding = max(0.0, _LEAST_SPAN - (high - low)) / 2
    low, span = low - padding, high - low + 2 * padding
    top = nice_above(max(count for _, _, count in bars))
    shapes = [
        tag(
            "rect",
            class_="bar",
            x=round((log(begin) - low) / span * 1000, 2),
            width=round((log(end) - log(begin)) / span * 1000, 2),
            y=round(100 - count / top * 100, 2),
            height=round(count / top * 100, 2),
        )
        for begin, end, count in bars
        if count
    ]
    above = _LABELS + 15 * len(points)
    lines: list[Part] = []
    for row, (name, seconds) in enumerate(points):
        at = min(max((log(seconds) - low) / span, 0.0), 1.0)
        y = 12 + 15 * row
        lines.append(tag("line", class_="point", x1=_percent(at), x2=_percent(at), y1=y - 9, y2=above + height))
        side = {"dx": "-5", "text_anchor": "end"} if at > 0.72 else {"dx": "5"}
        lines.append(tag("text", name, " ", show_seconds(seconds), class_="point", x=_percent(at), y=y, **side))
    return tag(
        "svg",
        _stretched(shapes, 1000, above, height),
        *_grid(height, (Mark(1.0, f"{top:,.0f}"), Mark(0.5, f"{top / 2:,.0f}") if top > 1 else None), above),
        *lines,
        *axis(_log_marks(low, span), above + height),
        **_frame(above + height + _TICKS, label),
    )


def lane_chart(busy: Sequence[float], marks: Iterable[tuple[float, str, str]], buckets: float, label: str) -> Markup:
    """Return how busy somebody was over time (0 to 1), and marks: a place from 0 to 1, a symbol, a text."""
    height = 24
    shape = tag("path", class_="busy", d=_area(busy, 1.0))
    signs = [
        tag("use", tag("title", said), href=f"#{symbol}", class_=symbol, x=_percent(at), y=height // 2)
        for at, symbol, said in marks
    ]
    back = tag("rect", class_="lane-back", width="100%", height=height, rx=3)
    return tag("svg", back, _stretched([shape], buckets, 0, height), *signs, **_frame(height, label))


def share_chart(shares: Iterable[tuple[str, float]], label: str) -> Markup:
    """Return shares of a whole, side by side; each is its class in the style sheet and a number from 0 to 1."""
    at, shapes = 0.0, []
    for name, share in shares:
        shapes.append(tag("rect", class_=name, x=_percent(at), width=_percent(share), height=22))
        at += share
    return tag("svg", *shapes, **_frame(22, label))


def axis(marks: Iterable[Mark], y: float) -> list[Markup]:
    """Return what an axis says, below `y`."""
    found = []
    for mark in marks:
        anchor = "start" if mark.at < 0.04 else "end" if mark.at > 0.96 else "middle"
        found.append(tag("text", mark.label, x=_percent(mark.at), y=y + 13, text_anchor=anchor))
    return found


def axis_chart(seconds: float) -> Markup:
    """Return an axis of time alone, for what is drawn above it."""
    return tag("svg", *axis(time_marks(seconds), 0), **_frame(_TICKS, "time"))


def time_marks(seconds: float) -> list[Mark]:
    """Return marks at moments that read well, six at most.

    >>> [mark.label for seconds in (0.9, 95) for mark in time_marks(seconds)]
    ['0', '200 ms', '400 ms', '600 ms', '800 ms', '0', '20 s', '40 s', '1m', '1m20s']
    """
    if seconds <= 0:
        return [Mark(0.0, "0")]
    least = seconds / 6
    step = next((step for step in _STEPS if seconds > 60 and step >= least), nice_above(least, (1, 2, 2.5, 5, 10)))
    moments = [step * count for count in range(floor(seconds / step + 1e-9) + 1)]
    return [Mark(min(moment / seconds, 1.0), show_seconds(moment) if moment else "0") for moment in moments]


def show_seconds(seconds: float) -> str:
    """Return a duration in three digits where `format_duration` has fewer.

    >>> [show_seconds(seconds) for seconds in (2e-06, 0.00412, 1.25, 42, 60, 5400)]
    ['2 µs', '4.12 ms', '1.25 s', '42 s', '1m', '1h30m']
    """
    for unit, scale in (("µs", 1e-3), ("ms", 1.0), ("s", 60.0)):
        if seconds < scale:
            return f"{seconds / {'µs': 1e-6, 'ms': 1e-3, 's': 1.0}[unit]:.3g} {unit}"
    return _ZEROS.sub("", format_duration(seconds))


def nice_above(value: float, steps: Sequence[float] = (1, 2, 3, 4, 5, 6, 8, 10)) -> float:
    """Return the next number that reads well.

    >>> [nice_above(value) for value in (0, 0.7, 3, 41, 799)]
    [1.0, 0.8, 3.0, 50.0, 800.0]
    """
    if value <= 0:
        return 1.0
    scale = 10.0 ** floor(log10(value))
    return next((step for step in steps if step * scale >= value * 0.999), 20) * scale


def _log_marks(low: float, span: float) -> list[Mark]:
    """Return marks at powers of ten of a microsecond; between them at 2 and 5 where there is room for it."""
    first, last = floor(low / log(10)), ceil((low + span) / log(10))
    steps = (1, 2, 5) if span < log(300) else (1,)
    moments = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    marks = [Mark((log(moment) - low) / span, show_seconds(moment)) for moment in moments]
    return [mark for mark in marks if 0.0 <= mark.at <= 1.0]


def _area(values: Sequence[float], top: float) -> str:
    """Return steps as the path of an area, 100 high.

    >>> _area([1.0, 1.0, 4.0], 4.0)
    'M0 100V75H2V0H3V100Z'
    """
    parts, before = ["M0 100"], ""
    for place, value in enumerate(values):
        height = f"V{round(100 - min(max(value / top, 0.0), 1.0) * 100, 1):g}"
        if height != before:
            parts.append(f"H{place}{height}" if place else height)
            before = height
    return "".join([*parts, f"H{len(values)}V100Z"])


def _stretched(shapes: Sequence[Markup], width: float, y: float, height: float) -> Markup:
    box = f"0 0 {width:.4g} 100"
    return tag("svg", *shapes, viewBox=box, preserveAspectRatio="none", x=0, y=y, width="100%", height=height)


def _grid(height: int, marks: Iterable[Mark | None], above: int = _LABELS) -> list[Markup]:
    found = [tag("line", class_="axis", x1="0", x2="100%", y1=above + height, y2=above + height)]
    for mark in marks:
        if mark is not None:
            y = above + height * (1 - mark.at)
            found.append(tag("line", class_="grid", x1="0", x2="100%", y1=y, y2=y))
            found.append(tag("text", mark.label, x="0", y=y - 4))
    return found


def _frame(height: float, label: str) -> dict[str, str | float]:
    return {"width": "100%", "height": height, "role": "img", "aria_label": label}


def _percent(share: float) -> str:
    return f"{share * 100:.2f}%"
