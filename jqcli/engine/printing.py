"""What handlers print. Where it goes may be gone, and that is no failure of the job that prints."""

from __future__ import annotations

import io
import select
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import ReadableBuffer


class _Heedless(io.FileIO):
    """A file that takes everything, whether or not anybody gets it; one that is slow is waited for."""

    def write(self, data: ReadableBuffer) -> int:
        """Write what can be written; return how many bytes are dealt with."""
        try:
            while (written := super().write(data)) is None:  # somebody has set it not to block
                select.select([], [self], [])
        except OSError:
            return memoryview(data).nbytes
        return written


def open_heedless(fd: int) -> io.TextIOWrapper:
    """Return a text stream to a descriptor, line by line, so that a print is seen also where its worker is killed."""
    raw = io.BufferedWriter(_Heedless(fd, "w", closefd=False))
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", line_buffering=True)


def let_print() -> None:
    """Let handlers of this process print, from here on."""
    sys.stdout, sys.stderr = open_heedless(1), open_heedless(2)


@contextmanager
def printing(out: io.TextIOWrapper, err: io.TextIOWrapper) -> Iterator[None]:
    """Let handlers print to these for a while."""
    with redirect_stdout(out), redirect_stderr(err):
        try:
            yield
        finally:
            out.flush()
            err.flush()
