"""Who looks on while a run runs: the screen, the status files, metrics, and whoever asks by a signal."""

from __future__ import annotations

import os
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING

from jqcli.chronicle import Chronicle, Writer
from jqcli.config.given import variable_of
from jqcli.edge.log import EventFile, LineFile, Log
from jqcli.edge.metrics import MetricsFile
from jqcli.edge.observer import Observer, Observers
from jqcli.edge.outputs import is_journal
from jqcli.edge.runtime import own_folder, status_path
from jqcli.edge.screen import open_screen
from jqcli.edge.status import About, StatusFile
from jqcli.edge.stderr import say
from jqcli.edge.text import shell_line
from jqcli.edge.trace import Trace
from jqcli.errors import printable
from jqcli.notice import retry_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jqcli.config import Settings
    from jqcli.core.batch import Batch
    from jqcli.core.burial import LetterHead
    from jqcli.core.codec import Scheme
    from jqcli.core.course import Course
    from jqcli.edge.feed import Feed


_PING = "--ping"


def open_audience(
    settings: Settings, scheme: Scheme, source: Feed, head: LetterHead, batches: Mapping[int, Batch]
) -> tuple[Observers, Chronicle]:
    """Return those who look on, and the chronicle for those who want each job of these batches. Raises FileError."""
    about = _about(settings, source, head)
    screen = open_screen("none" if settings.quiet else settings.progress, sys.stderr, about.title)
    tell = screen.say if screen.is_drawn else say
    others: list[Observer] = []
    folder = own_folder()
    if folder is not None:
        others.append(StatusFile(status_path(folder, about.run), about, tell, is_own=True))
    if settings.status_file is not None:
        others.append(StatusFile(settings.status_file, about, tell, is_own=False))
    if settings.metrics_file is not None:
        others.append(MetricsFile(settings.metrics_file, tell))
    writers: list[Writer] = []
    readers: list[Log] = []
    if settings.events is not None:
        events = EventFile(LineFile(settings.events, tell), about.run)
        writers.append(events)
        others.append(events)
    if settings.log_file is not None:
        said = {"handler": about.handler, "inputs": " ".join(about.inputs), "pid": os.getpid()}
        log = Log(LineFile(settings.log_file, tell), about.run, as_json=settings.log_format == "json", about=said)
        writers.append(log)
        others.append(log)
        readers.append(log)
    if settings.trace is not None:
        trace = Trace(LineFile(settings.trace, tell, fresh=True), about.title, about.started_at)
        writers.append(trace)
        others.append(trace)
    course = None
    if settings.report is not None:
        course, report = _open_report(settings, scheme, about, tell)
        others.append(report)
    chronicle = Chronicle(writers, head.tag, scheme, course)
    for reader in readers:
        reader.find = lambda batch, index: chronicle.identify(batches.get(batch), index)
    if writers:
        others.insert(0, chronicle)  # before those whose files it fills
    return Observers(screen, others, readers, sys.stderr), chronicle


def _open_report(
    settings: Settings, scheme: Scheme, about: About, tell: Callable[[str], None]
) -> tuple[Course, Observer]:
    """Return what collects the course of the run, and what makes a page of it. Raises FileError."""
    from jqcli.core.course import Course  # noqa: PLC0415 - most runs have no report
    from jqcli.edge.report.file import ReportFile  # noqa: PLC0415 - as above
    from jqcli.edge.report.page import Background  # noqa: PLC0415 - as above

    background = Background(
        about=about,
        command=shell_line(["jq-run", *_hide_addresses(sys.argv[1:], settings.ping or "")]),
        folder=printable(os.getcwd()),
        retry=retry_words(settings),
        flow=settings.flow,
        deadline_at=settings.deadline_at,
    )
    course = Course(scheme, time.monotonic())
    return course, ReportFile(settings.report or "", background, course, tell)


def _hide_addresses(words: Sequence[str], address: str) -> list[str]:
    """Return a command line without the address of a monitor, nor any that another one took the place of.

    Each is a secret, and a page is there to be passed on.

    >>> _hide_addresses(["a", "--ping", "http://x/1", "--ping=http://x/2", "http://x/3"], "http://x/3")
    ['a', '--ping', '…', '--ping=…', '…']
    """
    given = [word for before, word in pairwise(words) if before == _PING]
    given += [word.removeprefix(f"{_PING}=") for word in words if word.startswith(f"{_PING}=")]
    given += [address, os.environ.get(variable_of("ping"), "")]
    # The longest first, as one address may begin as another does.
    for secret in sorted(filter(None, given), key=len, reverse=True):
        words = [word.replace(secret, "…") for word in words]
    return list(words)


def _about(settings: Settings, source: Feed, head: LetterHead) -> About:
    results = settings.output if settings.output and is_journal(settings.output) else None
    return About(
        run=head.run,
        started_at=time.time(),
        handler=printable(settings.handler.spec),
        inputs=source.names,
        results=None if results is None else printable(results),
        dlq=printable(settings.dlq),
    )
