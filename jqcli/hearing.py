"""What handlers print, on its way from the engine to those who want to have it."""

from __future__ import annotations

import sys
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from jqcli.edge.screen import is_live
from jqcli.edge.text import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jqcli.config import Settings
    from jqcli.core.printed import Printed

_LINE_MOST = 2000  # characters
_KEPT = 1000  # lines, from the time before anybody listens; the last ones


class Hearing:
    """Keeps what is printed while handlers are loaded, and then passes all on to whoever attends."""

    def __init__(self) -> None:
        self._kept: deque[Printed] = deque(maxlen=_KEPT)
        self._pass_on: Callable[[Sequence[Printed]], None] = self._kept.extend

    def hear(self, lines: Sequence[Printed]) -> None:
        """Take some lines."""
        self._pass_on(lines)

    def attend(self, listener: Callable[[Sequence[Printed]], None]) -> None:
        """Let somebody have what was kept, and all that follows."""
        self._pass_on = listener
        listener(self._kept)
        self._kept.clear()

    def end(self) -> None:
        """Say on stderr what was kept, where the run ended before anybody attended."""
        with suppress(OSError):
            for line in self._kept:
                sys.stderr.write(f"{safe(line.text, _LINE_MOST)}\n")


def is_heard(settings: Settings) -> bool:
    """Tell whether what handlers print goes anywhere but to stderr: into a log, or above a live table."""
    if settings.log_file is not None:
        return True
    return settings.engine == "process" and is_live("none" if settings.quiet else settings.progress, sys.stderr)
