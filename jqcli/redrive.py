"""A redrive: a run whose jobs are those of dead letters. The order of its effects, and what each crash leaves.

Three files: the DLQ; the results; and the redrive's own, `<dlq>.redrive`, which is append-only and locked for its life,
so that there is one redrive a DLQ at a time. The DLQ itself is not touched before the end: other runs may append to it.

1.  The redrive's file is locked. What another redrive left there is merged first (step 5), unless that asked for the
    same.
2.  A worker has loaded the handler; the results are locked, read, and freed of a torn line. Then the header is written
    and synced: what was asked, and where DLQ and results end.
        Crash before: nothing happened. From here on: the same command goes on; any other command that opens the DLQ
        does step 5 first.
3.  Of a job whose line was amended, or means another identity than its letter says, that is written and synced.
        Crash: the job has not run; its line is amended already.
4.  Jobs run. A result is appended to the results, or the longer letter to the redrive's file: each job has one of them,
    as in any run. Results on a stream are noted in the redrive's file once the reader has taken them.
        Crash: jobs with a result behind the header's mark, with a note, or with a longer letter have their outcome. The
        others run (again). A torn last line in either file is cut, and its job runs again.
5.  At the end: results are synced. A new DLQ is written beside the old one: its letters up to the header's mark,
    without those whose job has a result, with the longer letters in the place of theirs. Under the DLQ's lock follows
    what was appended since; it is synced; its inode is written to the redrive's file, which is synced; it is renamed.
        Crash before the renaming: the old DLQ is whole and step 5 is done again. After it: the DLQ is the file that the
        redrive's file names, so step 5 is over, and no letter in it is taken up any more.
6.  The redrive's file is removed.

A redrive that was stopped, not killed, ends at step 4, and so leaves what a crash leaves.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jqcli.edge.letter import LetterFile
from jqcli.edge.merge import is_merged, merge
from jqcli.edge.redrive_log import RedriveLog
from jqcli.edge.stderr import say
from jqcli.edge.target import resolve
from jqcli.life import Lives, results_path
from jqcli.run import execute
from jqcli.selection import Ask, Selection, select

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from jqcli.config import Settings
    from jqcli.edge.lock import Patience


def redrive(dlq: str, ask: Ask, build: Callable[[Selection], Settings], patience: Patience) -> int:
    """Retry the dead letters that are asked for, and return the exit code; `build` makes the settings of the run.

    Raises LockedError where another redrive of this DLQ is at work and `patience` has an end, and what a run raises.
    """
    with RedriveLog(resolve(dlq), patience) as log:
        if log.header is not None and log.header.asked != ask.said:
            merge(log)
        while True:
            progress = log.read()
            if is_merged(log):  # the letters of the new DLQ, whichever they are, are not those that were chosen
                merge(log)
                code = 1 if len(progress.again) else 0
                if code or os.isatty(2):
                    say(f"{dlq}: nothing to do, all letters that were asked for are settled")
                return code
            selection = select(log, progress, ask)
            if not selection.offsets:
                code = 1 if selection.before["dead"] else 0
                if code or ask.choice.ids or os.isatty(2):  # a job that is named may be misspelt
                    _say_nothing_to_do(dlq, selection)
                _say_left(dlq, selection.left, "")
                merge(log)
                return code
            settings = build(selection)
            if log.header is None or log.header.results == results_path(settings):
                break
            merge(log)
        job_file = LetterFile(log.dlq, selection.end)
        try:
            lives = Lives(log, progress, selection, ask, settings, job_file)
            lives.edit()
            code = execute(settings, lives)
        finally:
            job_file.close()
        if code in (0, 1):
            merge(log)
        if not settings.quiet:
            _say_left(dlq, lives.left, lives.example)
        return code


def _say_nothing_to_do(dlq: str, selection: Selection) -> None:
    settled = sum(selection.before.values())
    why = f"all {settled:,} letters that were asked for are settled" if settled else "no letter is to be retried"
    say(f"{dlq}: nothing to do, {why}")


def _say_left(dlq: str, left: Counter[str], example: str) -> None:
    for why, count in left.items():
        said = "letter is left" if count == 1 else "letters are left"
        say(f"{dlq}: {count:,} {said} as before: {why}")
    if example:
        say(f"{dlq}: such as {example}")
