"""`jq-run dlq DLQ...`: `summary` is the command where none is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer.core import TyperGroup

if TYPE_CHECKING:
    # typer's copy of click is private, and these are only names for the type checker.
    from typer._click import Context

DEFAULT = "summary"


class DlqGroup(TyperGroup):
    """A group with a default command."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Put `summary` in front, unless the first word is a command or an option of the group's own."""
        own = {name for param in self.get_params(ctx) for name in param.opts}
        is_routed = not args or args[0] in own | self.commands.keys() or ctx.resilient_parsing
        return super().parse_args(ctx, args if is_routed else [DEFAULT, *args])
