"""`jq-run dlq DLQ...`: `summary` is the command where none is named."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jqcli.commands.plain import PlainGroup
from jqcli.config.path import missing_input
from jqcli.errors import suggest

if TYPE_CHECKING:
    # typer's copy of click is private, and these are only names for the type checker.
    from typer._click import Context

DEFAULT = "summary"


class DlqGroup(PlainGroup):
    """A group with a default command."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Put `summary` in front, unless the first word is a command or an option of the group's own."""
        own = {name for param in self.get_params(ctx) for name in param.opts}
        is_routed = not args or args[0] in own | self.commands.keys() or ctx.resilient_parsing
        if is_routed:
            return super().parse_args(ctx, args)
        # A missing file is an empty DLQ, but a slip of the finger is none.
        if args[0].isidentifier() and not Path(args[0]).exists() and suggest(args[0], self.commands):
            raise missing_input(args[0], self.commands)
        return super().parse_args(ctx, [DEFAULT, *args])
