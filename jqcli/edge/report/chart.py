"""Charts as SVG: positions across are percentages and text has a fixed size, so that one drawing fits any width."""

from __future__ import annotations

from math import ceil, floor, log, log10
from typing import TYPE_CHECKING, NamedTuple

from jqcli.edge.report.markup import Markup, Part, tag
from jqcli.quantity import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_TICKS = 16  # pixels below a chart for what its axis says
_LABELS = 18  # pixels above it
_LEAST_SPAN = log(10)  # of a logarithmic axis


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
        *_grid(height, (Mark(1.0, show(top)), Mark(0.5, show(top / 2)))),
        _stretched(shapes, buckets, _LABELS, height),
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
        side = {"dx": "-5", "text_anchor": "end"} if at > 0.6 else {"dx": "5"}
        lines.append(tag("text", name, " ", format_duration(seconds), class_="point", x=_percent(at), y=y, **side))
    return tag(
        "svg",
        *_grid(height, (Mark(1.0, f"{top:,.0f}"), Mark(0.5, f"{top / 2:,.0f}") if top > 1 else None), above),
        _stretched(shapes, 1000, above, height),
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
    """Return five marks over so many seconds."""
    return [Mark(share, format_duration(seconds * share) if share else "0") for share in (0.0, 0.25, 0.5, 0.75, 1.0)]


def nice_above(value: float) -> float:
    """Return the next number that reads well.

    >>> [nice_above(value) for value in (0, 0.7, 3, 41, 799)]
    [1.0, 0.8, 3.0, 50.0, 800.0]
    """
    if value <= 0:
        return 1.0
    scale = 10.0 ** floor(log10(value))
    return next(step for step in (1, 2, 3, 4, 5, 6, 8, 10, 20) if step * scale >= value * 0.999) * scale


def _log_marks(low: float, span: float) -> list[Mark]:
    """Return marks at powers of ten of a microsecond; between them at 2 and 5 where there is room for it."""
    first, last = floor(low / log(10)), ceil((low + span) / log(10))
    steps = (1, 2, 5) if span < log(300) else (1,)
    moments = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    marks = [Mark((log(moment) - low) / span, _short(moment)) for moment in moments]
    return [mark for mark in marks if 0.0 <= mark.at <= 1.0]


def _short(seconds: float) -> str:
    """Return a moment of an axis.

    >>> [_short(seconds) for seconds in (2e-06, 0.01, 5.0, 100.0)]
    ['2 µs', '10 ms', '5 s', '100 s']
    """
    return f"{seconds:.0f} s" if 1 <= seconds < 1000 else format_duration(seconds)


def _area(values: Sequence[float], top: float) -> str:
    """Return steps as the path of an area, 100 high.

    >>> _area([1.0, 1.0, 4.0], 4.0)
    'M0 100V75H2V0H3V100Z'
    """
    parts, before = ["M0 100"], ""
    for place, value in enumerate(values):
        height = f"V{round(100 - min(value / top, 1.0) * 100, 1):g}"
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
