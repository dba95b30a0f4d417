"""Answers requests for the metrics, from the run's own loop: no thread, nothing that waits, everything bounded."""

from __future__ import annotations

import selectors
import socket
import time
from typing import TYPE_CHECKING

from jqcli.edge.metrics import Last, expose
from jqcli.errors import UsageError

if TYPE_CHECKING:
    from jqcli.core.tally import Snapshot

_MOST_CALLERS = 16
_MOST_BYTES = 8192  # of a request's head
_PATIENCE = 5.0  # seconds for a whole request and its answer


class Endpoint:
    """An HTTP address that serves `/metrics`; raises UsageError where the address cannot be had.

    It is an observer of the run: what it serves is at most a second old.
    """

    interval = 1.0

    def __init__(self, address: tuple[str, int], selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._snapshot: Snapshot | None = None
        self._callers: dict[socket.socket, _Caller] = {}
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        try:
            self._listener = socket.create_server(address, family=family, backlog=_MOST_CALLERS)
        except OSError as error:
            place = f"{address[0]}:{address[1]}"
            raise UsageError(f"--metrics-port: {place} cannot be listened to: {error.strerror or error}") from None
        self._listener.setblocking(False)  # noqa: FBT003 - the standard library's own
        self._is_listening = False
        self._listen()

    def update(self, snapshot: Snapshot) -> None:
        """Keep this moment for those who ask, and hang up on those who dawdle."""
        self._snapshot = snapshot
        self._listen()
        now = time.monotonic()
        for caller in [caller for caller in self._callers.values() if now > caller.deadline]:
            self._hang_up(caller.channel)

    def end(self, snapshot: Snapshot, exit_code: int) -> None:
        """Serve no more: whoever scrapes sees the target go."""
        del snapshot, exit_code
        self.close()

    def close(self) -> None:
        """Close the address and all connections, once."""
        if self._listener.fileno() >= 0:
            self._look_away()
            self._listener.close()
        for channel in list(self._callers):
            self._hang_up(channel)

    def _listen(self) -> None:
        if not self._is_listening and self._listener.fileno() >= 0:
            self._selector.register(self._listener, selectors.EVENT_READ, lambda _: self._accept())
            self._is_listening = True

    def _look_away(self) -> None:
        if self._is_listening:
            self._selector.unregister(self._listener)
            self._is_listening = False

    def _accept(self) -> None:
        try:
            channel, _ = self._listener.accept()
        except BlockingIOError:
            return  # gone again
        except OSError:  # no descriptor left: the run needs them more, and not to be woken all the time
            self._look_away()
            return
        if len(self._callers) >= _MOST_CALLERS:
            channel.close()
            return
        channel.setblocking(False)  # noqa: FBT003 - the standard library's own
        self._callers[channel] = _Caller(channel, time.monotonic() + _PATIENCE)
        self._selector.register(channel, selectors.EVENT_READ, lambda mask: self._serve(channel, mask))

    def _serve(self, channel: socket.socket, mask: int) -> None:
        """Read as much of a request, or send as much of its answer, as goes now."""
        caller = self._callers[channel]
        try:
            if mask & selectors.EVENT_READ and caller.read():
                caller.pending = self._answer(bytes(caller.head))
                self._selector.modify(channel, selectors.EVENT_WRITE, self._selector.get_key(channel).data)
            if caller.pending is not None and caller.send():
                self._hang_up(channel)
        except BlockingIOError:
            return
        except OSError:
            self._hang_up(channel)

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _respond("405 Method Not Allowed", b"only GET and HEAD\n")
        if path != b"/metrics":
            return _respond("404 Not Found", b"see /metrics\n")
        if self._snapshot is None:
            return _respond("503 Service Unavailable", b"the run is starting\n")
        body = expose(self._snapshot, Last(), {}, is_running=True)
        return _respond("200 OK", body, is_whole=method == b"GET")

    def _hang_up(self, channel: socket.socket) -> None:
        del self._callers[channel]
        self._selector.unregister(channel)
        channel.close()


class _Caller:
    """One connection: what was read of its request, and what is still to be sent."""

    def __init__(self, channel: socket.socket, deadline: float) -> None:
        self.channel = channel
        self.deadline = deadline
        self.head = bytearray()
        self.pending: bytes | None = None

    def read(self) -> bool:
        """Read what there is; tell whether the head is whole. Raises OSError where it never will be."""
        data = self.channel.recv(_MOST_BYTES)
        self.head += data
        if b"\r\n\r\n" in self.head:
            return True
        if not data or len(self.head) > _MOST_BYTES:
            raise ConnectionAbortedError
        return False

    def send(self) -> bool:
        """Send what goes; tell whether that was all."""
        assert self.pending is not None  # noqa: S101 - the caller looks
        self.pending = self.pending[self.channel.send(self.pending) :]
        return not self.pending


def _respond(status: str, body: bytes, *, is_whole: bool = True) -> bytes:
    lines = (
        f"HTTP/1.1 {status}",
        "Content-Type: text/plain; version=0.0.4; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + (body if is_whole else b"")
