"""`jq-run dlq`: look into dead letters."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from jqcli.commands.ending import say
from jqcli.commands.plain import PlainCommand
from jqcli.edge.letter import LetterFiles

dlq = typer.Typer(help="Look into dead letters.", pretty_exceptions_enable=False)


@dlq.callback()
def group() -> None:
    """Look into dead letters."""


@dlq.command("export", cls=PlainCommand)
def export(
    paths: Annotated[list[str], typer.Argument(metavar="DLQ...", help="Files of dead letters.", show_default=False)],
) -> int:
    """Print the job lines of dead letters as they were read; the last letter of each job counts."""
    unusable = 0
    with LetterFiles(paths) as letters:
        for letter in letters.read_last():
            if letter.job is None:
                unusable += 1
            else:
                sys.stdout.buffer.write(letter.job + b"\n")
        sys.stdout.buffer.flush()
        for path in letters.torn:
            say(f"{path}: the last line is not finished (a run was cut off, or is writing it): left out")
    if unusable:
        said = "letter is of a line that is" if unusable == 1 else "letters are of lines that are"
        say(f"{unusable} {said} no job: left out")
    return 0
