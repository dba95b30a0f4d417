"""The root of the command line: `run` is the command where none is named."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from typer import Exit
from typer.core import TyperGroup

from jqcli.commands.plain import take_as_is
from jqcli.config.path import missing_input
from jqcli.errors import ReaderGoneError, suggest

if TYPE_CHECKING:
    # typer's copy of click is private, and these are only names for the type checker.
    from typer._click import Command, Context, HelpFormatter, Parameter
    from typer._click.shell_completion import CompletionItem

DEFAULT = "run"
COMMANDS = (DEFAULT, "check", "verify", "dlq", "ps", "top", "store", "handlers")  # each a module of this folder
_IN_HELP = "jqcli.in_help"
_OWN_PANEL = "The program itself"


class RootGroup(TyperGroup):
    """A group with a default command: `jq-run jobs.jsonl` is `jq-run run jobs.jsonl`."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Put `run` in front, unless the first word is a command or an option of the group's own."""
        with _reader_of_stdout():
            if not args and not ctx.resilient_parsing and os.isatty(0):
                with redirect_stdout(sys.stderr):
                    print(ctx.get_help())  # noqa: T201 - help after a mistake, so not on stdout
                raise Exit(2)
            return super().parse_args(ctx, self._route(ctx, args))

    def invoke(self, ctx: Context) -> object:
        """Run the command; a reader that went away is an error of ours, before typer makes it exit 1."""
        with _reader_of_stdout():
            return super().invoke(ctx)

    def _route(self, ctx: Context, args: list[str]) -> list[str]:
        own = {name for param in self.get_params(ctx) for name in param.opts}
        if (args and args[0] in own.union(COMMANDS)) or (not args and ctx.resilient_parsing):
            return args
        if args and args[0].isidentifier() and not Path(args[0]).exists() and suggest(args[0], COMMANDS):
            raise missing_input(args[0], COMMANDS)
        return [DEFAULT, *args]

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Return the group's own parameters, and `run`'s with them where help is being shown."""
        own = take_as_is(super().get_params(ctx))
        if ctx.meta.get(_IN_HELP) is not self:
            return own
        for param in own:
            setattr(param, "rich_help_panel", _OWN_PANEL)  # noqa: B010 - an attribute of typer's own parameters
        return [*take_as_is(self.commands[DEFAULT].params), *own]

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Show `run`'s options with the group's."""
        ctx.meta[_IN_HELP] = self
        try:
            super().format_help(ctx, formatter)
        finally:
            del ctx.meta[_IN_HELP]

    def shell_complete(self, ctx: Context, incomplete: str) -> list[CompletionItem]:
        """Complete commands and the group's options, and what `run` takes as its first word."""
        run: Command = self.commands[DEFAULT]
        with run.make_context(DEFAULT, [], parent=ctx, resilient_parsing=True) as run_ctx:
            return [*super().shell_complete(ctx, incomplete), *run.shell_complete(run_ctx, incomplete)]


@contextmanager
def _reader_of_stdout() -> Iterator[None]:
    try:
        yield
    except (BrokenPipeError, SystemExit) as error:
        # rich turns a broken pipe into SystemExit(1) where it prints help.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        raise ReaderGoneError("the reader of stdout went away") from None
