"""Takes what handlers log, with its level and its logger's name; imported only where somebody wants to have it.

What the code of handlers hides from its output, by filters, a formatter or a class of its own, stays hidden.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jqcli.engine.voice import Voice


class Logged(logging.Handler):
    """A handler of the standard library's kind that tells each record."""

    def __init__(self, voice: Voice, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._voice = voice

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one record, its traceback included."""
        try:
            self._voice.log(record.levelname.lower(), record.name, record.created, self.format(record))
        except Exception:  # noqa: BLE001 - as all of the standard library's handlers do: a message that cannot be made
            self.handleError(record)


class Unprinted(Logged):
    """Tells what no handler prints; what one prints is heard from there, as that handler leaves it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a record that goes by no handler which writes to stdout or stderr."""
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            if any(map(_is_printing, logger.handlers)):
                return
            logger = logger.parent if logger.propagate else None
        super().emit(record)


def take_logging(voice: Voice) -> None:
    """Take what is logged from here on, in place of the root's plain handlers that write to stdout or stderr.

    Call it when the handlers are loaded: where their modules have set a level, that holds, else it is INFO.
    """
    root = logging.getLogger()
    if not root.handlers and root.level == logging.WARNING:
        root.setLevel(logging.INFO)
    # Of a class of its own it stays: what that does to a record is not to be known.
    plain = [each for each in root.handlers if type(each) is logging.StreamHandler and _is_printing(each)]
    for each in plain:
        root.removeHandler(each)
        root.addHandler(_in_place_of(each, voice))
    if not plain:
        root.addHandler(Unprinted(voice))


def _is_printing(handler: logging.Handler) -> bool:
    return (
        isinstance(handler, logging.StreamHandler)
        and handler.stream is not None
        and handler.stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    )


def _in_place_of(printing: logging.Handler, voice: Voice) -> Logged:
    """Return a taker with level, filters and formatter of another handler."""
    logged = Logged(voice, printing.level)
    for each in printing.filters:
        logged.addFilter(each)
    formatter = printing.formatter
    # What `basicConfig` makes up says level and logger, which are told beside the message.
    is_made_up = type(formatter) is logging.Formatter and formatter._fmt == logging.BASIC_FORMAT  # noqa: SLF001
    logged.setFormatter(None if is_made_up else formatter)
    return logged
