"""Durations, sizes, rates and shares as users write them."""

from __future__ import annotations

import re
from math import isfinite, isnan, nan
from typing import Any

MOST_WAIT = 3600.0  # seconds that a `Retry` or a `Snooze` may ask for

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNIT_BYTES = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "K": 2**10,
    "M": 2**20,
    "G": 2**30,
}
_UNIT_RATES = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+", re.ASCII)
_MOST_BYTES = 2**63 - 1  # what a file can have
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:/\s*([a-z]+))?", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]?(?:i?B)?|[KMG])", re.ASCII | re.IGNORECASE)


def parse_duration(text: float | str) -> float:
    """Return seconds; a bare number is seconds.

    Raises ValueError for anything that is not a finite duration of at least 0.

    >>> [parse_duration(t) for t in ("500ms", "1h30m", "2d", "7", 0.25)]
    [0.5, 5400.0, 172800.0, 7.0, 0.25]
    """
    try:
        if isinstance(text, str) and _DURATION.fullmatch(text.strip()):
            seconds = sum(float(n) * _UNIT_SECONDS[u] for n, u in _PART.findall(text))
        else:
            seconds = float(text)
    except (TypeError, ValueError, OverflowError):
        seconds = -1.0
    if isinstance(text, bool) or not isfinite(seconds) or seconds < 0:
        raise ValueError(f"{text!r} is not a duration; write 500ms, 30s, 5m, 1h30m or 2d")
    return seconds


def parse_wait(after: object) -> float:
    """Return the seconds that a handler asks its job to wait: a number or a duration, clamped to [0, 1 h].

    Raises ValueError for anything that is neither.

    >>> [parse_wait(after) for after in ("10s", -3, 1e9, "2d")]
    [10.0, 0.0, 3600.0, 3600.0]
    """
    number: Any = parse_duration(after) if isinstance(after, str) else after
    try:
        seconds = float(min(max(number, 0), MOST_WAIT))
    except (TypeError, ValueError, ArithmeticError):  # as dates, arrays and decimals refuse to be compared
        seconds = nan
    if isnan(seconds) or isinstance(after, bool):
        raise ValueError(f"{after!r} is no time to wait; give seconds, or text such as 500ms, 30s, 5m")
    return seconds


def format_duration(seconds: float) -> str:
    """Return a short text for people.

    >>> [format_duration(s) for s in (0.0000031, 0.25, 9.5, 75, 7260, 200000)]
    ['3 µs', '250 ms', '9.5 s', '1m15s', '2h01m', '2d07h']
    """
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes:02d}m"
    return f"{hours // 24}d{hours % 24:02d}h"


def parse_size(text: int | str) -> int:
    """Return bytes: `512MB` is decimal, `1GiB` and `1G` are binary, a bare number is bytes.

    Raises ValueError for anything else.

    >>> [parse_size(t) for t in ("512MB", "1GiB", "4K", "10", 7)]
    [512000000, 1073741824, 4096, 10, 7]
    """
    size = -1.0 if isinstance(text, bool) or not isinstance(text, int) else text
    match = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is not None and match[2].upper() in _UNIT_BYTES:
        size = (float(match[1]) if "." in match[1] else int(match[1])) * _UNIT_BYTES[match[2].upper()]
    if not 0 <= size <= _MOST_BYTES:
        raise ValueError(f"{text!r} is not a size; write 512MB, 1GiB or a number of bytes")
    return int(size)


def parse_rate(text: float | str) -> float:
    """Return how many a second; a bare number is that.

    Raises ValueError for anything that is not a finite rate above 0.

    >>> [parse_rate(t) for t in ("50/s", "90/min", "1800/h", "7", 0.5)]
    [50.0, 1.5, 0.5, 7.0, 0.5]
    """
    match = _RATE.fullmatch(str(text).strip()) if not isinstance(text, bool) else None
    unit = "" if match is None else match[2] or "s"
    number = float(match[1]) / _UNIT_RATES[unit] if match is not None and unit in _UNIT_RATES else 0.0
    if not isfinite(number) or number <= 0:
        raise ValueError(f"{text!r} is not a rate above 0; write 50/s, 100/min or 5000/h")
    return number


def format_size(octets: int) -> str:
    """Return a short text for people.

    >>> [format_size(n) for n in (900, 20_000, 3_000_000_000)]
    ['900 B', '19.5 KiB', '2.8 GiB']
    """
    size, unit = float(octets), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{octets:,} B" if unit == "B" else f"{size:.1f} {unit}"


def parse_share(text: int | str) -> tuple[float, bool]:
    """Return (number, is_percent) of `N` or `N%`.

    >>> [parse_share(t) for t in ("10", "2.5%", 3)]
    [(10.0, False), (2.5, True), (3.0, False)]
    """
    body = str(text).strip()
    percent = body.endswith("%")
    try:
        number = float(body.removesuffix("%"))
    except ValueError:
        number = -1.0
    if not isfinite(number) or number < 0 or (percent and number > 100) or (not percent and number % 1):
        raise ValueError(f"{text!r} is not a limit; write a whole number or a percentage such as 5%")
    return number, percent
