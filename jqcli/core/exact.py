"""JSON texts to values, with exact integers.

orjson rounds an integer outside 64 bits, and refuses one that no double can hold. A text that may hold such a one
takes the slow way through stdlib json, which is laxer in all else; so orjson is asked about everything else first.
"""

from __future__ import annotations

import json
import re
import sys
from math import isinf
from typing import Any

import orjson

MAX_DEPTH = 1000
MAX_DIGITS = 4300  # of an integer: what Python turns into text and back; the time for that grows with the square
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
# A run of 19 digits is the shortest that can leave 64 bits; folding the digits makes it one substring search.
_FOLD = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))
_LONG = b"0" * 19
# A double has 309 digits at most. What is kept of a longer run is more than an escape (`\u0030`) needs.
_ENDLESS = re.compile(rb"([0-9]{18})[0-9]{282,}")


def has_long_digits(data: bytes) -> bool:
    """Tell whether a run of 19 digits or more stands anywhere: then integers may be out of orjson's range.

    >>> [has_long_digits(b"[1234567890123456789]"), has_long_digits(b"[123456789012345678]")]
    [True, False]
    """
    # Of 19 bytes in a row at least three are a sixth one: that much is enough to tell of most data that it has none.
    return data[::6].translate(_FOLD).find(b"000") >= 0 and data.translate(_FOLD).find(_LONG) >= 0


def load_exact(data: bytes) -> Any:
    """Return the document of a JSON text; an integer may have 4,300 digits.

    Raises ValueError for what is no JSON, RecursionError for what is too deep for this interpreter.

    >>> load_exact(b"[123456789012345678901, 1.0]")
    [123456789012345678901, 1.0]
    """
    if not has_long_digits(data):
        return orjson.loads(data)
    try:
        document = orjson.loads(data)
    except ValueError:
        if not _is_json_but_for_size(data):
            raise
        return _load_slowly(data)[0]
    exact, has_large = _load_slowly(data)
    return exact if has_large else document


def depth_of(data: bytes) -> int:
    """Return how deep the brackets of a valid JSON text nest.

    >>> depth_of(b'{"a":["[",1]}')
    2
    """
    depth = deepest = 0
    in_string = escaped = False
    for byte in data:
        if in_string:
            in_string = escaped or byte != 0x22
            escaped = byte == 0x5C and not escaped
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _is_json_but_for_size(data: bytes) -> bool:
    """Tell whether nothing but the length of its numbers is wrong with a text that orjson refused."""
    shorter = _ENDLESS.sub(rb"\1", data)
    if shorter == data:
        return False
    try:
        orjson.loads(shorter)
    except ValueError:
        return False
    return True


def _load_slowly(data: bytes) -> tuple[Any, bool]:
    """Return the document, and whether it holds an integer outside 64 bits."""
    large: list[int] = []

    def parse_int(text: str) -> int:
        digits = len(text) - text.startswith("-")
        if digits > MAX_DIGITS:
            raise ValueError(f"an integer of {digits:,} digits; {MAX_DIGITS:,} are the most")
        number = int(text)
        if not _INT_MIN <= number <= _INT_MAX:
            large.append(number)
        return number

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 4 * MAX_DEPTH)
    try:
        document = json.loads(data, parse_int=parse_int, parse_float=_parse_float)
    finally:
        sys.setrecursionlimit(limit)
    return document, bool(large)


def _parse_float(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError("a number that no double can hold")
    return number
