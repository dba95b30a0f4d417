"""What handlers print while a live table is up: read through a pipe, so that it does not run into the table."""

from __future__ import annotations

import os

_CHUNK = 1 << 16


class Printed:
    """A pipe that workers have in place of stderr."""

    def __init__(self) -> None:
        self.fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.fd, False)
        self._rest = b""

    def read(self) -> list[str]:
        """Return the whole lines that arrived; a line over 64 KiB comes in pieces."""
        try:
            data = self._rest + os.read(self.fd, _CHUNK)
        except BlockingIOError:
            return []
        *lines, self._rest = data.split(b"\n")
        if len(self._rest) > _CHUNK:
            lines.append(self._rest)
            self._rest = b""
        return [line.decode(errors="replace") for line in lines]

    def read_rest(self) -> list[str]:
        """Return what is left when nobody prints any more, a last line without its end included."""
        left: list[str] = []
        while lines := self.read():
            left += lines
        rest, self._rest = self._rest, b""
        return [*left, rest.decode(errors="replace")] if rest else left

    def close(self) -> None:
        """Let the pipe go."""
        os.close(self.fd)
        os.close(self.write_fd)
