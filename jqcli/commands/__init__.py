"""The command line: one file per command, one function of the same name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from jqcli import __version__
from jqcli.commands.check import check
from jqcli.commands.dlq import dlq
from jqcli.commands.ending import end
from jqcli.commands.group import RootGroup
from jqcli.commands.handlers import handlers
from jqcli.commands.plain import PlainCommand
from jqcli.commands.ps import ps
from jqcli.commands.run import run
from jqcli.commands.store import store
from jqcli.commands.top import top
from jqcli.commands.verify import verify
from jqcli.edge import failpoint

EPILOG = (
    "Durations: 500ms, 30s, 5m, 1h30m. Sizes: 512MB, 1GiB. Every option reads JQ_RUN_<NAME> too, and "
    "./jqcli.toml (keys with _ for -). Exit codes: 0 all well, 1 dead letters, 2 usage, 3 stopped early."
)

app = typer.Typer(
    cls=RootGroup,
    name="jq-run",
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="| COMMAND ...",
    pretty_exceptions_enable=False,
    epilog=EPILOG,
)
app.command("run", cls=PlainCommand, epilog=EPILOG)(run)
app.command("verify", cls=PlainCommand)(verify)
app.command("handlers", cls=PlainCommand)(handlers)
app.command("check", cls=PlainCommand, epilog=EPILOG)(check)
app.command("ps", cls=PlainCommand)(ps)
app.command("top", cls=PlainCommand)(top)
app.add_typer(dlq, name="dlq")
app.add_typer(store, name="store")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"jq-run {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "-V",
            "--version",
            is_eager=True,
            callback=_print_version,
            metavar="",
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Run JSON Lines jobs on a bounded pool of workers: batched, retried, resumable."""


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line (by default the process's own) and return its exit code."""

    def command() -> object:
        failpoint.arm(os.environ)
        return get_command(app).main(args, prog_name="jq-run", standalone_mode=False)

    return end(command)
