"""The door of `jq-run` and `python -m jqcli`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and end the process with its exit code."""
    # Here and not above: every spawned worker imports this module again, and must not pay for typer.
    from jqcli.commands import main as run_command_line  # noqa: PLC0415

    sys.exit(run_command_line())


if __name__ == "__main__":
    main()
