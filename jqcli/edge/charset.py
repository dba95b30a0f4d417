"""What people can read: where the locale is C, or none is set, as under cron, ASCII is all that can be relied on.

Python itself speaks UTF-8 there, and puts a locale of its own into the environment (PEP 538), so the environment that
this process was given is looked at. What programs read is not touched.
"""

from __future__ import annotations

import codecs
import os
import sys
from functools import cache

PLAIN = "jqcli.plain"
"""The name of an error handler for encodings: what is not ASCII becomes something that looks like it, or an escape."""

_NEAREST = {"…": "...", "—": "-", "µ": "u", "━": "=", "╸": "-"}
_SAID_SO = ("PYTHONIOENCODING", "PYTHONUTF8")


@cache
def is_ascii_only() -> bool:
    """Tell whether whoever reads along wants ASCII."""
    given = _environment()
    if any(given.get(name) for name in _SAID_SO):
        return False
    said = next((value for name in ("LC_ALL", "LC_CTYPE", "LANG") if (value := given.get(name))), "C")
    return said in ("C", "POSIX")


def heed_locale() -> None:
    """Let stderr say no more than its readers can read."""
    if is_ascii_only():
        sys.stderr.reconfigure(encoding="ascii", errors=PLAIN)  # type: ignore[union-attr] # whoever put another there


def plain(text: str) -> str:
    r"""Return text in ASCII.

    >>> plain("3 µs … é")
    '3 us ... \\xe9'
    """
    return text.encode("ascii", PLAIN).decode()


def _environment() -> dict[str, str]:
    """Return the environment as this process was given it, where the kernel tells."""
    try:
        with open("/proc/self/environ", "rb") as file:
            words = os.fsdecode(file.read()).split("\0")
    except OSError:
        return dict(os.environ)
    return dict(word.split("=", 1) for word in words if "=" in word)


def _replace(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)  # noqa: S101 - it is no decoder's
    chars = error.object[error.start : error.end]
    return "".join(_NEAREST.get(char) or char.encode("ascii", "backslashreplace").decode() for char in chars), error.end


codecs.register_error(PLAIN, _replace)
