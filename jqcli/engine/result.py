"""A handler's result as JSON text, with the care that the fast path leaves out."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import orjson

from jqcli.core.exact import load_exact

_MAX_DEPTH = 900


class UnserializableError(Exception):
    """A handler's result is no JSON, or too large."""


def dump_result(result: Any, max_size: int) -> bytes:
    """Return the JSON text of any result; integers are exact, whatever their size.

    Raises UnserializableError for what is no JSON, NaN and infinities included, and for over `max_size` bytes.
    """
    try:
        text = orjson.dumps(result)
    except TypeError as error:
        text = _dump_slowly(result, str(error))
    else:
        # orjson writes null for NaN and the infinities
        if b"null" in text and _has_non_finite(result):
            raise UnserializableError("NaN and Infinity are no JSON")
    if len(text) > max_size:
        raise UnserializableError(f"a result of {len(text)} bytes; --max-result is {max_size}")
    return text


def _dump_slowly(result: Any, why: str) -> bytes:
    """Write what orjson refuses and JSON allows: large integers, depth, keys that are numbers."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 10 * _MAX_DEPTH)
    try:
        text = json.dumps(result, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        data = text.encode()
        load_exact(data)  # what is written here must be readable to whoever goes on from the file
    except (TypeError, ValueError, RecursionError) as error:
        raise UnserializableError(str(error) or why) from None
    finally:
        sys.setrecursionlimit(limit)
    return data


def _has_non_finite(result: Any) -> bool:
    from dataclasses import fields, is_dataclass  # noqa: PLC0415 - costs 6 ms, and few results hold a null
    from enum import Enum  # noqa: PLC0415 - as above

    todo = [result]
    while todo:
        item = todo.pop()
        if isinstance(item, Enum):
            item = item.value
        if isinstance(item, float):
            if not math.isfinite(item):
                return True
        elif isinstance(item, dict):
            todo.extend(item.values())
        elif isinstance(item, (list, tuple)):
            todo.extend(item)
        elif is_dataclass(item) and not isinstance(item, type):
            todo.extend(getattr(item, f.name) for f in fields(item))
    return False
