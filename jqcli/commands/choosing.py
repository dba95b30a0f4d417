"""The options with which all `dlq` commands say which dead letters they are about."""

from __future__ import annotations

import inspect
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from glob import glob
from typing import Annotated, Any

import typer

from jqcli.commands.option import dress
from jqcli.core.choice import REASONS, Choice
from jqcli.edge.stderr import say
from jqcli.errors import UsageError, suggest
from jqcli.quantity import parse_duration
from jqcli.value import whole

PANEL = "Which letters"
Paths = Annotated[list[str], typer.Argument(metavar="DLQ...", help="Files of dead letters.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", metavar="", help="One JSON object a line.")]

# By parameter: the names of the option, its metavar, its help, and whether it may be given several times.
FILTERS: dict[str, tuple[tuple[str, ...], str, str, bool]] = {
    "reason": (("--reason",), "REASON", "Dead for this reason; a duplicate, for its first's.", True),
    "error": (("--error",), "TYPE", "Dead of this type of error, bare or dotted.", True),
    "match": (("--match",), "REGEX", "The error's message holds this.", False),
    "group": (("--group",), "FP", "Of this group of the summary.", True),
    "id": (("--id",), "ID", "The job with this id.", True),
    "from_handler": (("--handler", "--from-handler"), "SPEC", "Of this handler, as the letter names it.", True),
    "tenant": (("--tenant",), "TENANT", "Of this tenant.", True),
    "since": (("--since",), "TIME", "Dead since 2026-01-31T06:00:00Z, or 2h ago.", False),
    "until": (("--until",), "TIME", "Dead until then.", False),
    "min_attempts": (("--min-attempts",), "N", "Tried at least so often.", False),
    "limit": (("--limit",), "N", "The first N of them.", False),
}


def takes_choice(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the filters as options, and the `Choice` that they make as its argument `choice`."""

    def choosing(**said: Any) -> int:
        filters = {name: said.pop(name) for name in FILTERS}
        return command(choice=read_choice(filters, time.time()), **said)

    return dress(choosing, command, filter_parameters(), without="choice")


def say_missing(paths: Iterable[str]) -> None:
    """Tell a human that a DLQ is not there; to a script, a missing one is an empty one."""
    if not os.isatty(2):
        return
    for path in dict.fromkeys(paths):
        folder, name = os.path.split(path)
        if not os.path.lexists(path):
            near = suggest(name, glob("*.dlq.jsonl", root_dir=folder or None))
            say(f"{path}: no such file{near}, so there are no dead letters in it")


def filter_parameters(*, without: tuple[str, ...] = ()) -> list[inspect.Parameter]:
    """Return the filters as parameters for typer, without these names of options."""
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                (list[str] | None) if is_many else (str | None),
                typer.Option(
                    *(option for option in options if option not in without),
                    metavar=metavar,
                    help=text,
                    show_default=False,
                    rich_help_panel=PANEL,
                ),
            ],
        )
        for name, (options, metavar, text, is_many) in FILTERS.items()
    ]


def filters_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filters that were given, as they were."""
    return {name: _plain(said[name]) for name in FILTERS if said[name] not in (None, (), [])}


def read_choice(said: Mapping[str, Any], now: float) -> Choice:
    """Return the choice that the filters make; raises UsageError naming the option. `now` in Unix seconds."""
    return Choice(
        reasons=tuple(_reason(each) for each in said["reason"] or ()),
        errors=tuple(said["error"] or ()),
        match=None if said["match"] is None else _pattern(said["match"]),
        groups=tuple(said["group"] or ()),
        ids=tuple(said["id"] or ()),
        handlers=tuple(said["from_handler"] or ()),
        tenants=tuple(said["tenant"] or ()),
        since=_moment("--since", said["since"], now),
        until=_moment("--until", said["until"], now),
        min_attempts=read_number("--min-attempts", said["min_attempts"]),
        limit=read_number("--limit", said["limit"]),
    )


def _plain(value: object) -> object:
    return list(value) if isinstance(value, (list, tuple)) else value


def _reason(word: str) -> str:
    if word in REASONS:
        return word
    raise UsageError(f"--reason {word}: there is no such reason{suggest(word, REASONS)}; one of {', '.join(REASONS)}")


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"--match {text}: is no regular expression: {error}") from None


def _moment(option: str, text: str | None, now: float) -> float | None:
    if text is None:
        return None
    try:
        return now - parse_duration(text) if text[-1:].isalpha() and text[-1:] != "Z" else _date(text)
    except ValueError:
        raise UsageError(
            f"{option} {text}: is no time; write 2026-01-31T06:00:00Z, a date, Unix seconds, or 2h for two hours ago"
        ) from None


def _date(text: str) -> float:
    return (
        float(text)
        if text.replace(".", "", 1).isdigit() and "-" not in text
        else datetime.fromisoformat(text).timestamp()
    )


def read_number(option: str, text: str | None) -> int | None:
    """Return what an option says, 1 or more, None where it was not given; raises UsageError naming the option."""
    if text is None:
        return None
    try:
        return whole(1)(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
