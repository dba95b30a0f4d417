"""What one worker prints, heard by the parent; nothing here ever blocks, and each look takes a bounded amount.

Python's part comes as datagrams that say which job it is of, see `voice`. All else that is written to stdout or stderr,
such as by programs that a handler starts, comes through a pipe, and is of the job that runs when it arrives.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import orjson

from jqcli.core.exact import load_exact
from jqcli.core.printed import LINE_MOST, LOGGING, Ids, Printed, whole_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from jqcli.engine.ledger import Ledger

    Hear = Callable[[list[Printed]], None]

# A look ends at the piece with which it has any of these; what is left waits, and whoever prints waits for it.
_MOST_LINES = 2000  # some 30 ms
_MOST_PIECES = 64
_MOST_BYTES = 1 << 16  # of a pipe
_PIECE_SIZE = 1 << 17
_PIPE_PIECE = 1 << 12
_LAST_LOOKS = 50


class Ear:
    """Two ways from a worker to `hear`; the child's ends are given to it and then closed by `shut`."""

    def __init__(self, worker: int, hear: Hear) -> None:
        self._worker = worker
        self._hear = hear
        self._listener = Listener(worker)
        self._rest = b""
        self.is_over = False  # whether nobody has the pipe's other end any more
        self.ledger: Ledger | None = None
        self._pipe, self.pipe_end = os.pipe()
        try:
            self._voice, self._voice_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        except OSError:
            os.close(self._pipe)
            os.close(self.pipe_end)
            raise
        self._voice.setblocking(False)  # noqa: FBT003 - the standard library's own
        os.set_blocking(self._pipe, False)

    @property
    def voice_end(self) -> int:
        """The descriptor through which the worker's Python speaks."""
        return self._voice_end.fileno()

    @property
    def fds(self) -> tuple[int, ...]:
        """What to listen at; the second one only until it `is_over`."""
        return self._voice.fileno(), self._pipe

    def shut(self) -> None:
        """Close the child's ends, which it has by now."""
        self._voice_end.close()
        os.close(self.pipe_end)

    def listen(self) -> bool:
        """Pass on what Python's part has said; tell whether there was anything. Best before the channel is read."""
        heard: list[Printed] = []
        pieces = 0
        with suppress(OSError):
            while pieces < _MOST_PIECES and len(heard) < _MOST_LINES:
                heard += self._listener.take(self._voice.recv(_PIECE_SIZE))
                pieces += 1
        self._tell(heard)
        return pieces > 0

    def read_pipe(self) -> bool:
        """Pass on the rest likewise. Best after the channel was read, or the ledger may not know the job yet."""
        data = b""
        with suppress(OSError):
            while len(data) < _MOST_BYTES and data.count(b"\n") < _MOST_LINES and not self.is_over:
                piece = os.read(self._pipe, _PIPE_PIECE)
                self.is_over = not piece
                data += piece
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MOST_BYTES:
            size = whole_size(self._rest)
            lines.append(self._rest[:size])
            self._rest = self._rest[size:]
        self._tell(self._lines(lines))
        return bool(data)

    def close(self) -> None:
        """Listen for the last time, to a worker that is dead: what it forked may go on for ever."""
        for _ in range(_LAST_LOOKS):
            if not self.listen() | self.read_pipe():
                break
        self._tell(self._listener.end() + self._lines([self._rest] if self._rest else []))
        self._voice.close()
        os.close(self._pipe)

    def _tell(self, lines: list[Printed]) -> None:
        if lines:
            self._hear(lines)

    def _lines(self, lines: list[bytes]) -> list[Printed]:
        now, place = time.time(), None
        if lines and self.ledger is not None:
            running = self.ledger.running(time.monotonic())
            if running is not None and running.index is not None:
                place = (running.batch, running.index)
        return [
            Printed(self._worker, now, piece, "output", place=place)
            for line in lines
            for piece in _cut(line.decode(errors="backslashreplace"))
        ]


class Listener:
    """Puts the pieces of one worker's voice together to lines."""

    def __init__(self, worker: int) -> None:
        self._worker = worker
        self._open: dict[str, Printed] = {}

    def take(self, data: bytes) -> list[Printed]:
        """Return the lines that a piece completes; one that makes no sense says nothing."""
        try:
            head, job_id, text = data.split(b"\n", 2)
            source, level, logger, at, is_whole, key, attempt = orjson.loads(head)
            ids = Ids(load_exact(job_id), key, attempt) if job_id else None
        except (ValueError, TypeError):
            return []
        said = text.decode(errors="backslashreplace")
        if source == LOGGING:
            return [Printed(self._worker, at, said, source, level, logger, ids)]
        begun = self._open.pop(source, None) or Printed(self._worker, at, "", source, ids=ids)
        lines = (begun.text + said).split("\n")
        if not is_whole and len(lines[-1]) <= LINE_MOST:
            self._open[source] = begun._replace(text=lines.pop())
        return [begun._replace(text=piece) for line in lines for piece in _cut(line)]

    def end(self) -> list[Printed]:
        """Return lines that nobody will complete any more."""
        left, self._open = list(self._open.values()), {}
        return left


def _cut(line: str) -> list[str]:
    """Return a line in pieces of bearable length; an empty one is one piece.

    >>> [len(piece) for piece in _cut("x" * 40_000)]
    [16384, 16384, 7232]
    """
    return [line[begin : begin + LINE_MOST] for begin in range(0, len(line) or 1, LINE_MOST)]
