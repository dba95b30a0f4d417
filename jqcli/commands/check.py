"""`jq-run check [INPUT]...`: say what a run would do; run nothing."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, get_type_hints

import typer

from jqcli.commands import run as of_run

_PANEL = "What is said"

Explain = Annotated[
    bool,
    typer.Option(
        "--explain", metavar="", help="Say of every line what would become of it, and why.", rich_help_panel=_PANEL
    ),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", metavar="", help="One JSON object; with --explain, one a line.", rich_help_panel=_PANEL),
]


def check(ctx: typer.Context, *, explain: bool = False, as_json: bool = False, **options: Any) -> int:
    """Count what a run would do with every line, and show the first bad ones; run nothing.

    Takes all options of a run, so that its command line can be used as it is.
    """
    from jqcli.preview import preview  # noqa: PLC0415 - like the run itself, only when it is wanted

    settings = of_run.build(ctx, options["config"], options["profile"], is_dry=True)
    return preview(settings, explain=explain, as_json=as_json)


def _take_options_of_run() -> None:
    """Give `check` the parameters of `run`; typer reads them from the signature."""
    hints = get_type_hints(of_run.run, include_extras=True)
    own = {"explain": Explain, "as_json": AsJson}
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in own.items()
    ]
    of_run_own = [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
        for name, one in inspect.signature(of_run.run).parameters.items()
        if name != "dry_run"
    ]
    setattr(check, "__signature__", inspect.Signature([*of_run_own, *parameters], return_annotation=int))  # noqa: B010
    check.__annotations__ = {**hints, **own}


_take_options_of_run()
