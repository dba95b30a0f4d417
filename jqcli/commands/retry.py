"""`jq-run dlq retry DLQ...`: a run whose jobs are those of dead letters."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from jqcli.commands.choosing import (
    PANEL,
    AsJson,
    Paths,
    filter_parameters,
    filters_of,
    read_choice,
    read_number,
    with_options,
)
from jqcli.commands.option import given_options, read_environment
from jqcli.commands.run import run
from jqcli.config import OPTION_NAMES, Settings, build_settings, installed_handlers, load_config, usable_cpus
from jqcli.config.given import Given, pick
from jqcli.config.settings import merge
from jqcli.core.amend import change_line, parse_change
from jqcli.core.letter import Letter, text_of
from jqcli.errors import UsageError
from jqcli.value import flag

# What a run has and a redrive has not: its letters know it, or it would make no sense.
_NOT_OF_RUN = ("ctx", "inputs", "dlq", "fresh", "limit", "tenant", "dry_run")
_OF_RUN = tuple(name for name in OPTION_NAMES if name not in _NOT_OF_RUN)


def _of_run() -> list[inspect.Parameter]:
    """Return the options of `run` that a redrive takes."""
    return [each for each in inspect.signature(run, eval_str=True).parameters.values() if each.name not in _NOT_OF_RUN]


def _takes_options_of_run(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the filters and the options of `run`, as keywords."""

    def taking(**said: Any) -> int:
        return command(**said)

    return with_options(taking, command, [*filter_parameters(without=("--handler",)), *_of_run()])


@_takes_options_of_run
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

    given = given_options(ctx, _OF_RUN) | ({"summary": "json"} if as_json else {})
    most = read_number("--max-redrives", max_redrives)
    if edit and change:
        raise UsageError("--edit and --set: take one of them")
    asked = filters_of(said) | {"max_redrives": most, "edit": edit, "set": list(change or ())}
    ask = Ask(read_choice(said, time.time()), asked, most, _amending(change or ()), edit_letters if edit else None)
    code = 0
    for path in dict.fromkeys(paths):
        code = max(code, redrive(path, ask, _builder(path, given, said)))
        if code > 1:
            break
    return code


def _builder(path: str, given: dict[str, object], said: dict[str, Any]) -> Callable[[Any], Settings]:
    """Return what makes the settings of a redrive: what the letters know, and for the rest what a run asks for."""
    file = load_config(said["config"], said["profile"])
    environment = read_environment(os.environ)
    _refuse_dry_run(merge({}, environment, file))
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
        values = given | {"inputs": ("-",), "dlq": path, "output": output, "input_format": origin.input_format}
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


def _refuse_dry_run(given: Mapping[str, Given]) -> None:
    """Raise UsageError where variable or file want nothing to be run."""
    if pick(given, "dry_run", flag, default=False):
        raise UsageError(f"{given['dry_run'].where}: retry has no dry run; `jq-run dlq list` shows the same letters")


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
