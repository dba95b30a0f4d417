"""Signals that ask a run to stop, as values that the loop looks at."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Receives SIGINT, SIGTERM and SIGHUP while it is entered; one that was ignored before stays ignored.

    `fd` becomes readable with each signal, so that a selector wakes. `notify` is called inside the signal handler,
    with how many signals there were. SIGUSR1 stops nothing: it is a question, see `take_question`.
    """

    def __init__(self, notify: Callable[[int], None]) -> None:
        self.received: list[int] = []
        self._notify = notify
        self._before: dict[int, object] = {}
        self._is_asked = False
        self.fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        """Begin to receive."""
        self._wakeup_before = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for number in STOPPING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._receive)
        self._before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self.fd)
        os.close(self._write_fd)

    def drain(self) -> None:
        """Empty the pipe that woke the selector."""
        try:
            os.read(self.fd, 4096)
        except BlockingIOError:
            return

    def take_question(self) -> bool:
        """Tell, once for each time, whether somebody asked by SIGUSR1 how far the run is."""
        is_asked, self._is_asked = self._is_asked, False
        return is_asked

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature is Python's
        self._is_asked = True

    def _receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature is Python's
        self.received.append(number)
        self._notify(len(self.received))
