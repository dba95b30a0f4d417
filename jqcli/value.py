"""What one setting may be: parsers from what a user wrote to a value that can be trusted.

A parser takes text (an option, the environment) or a TOML or Python value, and returns the value or
raises ValueError with a text that says what is allowed.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from jqcli.errors import printable, suggest
from jqcli.quantity import parse_duration, parse_rate, parse_share, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

_TYPE_NAME = re.compile(r"[^\W\d]\w*(?:\.(?:[^\W\d]\w*|<locals>))*")
_YES = frozenset({"1", "true", "yes", "on"})
_MOST_PORT = 65535
_NO = frozenset({"0", "false", "no", "off"})


_MOST = 10**18 - 1  # as many digits as fit 64 bits, in which numbers travel to the workers


def whole(least: int, most: int = _MOST) -> Callable[[object], int]:
    """Return a parser of whole numbers of at least `least` and at most `most`.

    >>> whole(1)("8")
    8
    """

    def parse(value: object) -> int:
        number = value if type(value) is int else None
        if isinstance(value, str) and re.fullmatch(r"\s*\d{1,4000}\s*", value, re.ASCII):
            number = int(value)
        if number is None or number < least:
            raise ValueError(f"{value!r} is not a whole number of at least {least}")
        if number > most:
            raise ValueError(f"{value!r} is more than {most}")
        return number

    return parse


def choice(*words: str) -> Callable[[object], str]:
    """Return a parser that takes one of `words`.

    >>> choice("run", "off")("run")
    'run'
    """

    def parse(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        near = suggest(value, words) if isinstance(value, str) else ""
        raise ValueError(f"{value!r} is none of {', '.join(words)}{near}")

    return parse


def text(value: object) -> str:
    """Return text that is not empty, and that can be a path: it holds no NUL, as text of a file may."""
    if isinstance(value, str) and value and "\0" not in value:
        return value
    raise ValueError("it is empty" if value == "" else f"{value!r} is not a text")


def word(value: object) -> str:
    """Return text that is not empty; a whole number is one too."""
    return text(str(value) if type(value) is int else value)


def size_or_off(value: object) -> int:
    """Return a size in bytes, 0 for `off`."""
    if value == "off":
        return 0
    if isinstance(value, (int, str)):
        return parse_size(value)
    raise ValueError(f"{value!r} is not a size; write 512MB, 1GiB, a number of bytes, or off")


def flag(value: object) -> bool:
    """Return a boolean; text is true, yes, on or 1, or false, no, off or 0.

    >>> [flag(v) for v in (True, "on", "0")]
    [True, True, False]
    """
    word = str(value).lower()
    if isinstance(value, (bool, str)) and word in _YES | _NO:
        return word in _YES
    raise ValueError(f"{value!r} is neither true nor false")


def seconds(value: object) -> float:
    """Return a duration in seconds, 0 included."""
    if isinstance(value, (int, float, str)):
        return parse_duration(value)
    raise ValueError(f"{value!r} is not a duration; write 500ms, 30s, 5m, 1h30m or 2d")


def some_seconds(value: object) -> float:
    """Return a duration in seconds, above 0."""
    duration = seconds(value)
    if duration == 0:
        raise ValueError(f"{value!r} leaves no time; leave it out for no limit")
    return duration


def size(value: object) -> int:
    """Return a size in bytes, above 0."""
    octets = parse_size(value) if isinstance(value, (int, str)) else 0
    if octets == 0:
        raise ValueError(f"{value!r} is not a size above 0; write 512MB, 1GiB or a number of bytes")
    return octets


def rate(value: object) -> float:
    """Return a rate in starts a second, above 0."""
    if isinstance(value, (int, float, str)):
        return parse_rate(value)
    raise ValueError(f"{value!r} is not a rate above 0; write 50/s, 100/min or 5000/h")


def percent(value: object) -> float:
    """Return a percentage above 0 as a share from 0 to 1.

    >>> percent("20%")
    0.2
    """
    number, is_percent = parse_share(value) if isinstance(value, str) else (0.0, False)
    if not is_percent or number == 0:
        raise ValueError(f"{value!r} is not a percentage above 0; write 20%")
    return number / 100


def whole_or_auto(value: object) -> int | None:
    """Return a whole number of at least 1, or None for `auto`."""
    if value == "auto":
        return None
    try:
        return whole(1)(value)
    except ValueError as error:
        raise ValueError(f"{error}, nor auto") from None


def address(value: object) -> tuple[str, int]:
    """Return (host, port) of `[HOST:]PORT`; the host is this machine's own where none is named.

    >>> address("9464"), address("0.0.0.0:80"), address("[::1]:80")
    (('127.0.0.1', 9464), ('0.0.0.0', 80), ('::1', 80))
    """
    host, _, port = str(value).rpartition(":")
    if not isinstance(value, (int, str)) or isinstance(value, bool) or not re.fullmatch(r"\d{1,5}", port, re.ASCII):
        raise ValueError(f"{value!r} is not a port; write 9464, or 0.0.0.0:9464 for all to see")
    if not 1 <= int(port) <= _MOST_PORT:
        raise ValueError(f"{port} is not a port; ports are 1 to {_MOST_PORT}")
    return host.strip("[]") or "127.0.0.1", int(port)


def web_address(value: object) -> str:
    """Return an http or https URL."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - slow, and workers need none of it

    url = text(value)
    if re.fullmatch(r"https?://[^\s/?#]+[^\s]*", url, re.ASCII | re.IGNORECASE):
        with suppress(ValueError):  # of brackets that are not closed, or of a port that is none
            parts = urlsplit(url)
            if parts.hostname and parts.port != 0:
                return url
    raise ValueError(f"{value!r} is not a URL; write https://hc-ping.com/<uuid>")


def dotted_path(value: object) -> str:
    """Return a PATH into the payload, such as `user.id`."""
    path = text(value)
    if all(path.split(".")) and "$" not in path and path == printable(path):
        return path
    raise ValueError(f"{path!r} is not a path into the payload; write user.id")


def type_names(value: object) -> tuple[str, ...]:
    """Return names of exception types, bare or dotted, from text with commas or from a list.

    >>> type_names("ValueError, requests.Timeout")
    ('ValueError', 'requests.Timeout')
    """
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(item, str) for item in texts):
        raise ValueError(f"{value!r} is not a list of type names; write ValueError,requests.Timeout")
    names = tuple(name.strip() for item in texts for name in item.split(",") if name.strip())
    wrong = next((name for name in names if not _TYPE_NAME.fullmatch(name)), None)
    if wrong is not None or not names:
        raise ValueError(f"{wrong or ','.join(texts)!r} is not the name of a type; write ValueError,requests.Timeout")
    return names
