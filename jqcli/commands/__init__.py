"""The command line: one file per command, one function of the same name."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Annotated

import typer
from typer.main import get_command

from jqcli import __version__
from jqcli.commands.ending import end
from jqcli.commands.group import COMMANDS, DEFAULT, RootGroup
from jqcli.commands.plain import PlainCommand
from jqcli.edge import failpoint

EPILOG = (
    "Durations: 500ms, 30s, 5m, 1h30m. Sizes: 512MB, 1GiB. Every option reads JQ_RUN_<NAME> too, and "
    "./jqcli.toml (keys with _ for -). Exit codes: 0 all well, 1 dead letters, 2 usage, 3 stopped early."
)

_WITH_EPILOG = ("run", "check")


def make_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Return the command line with these commands: a run has no use for what the others bring with them (25 ms)."""
    app = typer.Typer(
        cls=RootGroup,
        name="jq-run",
        context_settings={"help_option_names": ["-h", "--help"]},
        subcommand_metavar="| COMMAND ...",
        pretty_exceptions_enable=False,
        epilog=EPILOG,
        callback=root,
    )
    for name in names:
        command = getattr(import_module(f"jqcli.commands.{name}"), name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, cls=PlainCommand, epilog=EPILOG if name in _WITH_EPILOG else None)(command)
    return app


def _needed(words: Sequence[str]) -> Iterable[str]:
    """Return the commands that a command line may mean: all where it asks for help, or for the shell's completion."""
    if not words or words[0].startswith(("-h", "--h")) or any(name.endswith("_COMPLETE") for name in os.environ):
        return COMMANDS
    return dict.fromkeys((DEFAULT, words[0])) if words[0] in COMMANDS else (DEFAULT,)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"jq-run {__version__}")
        raise typer.Exit


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
    words = sys.argv[1:] if args is None else args

    def command() -> object:
        failpoint.arm(os.environ)
        app = get_command(make_app(_needed(words)))
        return app.main(list(words), prog_name="jq-run", standalone_mode=False)

    return end(command)
