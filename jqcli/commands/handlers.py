"""`jq-run handlers`: registered handlers and their policies."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from jqcli.commands.option import parameters_of, takes
from jqcli.config import HandlerSpec, installed_handlers, load_config
from jqcli.edge.stderr import say
from jqcli.edge.text import safe


@takes(parameters_of(()))
def handlers(
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="One JSON object a line.")] = False,
    **said: Any,
) -> int:
    """List registered handlers and what the file asks of them (not what their code asks)."""
    file = load_config(said["config"], said["profile"])
    known = {spec.name or "": (spec, "installed package") for spec in installed_handlers()}
    known |= {spec.name or "": (spec, file.path or "") for spec in file.handlers}
    if not known:
        say('no handler is registered; write [handlers.NAME] with spec = "file.py:function" in jqcli.toml')
    width = max((len(name) for name in known), default=0)
    for name in sorted(known):
        spec, origin = known[name]
        typer.echo(_to_json(spec, origin) if as_json else _to_line(spec, origin, width))
    return 0


def _to_json(spec: HandlerSpec, origin: str) -> str:
    policy = spec.policy.to_dict()
    return json.dumps({"name": spec.name, "spec": spec.spec, "policy": policy, "from": origin})


def _to_line(spec: HandlerSpec, origin: str, width: int) -> str:
    policy = " ".join(f"{name}={_show(value)}" for name, value in spec.policy.to_dict().items())
    return safe(f"{spec.name or '':{width}}  {spec.spec}  {policy or '-'}  ({origin})", 1000)


def _show(value: object) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)
