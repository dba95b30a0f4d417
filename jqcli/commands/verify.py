"""`jq-run verify INPUT... -o RESULTS -d DLQ`: count again from the files."""

# Typer makes the options from the parameters, and what was given is read from its context:
# ruff: noqa: ARG001, PLR0917

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from jqcli.commands.option import ConfigOption, ProfileOption, declare, given_options, read_environment
from jqcli.commands.run import INPUTS
from jqcli.config import VERIFY_NAMES, build_verify_settings, installed_handlers, load_config
from jqcli.config import settings as allowed
from jqcli.edge.account import account_object, account_text

FILES, KEYS = "Files", "How lines became jobs: as in the run"

Text = str | None


def verify(
    ctx: typer.Context,
    inputs: Annotated[list[str] | None, INPUTS] = None,
    output: Annotated[
        Text, declare(FILES, "output", "RESULTS", "The results. (<input>.results.jsonl, if there)", short="-o")
    ] = None,
    dlq: Annotated[
        Text, declare(FILES, "dlq", "DLQ", "The dead letters. (<input>.dlq.jsonl beside the results)", short="-d")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="One JSON object, with every place.")] = False,
    handler: Annotated[
        Text, declare(KEYS, "handler", "SPEC", "Only its name counts. (as the files say)", short="-H")
    ] = None,
    input_format: Annotated[
        Text,
        declare(
            KEYS,
            "input_format",
            "FORM",
            "auto; envelope: every line is one; raw: none is. (as letters say)",
            words=allowed.INPUT_FORMATS,
        ),
    ] = None,
    key: Annotated[
        Text, declare(KEYS, "key", "PATH", "Where a payload has its key: user.id. (the whole payload)")
    ] = None,
    tenant: Annotated[Text, declare(KEYS, "tenant", "PATH", "Where a payload has its tenant. (as letters say)")] = None,
    limit: Annotated[Text, declare(KEYS, "limit", "N", "Read no more than N jobs. (all)")] = None,
    max_line: Annotated[Text, declare(KEYS, "max_line", "SIZE", "A longer line is a dead letter. (16MiB)")] = None,
    dedupe: Annotated[
        Text,
        declare(KEYS, "dedupe", "SCOPE", "run: equal jobs ran once; off: they all ran. (run)", words=allowed.DEDUPES),
    ] = None,
    config: ConfigOption = None,
    profile: ProfileOption = None,
) -> int:
    """Count again from the files: every line of the input is exactly one record. Changes nothing."""
    # Here so that the other commands do not pay for it.
    from jqcli.verify import verify as count  # noqa: PLC0415

    account = count(
        build_verify_settings(
            given_options(ctx, VERIFY_NAMES) | {"inputs": ctx.params["inputs"] or ()},
            load_config(config, profile),
            stdin_tty=os.isatty(0),
            environment=read_environment(os.environ),
            installed=installed_handlers(),
        )
    )
    if as_json:
        sys.stdout.buffer.writelines(account_object(account))
    else:
        sys.stdout.write(account_text(account))
    sys.stdout.flush()
    return account.exit_code
