"""`jq-run verify INPUT... -o RESULTS -d DLQ`: count again from the files."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from jqcli.commands.option import Inputs, given_options, parameters_of, read_environment, takes
from jqcli.config import VERIFY_OPTIONS, build_verify_settings, installed_handlers, load_config
from jqcli.config.option import FILES
from jqcli.edge.account import account_object, account_text

_KEYS = "How lines became jobs: as in the run"
_OPTIONS = [
    option._replace(text=option.in_verify or option.text, panel=FILES if option.panel == FILES else _KEYS)
    for option in sorted(VERIFY_OPTIONS, key=lambda option: option.panel != FILES)
]


@takes(parameters_of(_OPTIONS))
def verify(
    ctx: typer.Context,
    inputs: Inputs = None,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="One JSON object, with every place.")] = False,
    **said: Any,
) -> int:
    """Count again from the files: every line of the input is exactly one record. Changes nothing."""
    # Here so that the other commands do not pay for it.
    from jqcli.verify import verify as count  # noqa: PLC0415

    account = count(
        build_verify_settings(
            given_options(ctx, (option.name for option in _OPTIONS)) | {"inputs": inputs or ()},
            load_config(said["config"], said["profile"]),
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
