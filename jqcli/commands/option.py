"""How an option is declared: its names, its variable, its panel in the help."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from jqcli.config import OPTION_NAMES
from jqcli.config.given import option_of, variable_of


def declare(
    panel: str,
    name: str,
    metavar: str,
    text: str,
    *,
    short: str | None = None,
    words: tuple[str, ...] = (),
    count: bool = False,
) -> Any:
    """Return the typer option of a setting; `words` are offered by shell completion.

    Defaults stand in `text` and not here, so that only what was given reaches the settings. Variables of
    settings are read by `read_environment`: typer would convert them, and its errors do not name them.
    """
    return typer.Option(
        *([short] if short else []),
        option_of(name),
        envvar=None if name in OPTION_NAMES else variable_of(name),
        show_envvar=False,
        show_default=False,
        metavar=metavar,
        help=text,
        rich_help_panel=panel,
        count=count,
        autocompletion=(lambda: list(words)) if words else None,
    )


def read_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the variables say, by setting name; an empty one is not given."""
    said = {name: environment.get(variable_of(name), "") for name in OPTION_NAMES}
    return {name: value for name, value in said.items() if value}


def given_options(ctx: typer.Context, names: Iterable[str]) -> dict[str, object]:
    """Return the options of the command line, by setting name, and not the defaults."""
    sources = {name: ctx.get_parameter_source(name) for name in names}
    return {name: ctx.params[name] for name, source in sources.items() if source and source.name == "COMMANDLINE"}


CONFIGURATION = "Configuration"

ConfigOption = Annotated[
    str | None, declare(CONFIGURATION, "config", "FILE", "The file of settings. (./jqcli.toml, ./pyproject.toml)")
]
ProfileOption = Annotated[
    str | None, declare(CONFIGURATION, "profile", "NAME", "Lay this profile of the file over it. (none)")
]
