"""Takes what handlers log, with its level and its logger's name; imported only where somebody wants to have it."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jqcli.engine.voice import Voice


class Logged(logging.Handler):
    """A handler of the standard library's kind that tells each record."""

    def __init__(self, voice: Voice, level: int) -> None:
        super().__init__(level)
        self._voice = voice

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one record, its traceback included."""
        try:
            self._voice.log(record.levelname.lower(), record.name, record.created, self.format(record))
        except Exception:  # noqa: BLE001 - as all of the standard library's handlers do: a message that cannot be made
            self.handleError(record)


def take_logging(voice: Voice) -> Logged:
    """Take what is logged from here on, in place of root handlers that write to stdout or stderr; return the taker.

    Call it when the handlers are loaded: where their modules have set a level, that holds, else it is INFO.
    """
    root = logging.getLogger()
    level = logging.NOTSET
    if not root.handlers and root.level == logging.WARNING:
        root.setLevel(logging.INFO)
    for each in list(root.handlers):
        if isinstance(each, logging.StreamHandler) and each.stream in (sys.stdout, sys.stderr):
            root.removeHandler(each)
            level = each.level
    logged = Logged(voice, level)
    root.addHandler(logged)
    return logged
