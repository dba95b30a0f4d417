"""A terminal, written to without ever waiting for it.

A terminal that the user has stopped (Ctrl-S), or whose connection hangs, would otherwise stop the whole run:
the parent is one thread. `O_NONBLOCK` on stderr itself would change every process that shares it, so the
terminal is opened a second time.
"""

from __future__ import annotations

import os
import select
from time import monotonic
from typing import TYPE_CHECKING

from jqcli.edge.charset import PLAIN, is_ascii_only

if TYPE_CHECKING:
    from typing import TextIO

_CLOSED = -1
# What a terminal that never took the rest must still hear: drop half an escape, show the cursor, next line.
_FAREWELL = "\x18\x1b[?25h\x1bE"
_LAST_WORDS = 1.0  # seconds that close() waits for a terminal that does not take its last bytes


def is_ready(fd: int, seconds: float = 0.0) -> bool:
    """Return whether `fd` takes bytes within so many seconds; a hang-up counts, as writing then tells."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))


class Terminal:
    """As much of a text file as rich writes to; text that the terminal does not take yet is kept.

    Writing raises OSError once the terminal is gone.
    """

    encoding, errors = ("ascii", PLAIN) if is_ascii_only() else ("utf-8", "backslashreplace")

    def __init__(self, stream: TextIO) -> None:
        stream.flush()
        self._stream = stream
        self._fd = _reopen(stream.fileno())
        self._pending = bytearray()

    @property
    def is_behind(self) -> bool:
        """Whether the terminal still owes us the last frame."""
        self.flush()
        return bool(self._pending)

    @property
    def owed(self) -> int:
        """Bytes that the terminal has not taken yet."""
        self.flush()
        return len(self._pending)

    @property
    def is_ours(self) -> bool:
        """Whether we are in the foreground; in the background we would draw over the shell."""
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            # It controls another session, or none: nobody there could be disturbed.
            return True

    def size(self) -> tuple[int, int]:
        """Return (columns, lines); 80 x 24 where the terminal does not say."""
        columns, lines = os.get_terminal_size(self._fd)
        return (columns or 80, lines or 24)

    def isatty(self) -> bool:
        """Return whether this is a terminal, which it is."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of our own."""
        return self._fd

    def write(self, text: str) -> int:
        """Keep the text until `flush`."""
        self._pending += text.encode(self.encoding, self.errors)
        return len(text)

    def flush(self) -> None:
        """Write as much as the terminal takes now."""
        while self._pending and is_ready(self._fd):
            try:
                written = os.write(self._fd, self._pending)
            except BlockingIOError:
                return
            del self._pending[:written]

    def close(self) -> None:
        """Write what is left, waiting at most a second for it, and let the terminal go, once."""
        if self._fd == _CLOSED:
            return
        until = monotonic() + _LAST_WORDS
        try:
            while self.is_behind and (left := until - monotonic()) > 0:
                is_ready(self._fd, left)
            if self._pending:
                # Without a newline it stays in the stream's buffer and goes out with what is said there next.
                self._stream.write(_FAREWELL)
        finally:
            os.close(self._fd)
            self._fd = _CLOSED


def _reopen(fd: int) -> int:
    """Return a descriptor of its own, non-blocking unless the terminal may not be opened again (after su)."""
    try:
        return os.open(os.ttyname(fd), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return os.dup(fd)
