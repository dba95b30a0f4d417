"""`jq-run top [RUN]`: the live table of a run, from any terminal."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from math import inf
from typing import Annotated

import typer

from jqcli.edge.interrupt import Interrupts
from jqcli.edge.runtime import is_alive
from jqcli.edge.screen import open_screen, plain_line
from jqcli.edge.status import Status, read_status, running_runs
from jqcli.edge.stderr import say
from jqcli.errors import ReaderGoneError, UsageError

_LOOK_EVERY = 0.5  # seconds; the file is replaced once a second


def top(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="A pid, a run's id or its beginning, or a status file. (the only one)",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="The state now, as one JSON object.")] = False,
) -> int:
    """Show the live table of a running run until it ends; Ctrl-C leaves the run alone."""
    status = choose_run(run)
    if as_json:
        typer.echo(json.dumps(status.said, separators=(",", ":")))
        return 0
    return _watch(status)


def choose_run(word: str | None) -> Status:
    """Return the run that is meant; raises UsageError naming the runs where that is not clear."""
    if word is not None and ("/" in word or word.endswith(".json")):
        try:
            return read_status(word)
        except FileNotFoundError:
            raise UsageError(f"{word}: no such file") from None
    runs = running_runs()
    meant = [one for one in runs if word is None or word == str(one.pid) or one.run.startswith(word)]
    if len(meant) == 1:
        return meant[0]
    if not runs:
        raise UsageError("no run of yours is running")
    known = "; ".join(f"{one.pid} ({one.title})" for one in runs)
    which = "several are running" if word is None else f"{word}: {'several' if meant else 'none'} of the running runs"
    raise UsageError(f"{which}; name one by its pid: {known}")


def _watch(status: Status) -> int:
    """Draw until the run has ended, or until a signal; the exit code is ours, not the run's."""
    screen = open_screen("live", sys.stdout, status.title)
    due = 0.0
    with Interrupts() as interrupts:
        try:
            while not interrupts.received and not status.is_over and is_alive(status.pid, status.birth):
                if time.monotonic() >= due:
                    screen.update(status.snapshot)
                    due = time.monotonic() + screen.interval
                if screen.interval == inf:
                    raise ReaderGoneError("the reader of stdout went away")
                select.select([interrupts.fd], [], [], _LOOK_EVERY)
                status = read_status(status.path)
        except FileNotFoundError:
            pass
        finally:
            screen.close(status.snapshot)
    if interrupts.received:
        return 128 + interrupts.received[0]
    say(_describe_end(status))
    return 0


def _describe_end(status: Status) -> str:
    """Say what became of a run, and how far it was when it was last looked at."""
    if status.is_over:
        how = f"has ended with exit code {status.said['exit_code']}"
    elif os.path.exists(status.path):  # which it removes, or writes its end to, if it can
        how = "is gone without a word, as if it was killed"
    else:
        how = "has ended"
    return f"run {status.run} {how}; last seen: {plain_line(status.snapshot).removeprefix('jq-run: ')}"
