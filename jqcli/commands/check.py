"""`jq-run check [INPUT]...`: say what a run would do; run nothing."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jqcli.commands.option import Inputs, parameters_of, takes
from jqcli.commands.run import build
from jqcli.config import OPTIONS

_PANEL = "What is said"


@takes(parameters_of(option for option in OPTIONS if option.name != "dry_run"))
def check(
    ctx: typer.Context,
    inputs: Inputs = None,  # noqa: ARG001 - what was given is in the context
    explain: Annotated[
        bool, typer.Option("--explain", metavar="", help="Say it of every line, and why.", rich_help_panel=_PANEL)
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="As JSON.", rich_help_panel=_PANEL)] = False,
    **_: Any,
) -> int:
    """Count what a run would do with every line, and show the first bad ones; run nothing.

    Takes all options of a run, so that its command line can be used as it is.
    """
    from jqcli.preview import preview  # noqa: PLC0415 - like the run itself, only when it is wanted

    settings = build(ctx, dry_run=True)
    return preview(settings, explain=explain, as_json=as_json or settings.summary == "json")
