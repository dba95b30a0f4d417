"""`jq-run dlq`: look into dead letters, and give them a new life."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from jqcli.commands.choosing import AsJson, Paths, say_missing, takes_choice
from jqcli.commands.dlqgroup import DlqGroup
from jqcli.commands.plain import PlainCommand
from jqcli.commands.retry import retry
from jqcli.core.choice import Choice, Group, Groups
from jqcli.edge.letter import LetterFiles, open_letters
from jqcli.edge.letter_page import group_command, group_object, group_text, letter_page, letter_row
from jqcli.edge.merge import drop_letters, tidy
from jqcli.edge.stderr import say
from jqcli.errors import UsageError
from jqcli.origin import is_trusted

dlq = typer.Typer(
    cls=DlqGroup,
    help="Look into dead letters, and retry them; without a command: summary.",
    pretty_exceptions_enable=False,
)


@dlq.callback()
def group() -> None:
    """Look into dead letters, and retry them. Without a command: summary."""


def summary(paths: Paths, choice: Choice, as_json: AsJson = False) -> int:
    """Count dead letters by reason and error, with the command that retries each group."""
    groups = Groups()
    with _open(paths) as letters:
        for letter, verdict in letters.choose(choice):
            groups.add(letter, verdict)
        _say_torn(letters)
    for each in groups.largest_first():
        command = group_command(paths, each.verdict.reason, each.fingerprint, needs_handler=_needs_handler(each))
        _write([group_object(each, command) if as_json else group_text(each, command).encode()])
    if groups.beyond:
        say(f"{groups.beyond:,} letters of further groups are not shown")
    if not groups.groups and not as_json:
        say("no dead letters")
    return 0


def list_(paths: Paths, choice: Choice, as_json: AsJson = False) -> int:
    """List dead letters, a line each; with --json the letters themselves."""
    with _open(paths) as letters:
        chosen = letters.choose(choice)
        _write(letter.line if as_json else letter_row(letter, verdict).encode() for letter, verdict in chosen)
        _say_torn(letters)
    return 0


def show(
    wanted: Annotated[str, typer.Argument(metavar="ID", help="The id of the job.", show_default=False)],
    paths: Paths,
    choice: Choice,
    as_json: AsJson = False,
) -> int:
    """Show one dead letter whole: error, history, stacktrace, source and job."""
    is_found = False
    with _open(paths) as letters:
        for letter, _ in letters.choose(choice):
            if letter.id == wanted:
                is_found = True
                _write([letter.line] if as_json else (f"{line}\n".encode() for line in letter_page(letter)))
    if not is_found:
        say(f"{', '.join(paths)}: no dead letter of a job {wanted!r} (`jq-run dlq list` shows which there are)")
    return 0 if is_found else 1


def export(
    paths: Paths,
    choice: Choice,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Changes nothing: job lines are JSON.")] = False,  # noqa: ARG001
) -> int:
    """Print the job lines of dead letters as they were read; the last letter of each job counts."""
    unusable = 0
    with _open(paths) as letters:
        for letter, _ in letters.choose(choice):
            job = letter.job
            if job is None:
                unusable += 1
            else:
                _write([job + b"\n"])
        _write([])
        _say_torn(letters)
    if unusable:
        said = "letter is of a line that is" if unusable == 1 else "letters are of lines that are"
        say(f"{unusable} {said} no job: left out")
    return 0


def drop(
    paths: Paths,
    choice: Choice,
    everything: Annotated[
        bool, typer.Option("--all", metavar="", help="Take all letters, where no filter is given.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Remove dead letters from their files, for good."""
    if choice.is_all and not everything:
        raise UsageError("drop: name a filter, such as --reason or --id, or say --all")
    if not choice.is_all and everything:
        raise UsageError("drop --all: takes no filter")
    say_missing(paths)
    for path in dict.fromkeys(paths):
        dropped = drop_letters(path, choice)
        if as_json:
            typer.echo(json.dumps({"dlq": path, "dropped": dropped}))
        else:
            say(f"{path}: {dropped:,} {'letter' if dropped == 1 else 'letters'} dropped")
    return 0


for name, command in (("summary", summary), ("list", list_), ("show", show), ("export", export), ("drop", drop)):
    dlq.command(name, cls=PlainCommand)(takes_choice(command))
dlq.command("retry", cls=PlainCommand)(retry)


def _open(paths: Iterable[str]) -> LetterFiles:
    """Open files of letters, after finishing what a redrive that died has left of them."""
    say_missing(paths)
    for path in dict.fromkeys(paths):
        if tidy(path):
            say(f"{path}: is being retried; the letters are shown as they were before")
    return open_letters(paths)


def _needs_handler(group: Group) -> bool:
    return not all(is_trusted(handler, cwd) for handler, cwd in group.handlers)


def _say_torn(letters: LetterFiles) -> None:
    for path in letters.torn:
        say(f"{path}: the last line is not finished (a run was cut off, or is writing it): left out")


def _write(lines: Iterable[bytes]) -> None:
    sys.stdout.buffer.writelines(lines)
    sys.stdout.buffer.flush()
