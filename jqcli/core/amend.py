"""Changes the line of a job: `--set PATH=JSON`. Integers keep all of their digits, fractions their value."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, NamedTuple

from jqcli.core.exact import MAX_DEPTH, depth_of, load_exact


class Change(NamedTuple):
    """What is to stand at a path into the payload."""

    path: tuple[str, ...]
    value: Any


def parse_change(text: str) -> Change:
    """Return the change that `PATH=JSON` asks for; raises ValueError that says what is wrong with it.

    >>> parse_change("user.id=7")
    Change(path=('user', 'id'), value=7)
    """
    path, equals, value = text.partition("=")
    if not equals or not all(path.split(".")):
        raise ValueError(f"{text!r} is no change; write PATH=JSON, such as user.id=7")
    try:
        return Change(tuple(path.split(".")), load_exact(value.encode()))
    except (ValueError, RecursionError):
        raise ValueError(f"{value!r} is no JSON; a text needs its quotes: {path}='\"{value}\"'") from None


def change_line(line: bytes, changes: tuple[Change, ...], *, is_raw: bool) -> bytes:
    r"""Return the line of a job with its payload changed; raises ValueError where a path leads through no object.

    >>> change_line(b'{"n":1.5,"big":123456789012345678901}', (Change(("a", "b"), 2),), is_raw=False)
    b'{"n":1.5,"big":123456789012345678901,"a":{"b":2}}'
    >>> change_line(b'{"id":"x","payload":{"n":1}}', (Change(("n",), None),), is_raw=False)
    b'{"id":"x","payload":{"n":null}}'
    """
    if depth_of(line) > MAX_DEPTH // 2:
        raise ValueError("is nested too deeply to be changed; use --edit")
    document = json.loads(line)
    is_envelope = isinstance(document, dict) and "payload" in document and not is_raw
    holder = document if is_envelope else {"payload": document}
    for change in changes:
        _put(holder, change)
    changed = holder if is_envelope else holder["payload"]
    with suppress(RecursionError):  # which comes at another depth with each Python
        text = json.dumps(changed, ensure_ascii=False, separators=(",", ":")).encode()
        if depth_of(text) <= MAX_DEPTH:
            return text
    raise ValueError("would be nested too deeply; use --edit")


def _put(holder: dict[str, Any], change: Change) -> None:
    at, name = holder, "payload"
    for part in change.path:
        inner = at.setdefault(name, {})
        if not isinstance(inner, dict):  # no TypeError: it is the user's path that is wrong
            raise ValueError(f"has no object at {name!r}, so nothing can be set at {'.'.join(change.path)}")  # noqa: TRY004
        at, name = inner, part
    at[name] = change.value
