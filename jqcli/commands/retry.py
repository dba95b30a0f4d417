"""`jq-run dlq retry DLQ...`: a run whose jobs are those of dead letters."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from jqcli.commands.choosing import (
    FILTERS,
    PANEL,
    AsJson,
    Paths,
    filter_parameters,
    filters_of,
    read_choice,
    read_number,
    say_missing,
)
from jqcli.commands.option import given_options, parameters_of, read_environment, takes
from jqcli.config import OPTIONS, ConfigFile, Settings, build_settings, installed_handlers, load_config, usable_cpus
from jqcli.config.given import Given, option_of, pick
from jqcli.config.settings import choose_voice, gather
from jqcli.core.amend import change_line, parse_change
from jqcli.core.letter import Letter, text_of
from jqcli.edge.lock import Patience
from jqcli.edge.stderr import say
from jqcli.errors import UsageError
from jqcli.value import flag, seconds, text

Builder = Callable[[Any], Settings]

# What a filter has the name of is the filter.
_OF_RUN = [option._replace(is_hidden=bool(option.refused)) for option in OPTIONS if option.name not in FILTERS]


@takes([*filter_parameters(without=("--handler",)), *parameters_of(_OF_RUN)])
def retry(
    ctx: typer.Context,
    paths: Paths,
    max_redrives: Annotated[
        str | None,
        typer.Option(
            "--max-redrives", metavar="N", help="Leave those that were retried N times.", rich_help_panel=PANEL
        ),
    ] = None,
    edit: Annotated[
        bool, typer.Option("--edit", metavar="", help="Change the jobs in $EDITOR first.", rich_help_panel=PANEL)
    ] = False,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="PATH=JSON", help="Change the payloads first: card='\"valid\"'.", rich_help_panel=PANEL
        ),
    ] = None,
    as_json: AsJson = False,
    **said: Any,
) -> int:
    """Run the jobs of dead letters again: what completes leaves the file, what fails stays with its history.

    Takes the options of a run. Results go where they went; ids and keys stay. Killed, the same command goes on.
    """
    # Here so that help, completion and the other commands do not pay for the engine.
    from jqcli.edit import edit_letters  # noqa: PLC0415
    from jqcli.redrive import redrive  # noqa: PLC0415
    from jqcli.selection import Ask  # noqa: PLC0415

    given = _given(ctx)
    if as_json and given.setdefault("summary", "json") != "json":
        raise UsageError(f"--json contradicts --summary {given['summary']}: leave one of them out")
    file, environment = load_config(said["config"], said["profile"]), read_environment(os.environ)
    gathered = gather(given, environment, file)
    _refuse_of_all(gathered, len(set(paths)))
    most = read_number("--max-redrives", max_redrives)
    if edit and change:
        raise UsageError("--edit and --set: take one of them")
    asked = filters_of(said) | {"max_redrives": most, "edit": edit, "set": list(change or ())}
    ask = Ask(read_choice(said, time.time()), asked, most, _amending(change or ()), edit_letters if edit else None)
    if not choose_voice(gathered)[0]:
        say_missing(paths)
    code = 0
    for path in dict.fromkeys(paths):
        code = max(code, redrive(path, ask, _builder(path, given, file, environment), _patience(gathered)))
        if code > 1:
            break
    return code


def _given(ctx: typer.Context) -> dict[str, object]:
    """Return the options of the run that were given; raises UsageError for one that a redrive cannot have."""
    given = given_options(ctx, (option.name for option in _OF_RUN))
    for option in _OF_RUN:
        if option.refused and option.name in given:
            raise UsageError(f"{option_of(option.name)}: {option.refused}")
    return given


def _refuse_of_all(gathered: Mapping[str, Given], count: int) -> None:
    """Raise UsageError where variable or file want nothing to be run, or one file would be written for many DLQs."""
    if pick(gathered, "dry_run", flag, default=False):
        refused = next(option.refused for option in OPTIONS if option.name == "dry_run")
        raise UsageError(f"{gathered['dry_run'].where}: {refused}")
    for name in ("trace", "report"):
        if count > 1 and pick(gathered, name, text, None):
            raise UsageError(f"{gathered[name].where}: each DLQ's run would write it anew; retry one DLQ at a time")


def _patience(gathered: Mapping[str, Given]) -> Patience:
    """Return how long to wait for another redrive of the same DLQ."""
    quiet, verbose = choose_voice(gathered)
    is_told = not quiet and (verbose or os.isatty(2))
    return Patience(pick(gathered, "lock_wait", seconds, 0.0), say=say if is_told else lambda _: None)


def _builder(path: str, given: Mapping[str, object], file: ConfigFile, said: Mapping[str, str]) -> Builder:
    """Return what makes the settings of a redrive: what the letters know, and for the rest what a run asks for."""
    environment = dict(said)
    for name in ("dlq", "fresh", "limit", "tenant", "key", "input_format"):
        environment.pop(name, None)

    def build(selection: Any) -> Settings:
        from jqcli.origin import check_handler, check_key  # noqa: PLC0415 - see above

        origin = selection.origins.one()
        key = check_key(origin, _text(given.get("key")))
        asked = _text(given.get("input_format"))
        if asked not in (None, origin.input_format):
            raise UsageError(f"--input-format {asked}: the letters were read with {origin.input_format}")
        output = given.get("output") or environment.get("output") or selection.origins.one_output() or "-"
        values = {**given, "inputs": ("-",), "dlq": path, "output": output, "input_format": origin.input_format}
        is_named = any("handler" in each for each in (given, environment, file.values))
        if not is_named:
            values["handler"] = selection.origins.trusted_handler()
        settings = build_settings(
            {name: value for name, value in values.items() if name != "key"},
            file,
            environment=environment,
            installed=installed_handlers(),
            stdin_tty=False,
            stdout_tty=False,
            cpus=usable_cpus(),
        )
        if "handler" not in given:
            check_handler(origin, settings.handler.spec)
        return replace(
            settings,
            inputs=(path,),
            key=key,
            tenant=origin.tenant_path,
            tag=origin.tag,
            limit=None,
            fresh=False,
        )

    return build


def _amending(texts: Sequence[str]) -> Callable[[Letter], bytes] | None:
    """Return what makes the line of a letter's job into the one that `--set` asks for."""
    if not texts:
        return None
    try:
        changes = tuple(parse_change(text) for text in texts)
    except ValueError as error:
        raise UsageError(f"--set: {error}") from None
    return lambda letter: change_line(text_of(letter), changes, is_raw=letter.text("input_format") == "raw")


def _text(said: object) -> str | None:
    return None if said is None else str(said)
