"""`jq-run ps`: the running runs of this user."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from jqcli.edge.status import Status, running_runs
from jqcli.edge.stderr import say
from jqcli.edge.text import safe, show_percent, show_rate
from jqcli.quantity import format_duration

_HEAD = f"{'pid':>7} {'run':<12} {'state':<8} {'progress':>13} {'rate':>9} {'ETA':>6} {'dead':>7} job"


def ps(as_json: Annotated[bool, typer.Option("--json", metavar="", help="One JSON object a line.")] = False) -> int:
    """List the running runs of this user: how far they are, and what is dead."""
    runs = running_runs()
    if as_json:
        for status in runs:
            typer.echo(json.dumps(status.said, separators=(",", ":")))
    elif runs:
        typer.echo("\n".join([_HEAD, *map(to_line, runs)]))
    else:
        say("no run of yours is running")
    return 0


def to_line(status: Status) -> str:
    """Return one run as a line for people."""
    shown = status.snapshot
    progress = f"{shown.read:,} read" if shown.fraction is None else show_percent(shown.fraction, 1)
    eta = "—" if shown.eta is None else format_duration(shown.eta)
    state = safe(shown.state, 8)
    head = f"{status.pid:>7} {safe(status.run, 12):<12} {state:<8} {progress:>13} {show_rate(shown.rate):>9}"
    return f"{head} {eta:>6} {shown.dead:>7,} {safe(status.title)}"
