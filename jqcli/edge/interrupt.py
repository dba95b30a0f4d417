"""Signals that ask a run to stop, as values that the loop looks at."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_AT_ONCE = 1e-6  # seconds; none at all would turn the timer off
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Receives SIGINT, SIGTERM and SIGHUP while it is entered; one that was ignored before stays ignored.

    `fd` becomes readable with each signal, so that a selector wakes. `notify` is called inside the signal handler,
    with how many signals there were. SIGUSR1 stops nothing: it is a question, see `take_question`.

    With `patience`, a first signal counts as said again after so many seconds, for a thread that runs handlers itself
    looks at no clock meanwhile. That takes SIGALRM, unless a handler has a timer of its own running then.
    """

    def __init__(self, patience: float | None = None) -> None:
        self.received: list[int] = []
        self.notify: Callable[[int], None] = lambda _: None
        self._patience = patience
        self._has_timer = False
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
        if self._has_timer:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
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
        if self._patience is not None and len(self.received) == 1 and not any(signal.getitimer(signal.ITIMER_REAL)):
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._receive)
            signal.setitimer(signal.ITIMER_REAL, max(self._patience, _AT_ONCE))
            self._has_timer = True
        self.notify(len(self.received))
