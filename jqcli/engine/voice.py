"""What handlers print and log, told to the parent (its `ear`) together with the job that they are at.

Each piece is one datagram: a head in JSON, the job's id, and the text. A datagram is there as a whole or not at all, so
threads, forks and kills tear none, and what was sent outlives its worker. A parent that is behind is waited for.
"""

from __future__ import annotations

import errno
import io
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import orjson

from jqcli.core.exact import load_exact
from jqcli.core.printed import LINE_MOST, LOGGING, whole_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _typeshed import ReadableBuffer

    Job = tuple[bytes, str, int]  # its id as JSON, its key and its attempt, see `name_job`

_PIECE = 1 << 15
_PIECE_LINES = 256
_NAME_MOST = 200
_ID_MOST = 1000  # characters of an id or a key: all that is told has to fit into a datagram
_STDERR = 2


class Voice:
    """Tells pieces through `send`, which may raise OSError: then nobody hears, and that is no failure of the job."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self.find_job: Callable[[], Job | None] = lambda: None
        self._send = send
        self._streams: list[_Spoken] = []

    def open_stream(self, source: str, fd: int, also: io.TextIOWrapper | None = None) -> io.TextIOWrapper:
        """Return a text stream whose lines are told, and written to `also`; programs that get it write to `fd`."""
        spoken = _Spoken(self, source, fd, also)
        self._streams.append(spoken)
        return io.TextIOWrapper(spoken, "utf-8", "backslashreplace", write_through=True)

    def log(self, level: str, logger: str, at: float, text: str) -> None:
        """Tell a message of a logger; what is too long is cut."""
        data = text.encode(errors="backslashreplace")
        if len(data) > LINE_MOST:
            data = data[: whole_size(data[:LINE_MOST])] + b" [...]"
        names = {"level": level[:_NAME_MOST], "logger": logger[:_NAME_MOST]}
        self.tell(LOGGING, self.find_job(), data, is_whole=True, at=at, **names)

    def settle(self) -> None:
        """Tell what is left of lines without an end: whoever wrote them is done."""
        for stream in self._streams:
            stream.settle()

    def tell(
        self,
        source: str,
        job: Job | None,
        text: bytes,
        *,
        is_whole: bool,
        level: str = "info",
        logger: str | None = None,
        at: float | None = None,
    ) -> None:
        """Tell text of a job; where it is not whole, more of its last line may follow."""
        job_id, *names = job or (b"", "", 0)
        moment = time.time() if at is None else at
        left = len(text)
        for piece in (text,) if source == LOGGING else _cut(text):  # a message stays one, whatever its lines
            is_end = is_whole and len(piece) == left
            head = (source, _printable(level), _printable(logger), moment, is_end, *names)
            try:
                self._send(b"\n".join((orjson.dumps(head), job_id, piece)))
            except OSError as error:
                if error.errno == errno.EMSGSIZE:  # a system whose datagrams are tiny: heard as what programs print is
                    with suppress(OSError):
                        os.write(_STDERR, text[-left:] + b"\n")
                return
            left -= len(piece)


def open_voice(fd: int) -> Voice:
    """Return the voice of this process, which speaks through the descriptor of a datagram socket."""
    channel = socket.socket(fileno=fd)
    channel.set_inheritable(False)
    return Voice(channel.send)


def name_job(job_id: bytes, key: str, attempt: int) -> Job:
    """Return what is told of a job at each of its lines; of a long id or key that is the beginning.

    >>> name_job(b"7", "t:7", 1)
    (b'7', 't:7', 1)
    """
    if len(job_id) > _ID_MOST:
        job_id = orjson.dumps(str(load_exact(job_id))[:_ID_MOST])
    return job_id, key[:_ID_MOST], attempt


def _cut(text: bytes) -> Iterator[bytes]:
    """Yield a text in pieces that fit into datagrams, hold a bearable number of lines and part no character."""
    begin = 0
    while True:
        end = begin + _PIECE
        while text.count(b"\n", begin, end) > _PIECE_LINES:
            end = begin + (min(end, len(text)) - begin) // 2
        if end >= len(text):
            break
        size = whole_size(text[begin:end])
        yield text[begin : begin + size]
        begin += size
    yield text[begin:]


def _printable(text: str | None) -> str | None:
    return None if text is None else text.encode(errors="backslashreplace").decode()


class _Spoken(io.RawIOBase):
    """A file that tells its lines, each with the job in which it was begun."""

    def __init__(self, voice: Voice, source: str, fd: int, also: io.TextIOWrapper | None) -> None:
        self.name = f"<{source}>"
        self._voice = voice
        self._source = source
        self._fd = fd
        self._also = also
        self._rest = b""
        self._is_open = False  # whether a part of the line was told
        self._job: Job | None = None

    def writable(self) -> bool:
        """Say that it is there to be written to."""
        return True

    def fileno(self) -> int:
        """Return where programs write that are given this for their output."""
        return self._fd

    def write(self, data: ReadableBuffer, /) -> int:
        """Tell whole lines, and keep what is behind them."""
        said = bytes(data)
        if self._also is not None:
            self._also.buffer.write(said)
            if b"\n" in said:
                self._also.flush()
        job = self._voice.find_job()
        if job != self._job:
            self.settle()
            self._job = job
        lines, end, rest = (self._rest + said).rpartition(b"\n")
        self._rest = rest
        if end:
            self._tell(lines, is_whole=True)
        if len(rest) > _PIECE:
            self.flush()
        return len(said)

    def flush(self) -> None:
        """Tell also what is not the whole of a line."""
        if self._also is not None and not self._also.closed:  # as it is when both are forgotten together
            self._also.flush()
        size = whole_size(self._rest)
        if size:
            rest, self._rest = self._rest[:size], self._rest[size:]
            self._tell(rest, is_whole=False)

    def settle(self) -> None:
        """Tell what is left."""
        if self._rest or self._is_open:
            rest, self._rest = self._rest, b""
            self._tell(rest, is_whole=True)

    def _tell(self, text: bytes, *, is_whole: bool) -> None:
        self._is_open = not is_whole
        self._voice.tell(self._source, self._job, text, is_whole=is_whole)
