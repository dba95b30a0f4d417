"""Who looks on while a run runs: the screen, the status files, metrics, and whoever asks by a signal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from jqcli.edge.metrics import MetricsFile
from jqcli.edge.observer import Observer, Observers
from jqcli.edge.outputs import is_journal
from jqcli.edge.runtime import own_folder, status_path
from jqcli.edge.screen import open_screen
from jqcli.edge.status import About, StatusFile
from jqcli.errors import printable
from jqcli.report import say

if TYPE_CHECKING:
    from jqcli.config import Settings
    from jqcli.core.record import LetterHead
    from jqcli.edge.source import Source


def open_observers(settings: Settings, source: Source, head: LetterHead) -> Observers:
    """Return the screen and all others that the settings ask for."""
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
    return Observers(screen, others, sys.stderr)


def _about(settings: Settings, source: Source, head: LetterHead) -> About:
    results = settings.output if settings.output and is_journal(settings.output) else None
    return About(
        run=head.run,
        started_at=time.time(),
        handler=printable(settings.handler.spec),
        inputs=source.names,
        results=None if results is None else printable(results),
        dlq=printable(settings.dlq),
    )
