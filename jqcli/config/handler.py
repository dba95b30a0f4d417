"""Which handlers there are: how a handler is named, and where names come from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jqcli.errors import suggest
from jqcli.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORMS = "pkg.module:function or path/file.py:function"

_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_NAME = re.compile(r"[^\W\d][\w.-]*")


@dataclass(frozen=True, slots=True)
class HandlerSpec:
    """A handler that may be run: its registered name (or None), where it is, and what was asked of it.

    In `Settings`, `policy` is all that ranks above the handler's own `@handler`: option, environment, file.
    """

    name: str | None
    spec: str
    policy: Policy = field(default_factory=Policy)


def is_file_spec(spec: str) -> bool:
    """Tell whether a spec names a file rather than a module."""
    target = spec.rpartition(":")[0]
    return target.endswith(".py") or "/" in target


def files_of(specs: Iterable[HandlerSpec]) -> list[str]:
    """Return the files that handlers are in, as far as they are named by them."""
    return [one.spec.rpartition(":")[0] for one in specs if is_file_spec(one.spec)]


def check_spec(spec: object) -> str:
    """Return a well-formed spec; raises ValueError that says what is wrong with it.

    >>> check_spec("tasks.py:charge")
    'tasks.py:charge'
    """
    if not isinstance(spec, str):
        raise ValueError(f"{spec!r} is not a text; write {FORMS}")  # noqa: TRY004 - a parser, see value.py
    target, colon, function = spec.rpartition(":")
    if not colon and (spec.endswith(".py") or "/" in spec):
        raise ValueError(f"{spec!r} names no function; write {spec}:FUNCTION")
    is_target = is_file_spec(spec) or _DOTTED.fullmatch(target)
    if not is_target or not _DOTTED.fullmatch(function):
        raise ValueError(f"{spec!r} is no handler; write {FORMS}")
    return spec


def check_name(name: str) -> str:
    """Return a name under which a handler may be registered; raises ValueError for others."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a handler; letters, digits, `_`, `-` and `.` are allowed")
    return name


def find_handler(given: object, registered: Mapping[str, HandlerSpec]) -> HandlerSpec:
    """Return the handler that `given` names; raises ValueError naming the nearest registered one."""
    if not isinstance(given, str) or ":" in given or given.endswith(".py") or "/" in given:
        return HandlerSpec(None, check_spec(given))
    if given in registered:
        return registered[given]
    near = suggest(given, registered)
    known = f"registered: {', '.join(sorted(registered))}" if registered else "none is registered"
    raise ValueError(f"{given!r} is not a registered handler{near} ({known}), nor {FORMS}")
