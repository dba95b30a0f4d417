"""An object as one line of JSON, whatever is in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping


def to_json(members: Mapping[str, object]) -> bytes:
    """Return an object as one line."""
    try:
        return orjson.dumps(members, None, orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # lone surrogates and integers beyond 64 bits, both of which occur in ids and messages
        return json.dumps(members, separators=(",", ":")).encode() + b"\n"
