"""Commands that take the words of the command line as they are.

Typer builds a pydantic adapter for each parameter: with 40 of them 0.1 s, a third of the time of a run of one
job (measured November 2026). Settings validate their own values, so text is all that is wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    # typer's copy of click is private, and these are only names for the type checker.
    from typer._click import Context, Parameter


class _AsIs:
    """Stands in for typer's RuntimeParam."""

    def coerce(self, value: object, *, param: Any, ctx: object) -> object:
        """Return the value, and for "none given" of a list the empty tuple."""
        del ctx
        return () if value is None and (param.multiple or param.nargs == -1) else value


_AS_IS = _AsIs()


def take_as_is(params: list[Parameter]) -> list[Parameter]:
    """Turn off the conversion of these parameters; were typer to change, they would only be slower again.

    Their help shows what an option takes where we say so, and no Python type such as `<bool>` beside it.
    """
    for param in params:
        shown = param.metavar if param.param_type_name == "option" else None
        # Methods, hidden from the type checker.
        setattr(param, "get_runtime_param", lambda: _AS_IS)  # noqa: B010
        setattr(param, "display_type_rich", lambda ctx, shown=shown: shown or "")  # noqa: ARG005, B010
    return params


class PlainCommand(TyperCommand):
    """A command all of whose options are text, lists of text, flags or counts."""

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Return the parameters, the help option among them, without their conversion."""
        return take_as_is(super().get_params(ctx))


class PlainGroup(TyperGroup):
    """A group of such commands."""

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Return the parameters, the help option among them, without their conversion."""
        return take_as_is(super().get_params(ctx))
