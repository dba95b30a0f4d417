"""How commands take options: those of a run from the one table of them, as parameters that typer reads."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import typer

from jqcli.config import OPTION_NAMES, Option
from jqcli.config.given import option_of, variable_of
from jqcli.config.option import COUNT, FLAG, TEXT, TEXTS

CONFIGURATION = "Configuration"

Command = Callable[..., int]
Inputs = Annotated[
    list[str] | None,
    typer.Argument(metavar="INPUT", help="Files and globs; - is stdin. (what is piped in)", show_default=False),
]

_TYPES: dict[str, Any] = {TEXT: str | None, TEXTS: list[str] | None, FLAG: bool | None, COUNT: int | None}
_CONFIGURATION = (
    Option(CONFIGURATION, "config", "FILE", "The file of settings. (./jqcli.toml, ./pyproject.toml)"),
    Option(CONFIGURATION, "profile", "NAME", "Lay this profile of the file over it. (none)"),
)


def parameters_of(options: Iterable[Option]) -> list[inspect.Parameter]:
    """Return options of a run as parameters for typer, and with them the two that name a configuration.

    Variables of settings are read by `read_environment`: typer would convert them, and its errors do not name them.
    """
    return [_parameter_of(option) for option in (*options, *_CONFIGURATION)]


def _parameter_of(option: Option) -> inspect.Parameter:
    declared = typer.Option(
        *([option.short] if option.short else []),
        option_of(option.name),
        envvar=None if option.name in OPTION_NAMES else variable_of(option.name),
        show_envvar=False,
        show_default=False,
        metavar=option.metavar,
        help=option.text,
        rich_help_panel=option.panel,
        hidden=option.is_hidden,
        count=option.kind == COUNT,
        autocompletion=(lambda: list(option.words)) if option.words else None,
    )
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[_TYPES[option.kind], declared]
    )


def takes(more: Iterable[inspect.Parameter]) -> Callable[[Command], Command]:
    """Give a command these further parameters; it gets them as keywords."""

    def give(command: Command) -> Command:
        def taking(**said: Any) -> int:  # another object, for it is dressed otherwise
            return command(**said)

        return dress(taking, command, more)

    return give


def dress(outer: Command, command: Command, more: Iterable[inspect.Parameter], *, without: str = "") -> Command:
    """Return `outer` as typer is to see it: named and told of as `command`, with its parameters and these.

    `without` is the name of a parameter of `command` that `outer` makes of what it gets.
    """
    own = inspect.signature(command, eval_str=True).parameters.values()
    named = [each for each in own if each.name != without and each.kind is not inspect.Parameter.VAR_KEYWORD]
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*named, *more)]
    outer.__name__, outer.__doc__ = command.__name__, command.__doc__
    outer.__annotations__ = {each.name: each.annotation for each in parameters}
    setattr(outer, "__signature__", inspect.Signature(parameters))  # noqa: B010 - no attribute to the type checker
    return outer


def read_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the variables say, by setting name; an empty one is not given."""
    said = {name: environment.get(variable_of(name), "") for name in OPTION_NAMES}
    return {name: value for name, value in said.items() if value}


def given_options(ctx: typer.Context, names: Iterable[str] = OPTION_NAMES) -> dict[str, object]:
    """Return the options of the command line, by setting name, and not the defaults."""
    sources = {name: ctx.get_parameter_source(name) for name in names}
    return {name: ctx.params[name] for name, source in sources.items() if source and source.name == "COMMANDLINE"}
