"""What systemd asks of a service in its environment: word of its state, and that it is alive. See sd_notify(3)."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from jqcli.edge.screen import plain_line

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from jqcli.core.tally import Snapshot

_NAMES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """An observer that tells the service manager that the run is up, how far it is, and that it ends."""

    def __init__(self, address: str, watchdog: float | None) -> None:
        self.interval = 1.0 if watchdog is None else min(1.0, watchdog / 2)
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._has_watchdog = watchdog is not None
        self._is_ready = False

    def update(self, snapshot: Snapshot) -> None:
        """Say how far the run is."""
        words = [f"STATUS={_describe(snapshot)}"]
        if not self._is_ready:
            words.append("READY=1")
            self._is_ready = True
        if self._has_watchdog:
            words.append("WATCHDOG=1")
        self._send(words)

    def end(self, snapshot: Snapshot, exit_code: int) -> None:
        """Say that the run ends."""
        self._send(["STOPPING=1", f"STATUS={_describe(snapshot)}, exit code {exit_code}"])

    def _send(self, words: list[str]) -> None:
        """Send one datagram; a manager that is gone, or behind, misses it."""
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)  # noqa: FBT003 - the standard library's own
            channel.sendto("\n".join(words).encode(), self._address)


def take_notifier(environment: MutableMapping[str, str]) -> Notifier | None:
    """Return a notifier where the environment asks for one, and take that out of it: handlers are not the service."""
    address, microseconds, pid = (environment.pop(name, "") for name in _NAMES)
    if not address.startswith(("/", "@")):
        return None
    is_watched = microseconds.isdigit() and int(microseconds) > 0 and pid in ("", str(os.getpid()))
    return Notifier(address, int(microseconds) / 1e6 if is_watched else None)


def _describe(snapshot: Snapshot) -> str:
    return plain_line(snapshot).removeprefix("jq-run: ")
