"""What an engine is told once, before any job."""

from __future__ import annotations

import json
import sys
from typing import Any, NamedTuple

from jqcli.core.codec import Scheme
from jqcli.policy import Policy

Specs = dict[str | None, tuple[str, Policy]]
"""Handlers by registered name, None for the default one: the spec, and the policy that lies over the handler's own."""


class Setup(NamedTuple):
    """How lines become jobs and jobs become records; `wants_logging` is whether somebody hears what handlers log."""

    tag: str
    scheme: Scheme
    names: tuple[str, ...]
    stems: tuple[str, ...]
    max_result: int
    deadline_at: float | None = None
    wants_logging: bool = False


def pack_setup(setup: Setup, specs: Specs) -> bytes:
    """Return what a worker must know, as JSON; the import path of this process is a part of it."""
    # Not orjson: names of files may be no UTF-8, which only this writes.
    return json.dumps(
        {
            "setup": [setup.tag, list(setup.scheme), setup.names, setup.stems, *setup[4:]],
            "handlers": [[name, spec, policy.to_dict()] for name, (spec, policy) in specs.items()],
            "path": sys.path,
        }
    ).encode()


def unpack_setup(data: bytes) -> tuple[Setup, Specs, list[str]]:
    """Return what `pack_setup` packed: the setup, the specs and the import path."""
    said: dict[str, Any] = json.loads(data)
    tag, (input_format, key_path, tenant_path, handlers), names, stems, *more = said["setup"]
    scheme = Scheme(input_format, key_path, tenant_path, tuple(handlers))
    specs = {name: (spec, Policy.from_dict(policy)) for name, spec, policy in said["handlers"]}
    return Setup(tag, scheme, tuple(names), tuple(stems), *more), specs, said["path"]
