"""Turns values into text that people read; untrusted text becomes harmless here and nowhere else."""

from __future__ import annotations

import shlex
from itertools import chain
from math import floor
from typing import TYPE_CHECKING

from jqcli.quantity import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jqcli.core.tally import ErrorGroup, FlowState

_MOST_KEYS = 2
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# str.isprintable() refuses controls, bidi marks, zero-width joiners and surrogates. It lets through the
# rest of Unicode's Default_Ignorable_Code_Point. They draw nothing: two different ids would look the same.
_INVISIBLE = frozenset(
    chain(
        (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164, 0xFFA0),
        range(0xFE00, 0xFE10),
        range(0xE0100, 0xE01F0),
    )
)


def safe(text: str, most: int = 200) -> str:
    r"""Return untrusted text as one harmless line of at most `most` characters.

    Whatever does not print is escaped; printable text of any script stays.

    >>> safe("grün 漢字"), safe("\x1b[2Ja\nb\u202e"), safe("abcdef", 4)
    ('grün 漢字', '\\x1b[2Ja\\nb\\u202e', 'abc…')
    """
    # Only what can be shown is looked at: a message may be megabytes long.
    shown = "".join(map(_visible, text[: most + 1]))
    return shown if len(shown) <= most else shown[: max(most - 1, 0)] + "…"


def _visible(char: str) -> str:
    r"""Return the character itself where it prints, else its escape.

    >>> [_visible(c) for c in ("ü", "\t", "\x00", "\u200b", "\U000e0001")]
    ['ü', '\\t', '\\x00', '\\u200b', '\\U000e0001']
    """
    code = ord(char)
    if char.isprintable() and code not in _INVISIBLE:
        return char
    if char in _NAMED:
        return _NAMED[char]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def describe_flow(flow: FlowState, *, is_over: bool = False) -> list[str]:
    """Return what holds jobs up on purpose, now and before; what is 0 is left out, and what the end of a run makes so.

    These are limits, breakers, the retry budget, the level and the deadline.
    """
    breakers = "breaker open" if flow.open == 1 else "breakers open"
    parts = (
        (flow.not_admitted, f"{flow.not_admitted:,} kept from starting by the deadline" if flow.not_admitted else ""),
        (flow.open, f"{flow.open:,} {breakers}{_describe_keys(flow)}"),
        (flow.parked, f"{flow.parked:,} parked"),
        (flow.throttled, f"{flow.throttled:,} wait for a rate"),
        (flow.delayed, f"{flow.delayed:,} retries wait for the budget"),
        (flow.aside, f"{flow.aside:,} set aside"),
        (None if is_over else flow.deadline, f"deadline in {format_duration(flow.deadline or 0.0)}"),
        (flow.level, f"{flow.level} at once"),
        (None if is_over else flow.budget, f"budget for {flow.budget} retries"),
        (flow.trips, f"opened {flow.trips:,}x"),
        (flow.probes, f"{flow.probes:,} probes"),
        (flow.pauses, f"told to slow down {flow.pauses:,}x"),
    )
    return [text for count, text in parts if count]


def _describe_keys(flow: FlowState) -> str:
    """Return which breakers are open and for how long, where there may be several."""
    shown = [
        f"{safe(key.key, 20)} for {format_duration(key.seconds)}" if key.seconds else f"{safe(key.key, 20)} probed"
        for key in flow.keys[:_MOST_KEYS]
        if key.key is not None
    ]
    if not shown:
        return ""
    return f" ({', '.join([*shown, *(['…'] if flow.open > len(shown) else [])])})"


def file_word(path: str) -> str:
    """Return a file's path as a word of a command line, which no `-` makes an option.

    >>> file_word("-x.jsonl"), file_word("x.jsonl")
    ('./-x.jsonl', 'x.jsonl')
    """
    return f"./{path}" if path.startswith("-") else path


def shell_line(words: Iterable[str]) -> str:
    r"""Return a command line to be copied: what cannot be shown, or is no UTF-8, in a form that shells read as it is.

    >>> print(shell_line(["jq-run", "a b", "tab\there", "no\udcffutf8"]))
    jq-run 'a b' $'tab\x09here' $'no\xffutf8'
    """
    return " ".join(shlex.quote(word) if safe(word, len(word)) == word else _quote_bytes(word) for word in words)


def _quote_bytes(word: str) -> str:
    data = word.encode("utf-8", "surrogateescape")
    plain = (chr(byte) if 0x20 <= byte < 0x7F and byte not in b"\\'" else f"\\x{byte:02x}" for byte in data)
    return f"$'{''.join(plain)}'"


def show_rate(rate: float) -> str:
    """Return a rate in jobs/s for people.

    >>> [show_rate(r) for r in (0.0, 0.25, 9.96, 4100.4)]
    ['0/s', '0.2/s', '10/s', '4,100/s']
    """
    return f"{rate:.1f}/s" if 0 < rate < 9.95 else f"{rate:,.0f}/s"


def show_percent(fraction: float, decimals: int = 0) -> str:
    """Return a share in percent, rounded down: nothing is at 100 % before it is done.

    >>> show_percent(0.9999), show_percent(0.9999, 1), show_percent(1.0, 1), show_percent(-0.1)
    ('99 %', '99.9 %', '100.0 %', '0 %')
    """
    scale = 10**decimals
    return f"{floor(min(max(fraction, 0.0), 1.0) * 100 * scale) / scale:.{decimals}f} %"


def describe_error(group: ErrorGroup, most: int = 200) -> str:
    """Return `type: message` of a group, safe for a terminal, the type without its module."""
    kind = group.type.rpartition(".")[2]
    return safe(f"{kind}: {group.message[: most + 1]}" if group.message else kind, most)
