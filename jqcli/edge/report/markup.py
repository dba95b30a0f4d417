"""Builds HTML and SVG. Whatever is no `Markup` is text, and becomes harmless here and nowhere else."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING

from jqcli.edge.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterable

_WHOLE = 10_000  # characters; a path or a command is there to be copied, so it is not cut
_EMPTY = frozenset({"meta", "line", "path", "rect", "use", "circle"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Part = Markup | str | None


def tag(name: str, /, *parts: Part, **attributes: str | float) -> Markup:
    r"""Return an element; parts that are None are left out, `_` in the name of an attribute stands for `-`.

    >>> tag("p", "a<b\x1b", None, tag("b", "!"), class_="x", data_n=0.50)
    '<p class="x" data-n="0.5">a&lt;b\\x1b<b>!</b></p>'
    """
    said = "".join(f' {key.strip("_").replace("_", "-")}="{_value(value)}"' for key, value in attributes.items())
    if name in _EMPTY and not parts:
        return Markup(f"<{name}{said}/>")
    return Markup(f"<{name}{said}>{join(parts)}</{name}>")


def join(parts: Iterable[Part]) -> Markup:
    """Return parts one after the other, text made harmless."""
    return Markup("".join(part if isinstance(part, Markup) else text(part) for part in parts if part is not None))


def text(said: str, most: int = _WHOLE) -> Markup:
    """Return text of anybody's as harmless text: what does not print is shown by its escape, and nothing is a tag."""
    return Markup(html.escape(safe(said, most)))


def json_data(name: str, value: object) -> Markup:
    """Return a block of data for programs, which no browser runs: JSON in ASCII without any character of HTML's."""
    said = json.dumps(value, separators=(",", ":"))
    for char in "<>&":
        said = said.replace(char, f"\\u{ord(char):04x}")
    return Markup(f'<script type="application/json" id="{name}">{said}</script>')


def _value(value: str | float) -> str:
    return f"{value:g}" if isinstance(value, float) else text(str(value))
