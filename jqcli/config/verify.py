"""What `jq-run verify` was asked to do: the part of a run's settings on which its files depend."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jqcli.config.given import Given, pick
from jqcli.config.handler import HandlerSpec, find_handler
from jqcli.config.path import check_apart, expand_inputs, find_dlq, find_output
from jqcli.config.settings import gather, read_plain, words_of
from jqcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jqcli.config.file import ConfigFile


@dataclass(frozen=True, slots=True)
class VerifySettings:
    """What to count, and how lines became jobs. `handler` and `input_format` are None where nobody says."""

    inputs: tuple[str, ...]
    handler: HandlerSpec | None
    handlers: tuple[HandlerSpec, ...]
    input_format: str | None
    key: str | None
    tenant: str | None
    limit: int | None
    max_line: int
    dedupe: bool
    output: str
    dlq: str


def build_verify_settings(
    values: Mapping[str, object],
    file: ConfigFile,
    *,
    stdin_tty: bool,
    environment: Mapping[str, object],
    installed: Iterable[HandlerSpec] = (),
) -> VerifySettings:
    """Return the settings of a verification, from the same places as those of a run; raises UsageError."""
    given = gather(values, environment, file)
    inputs = expand_inputs(words_of(values.get("inputs")), stdin_tty=stdin_tty)
    output = _find_results(given, inputs)
    dlq = find_dlq(given, inputs, output)
    check_apart(inputs, output, dlq)
    registered = {spec.name or "": spec for spec in (*installed, *file.handlers)}
    plain = read_plain(given)
    return VerifySettings(
        inputs=inputs,
        handler=pick(given, "handler", lambda value: find_handler(value, registered), None),
        handlers=tuple(registered.values()),
        input_format=plain["input_format"] if "input_format" in given else None,
        output=output,
        dlq=dlq,
        **{name: plain[name] for name in ("key", "tenant", "limit", "max_line", "dedupe")},
    )


def _find_results(given: Mapping[str, Given], inputs: Sequence[str]) -> str:
    """Return the path of the results: what was given, or the file that a run at a terminal makes up."""
    output = find_output(given, inputs, stdout_tty=True)
    if output is None:
        raise UsageError(f"{given['output'].where}: what went to stdout cannot be counted; name the file that took it")
    if "output" not in given and not Path(output).exists():
        raise UsageError(f"name the results file with -o: there is no {output} here")
    return output
