"""What wakes a loop: its selector, and in it the input while more of it is wanted, and a stream that is behind."""

from __future__ import annotations

import selectors
from contextlib import suppress


class Watch:
    """Waits for whatever comes first; engine, signals and endpoints have registered themselves."""

    def __init__(self, selector: selectors.BaseSelector, stream_fd: int) -> None:
        self._selector = selector
        self._stream_fd = stream_fd
        self._input: int | None = None
        self._is_behind = False

    def wait(self, seconds: float) -> None:
        """Wait for so long at most, and deal with what came."""
        for key, mask in self._selector.select(seconds):
            key.data(mask)

    def watch_input(self, fd: int | None) -> None:
        """Wake up when there is more to read from `fd`; None for no input."""
        if fd == self._input:
            return
        if self._input is not None:
            with suppress(KeyError):
                self._selector.unregister(self._input)
        self._input = fd
        if fd is not None:
            self._selector.register(fd, selectors.EVENT_READ, lambda _: None)

    def watch_output(self, *, is_behind: bool) -> None:
        """Wake up when a stream that is behind takes more."""
        if is_behind == self._is_behind:
            return
        self._is_behind = is_behind
        if is_behind:
            self._selector.register(self._stream_fd, selectors.EVENT_WRITE, lambda _: None)
        else:
            self._selector.unregister(self._stream_fd)
