"""The door of `jq-run` and `python -m jqcli`."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress


def main() -> None:
    """Run the command line and end the process with its exit code."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        # Until the run takes it over there is nothing to drain, and a traceback helps nobody.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Few objects here live in cycles, but a collection walks all that are alive: 10 ms of the imports, 3 % of a run of
    # small jobs, and a third of reading back.
    gc.set_threshold(100_000, 50, 1000)
    _fill_standard_descriptors()
    # Here and not above, so that the descriptors are filled before anything opens a file.
    from jqcli.commands import main as run_command_line  # noqa: PLC0415
    from jqcli.commands.ending import watch_stdout  # noqa: PLC0415
    from jqcli.edge.charset import heed_locale  # noqa: PLC0415

    watch_stdout()
    heed_locale()
    code = run_command_line()
    _flush()
    # Taking a million identities apart one by one, only to be gone, costs 60 ms; all that must be closed is.
    os._exit(code)


def _flush() -> None:
    from jqcli.errors import FileError  # noqa: PLC0415 - as above

    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, FileError):  # which was said when it was new
            stream.flush()


def _fill_standard_descriptors() -> None:
    """Put /dev/null where a standard descriptor is closed, or a file that is opened later would take its place.

    Results for a stdout that is closed must not be lost in silence, so that one cannot be written to; and a stdin that
    is closed is no empty input, so that one cannot be read.
    """
    for fd, flags in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest number that is free, which is this one
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process


if __name__ == "__main__":
    main()
