"""What a run says to people, on stderr: what it goes on from, and what came of it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from jqcli.edge.digest import summary_object, summary_text
from jqcli.edge.level import INFO, WARNING
from jqcli.edge.outputs import is_journal
from jqcli.edge.stderr import say, write
from jqcli.edge.text import file_word, shell_line

if TYPE_CHECKING:
    from jqcli.config import Settings
    from jqcli.core.tally import Snapshot
    from jqcli.edge.outputs import Outputs

_READER_GONE = 141


def say_beginning(settings: Settings, outputs: Outputs) -> None:
    """Say what was set aside and what is settled already, to whoever watches."""
    if not is_talkative(settings):
        return
    for name in outputs.renamed:
        say(f"set aside: {name}")
    if outputs.settled.count:
        say(f"going on: earlier runs have settled {outputs.settled.count:,} lines of {settings.output}")


def is_talkative(settings: Settings) -> bool:
    """Tell whether what is no failure is spoken of."""
    return not settings.quiet and (os.isatty(2) or settings.verbose > 0)


def say_end(settings: Settings, snapshot: Snapshot, code: int, run: str, *, goes_on: bool = True) -> None:
    """Say what came of the run: always at a terminal, else only where something failed."""
    results = settings.output if settings.output and is_journal(settings.output) else None
    dlq = settings.dlq if snapshot.has_letters else None
    if settings.summary == "json":
        found = summary_object(snapshot, run=run, exit_code=code, results=results, dlq=dlq)
        # Not orjson: an id may be an integer of any size, and a terminal must get no C1 control nor bidi mark.
        write(json.dumps(found, separators=(",", ":")) + "\n", None)
    elif _is_digest_wanted(settings, code):
        retry = retry_command(settings) if dlq is not None and snapshot.letters else None
        text = summary_text(snapshot, exit_code=code, results=results, dlq=dlq, retry_command=retry, goes_on=goes_on)
        write(text, WARNING if code else INFO)


def retry_command(settings: Settings) -> str:
    """Return the command line that gives the dead letters a new life."""
    return shell_line(retry_words(settings))


def retry_words(settings: Settings) -> list[str]:
    """Return the words of that command; all else is in the letters, but for the store, and who the handler is."""
    words = ["jq-run", "dlq", "retry", file_word(settings.dlq), "-H", settings.handler.name or settings.handler.spec]
    named = (("--config", settings.config), ("--profile", settings.profile), ("--store", settings.store))
    return [*words, *(word for option, value in named if value for word in (option, value))]


def _is_digest_wanted(settings: Settings, code: int) -> bool:
    if settings.summary == "text":
        return True
    if settings.summary == "none" or settings.quiet or code == _READER_GONE:
        return False
    return code != 0 or os.isatty(2)
