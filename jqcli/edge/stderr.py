"""Speaks to people, on stderr; whatever is said is harmless to their terminal."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TextIO

from jqcli.edge.level import INFO, add_level
from jqcli.edge.text import safe

_LINE = 2000


def say(text: str, level: int = INFO) -> None:
    """Say one line."""
    write(f"jq-run: {safe(text, _LINE)}\n", level)


def say_lines(text: str, level: int = INFO) -> None:
    """Say what may be of several lines, such as where an error comes from."""
    write("jq-run: " + "".join(f"{safe(line, _LINE)}\n" for line in text.split("\n")), level)


def write(text: str, level: int | None = None) -> None:
    """Write text as it is, marked with its level where systemd listens; nobody who listens is no failure."""
    stream: TextIO | None = sys.stderr  # None where fd 2 is closed, and then print would take stdout
    if stream is not None:
        with suppress(OSError):
            stream.write(text if level is None else add_level(text, level))
            stream.flush()
