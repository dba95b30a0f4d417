"""`jq-run [run] [INPUT]...`: run every job."""

from __future__ import annotations

import os
from typing import Any

import typer

from jqcli.commands.option import Inputs, given_options, parameters_of, read_environment, takes
from jqcli.config import OPTIONS, Settings, build_settings, installed_handlers, load_config, usable_cpus


@takes(parameters_of(OPTIONS))
def run(ctx: typer.Context, inputs: Inputs = None, **_: Any) -> int:  # noqa: ARG001 - what was given is in the context
    """Run every job of the inputs; results on stdout or in a file, dead letters in a file."""
    settings = build(ctx)
    # Here so that help, completion and the other commands do not pay for the engine.
    if settings.dry_run:
        from jqcli.preview import preview  # noqa: PLC0415

        return preview(settings, explain=False, as_json=settings.summary == "json")
    from jqcli.run import execute  # noqa: PLC0415

    return execute(settings)


def build(ctx: typer.Context, **also: object) -> Settings:
    """Return the settings of this command line; `also` are options that the command itself gives."""
    root = ctx.find_root().command
    return build_settings(
        given_options(ctx) | {"inputs": ctx.params["inputs"] or ()} | also,
        load_config(ctx.params["config"], ctx.params["profile"]),
        environment=read_environment(os.environ),
        installed=installed_handlers(),
        commands=tuple(getattr(root, "commands", ())),
        stdin_tty=os.isatty(0),
        stdout_tty=os.isatty(1),
        cpus=usable_cpus(),
    )
