"""How a command ends: the one place that turns an exception into a message and an exit code."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from typer import TyperException

from jqcli.edge.level import ERROR
from jqcli.edge.stderr import say_lines
from jqcli.errors import FileError, JqcliError, ReaderGoneError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

INTERRUPTED = 130
BUG = 70
_FRAMES = 5


def end(command: Callable[[], object]) -> int:
    """Call `command` and return the exit code: its own, or that of the error it raised (said on stderr)."""
    try:
        code = command()
    except (BrokenPipeError, ReaderGoneError):
        _hush_stdout()
        return ReaderGoneError.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except JqcliError as error:
        say_lines(str(error), ERROR)
        return error.exit_code
    except TyperException as error:
        say_lines(_first_small(error.format_message().rstrip(".")), ERROR)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - whatever it is, the system's or ours
        message, code = _blame(error)
        say_lines(message, ERROR)
        return code
    return code if isinstance(code, int) else 0


class _Stdout(io.FileIO):
    """Stdout, whose errors are the machine's and no bug; a reader that left is told apart."""

    def write(self, data: ReadableBuffer) -> int:
        """Write; raises FileError, and BrokenPipeError where the reader has left."""
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise FileError(f"stdout: {error.strerror}") from error


def watch_stdout() -> None:
    """Let whatever writes to stdout, Typer's help too, end with 74 where that cannot be written to."""
    is_terminal = os.isatty(1)
    encoding = "utf-8" if sys.stdout is None else sys.stdout.encoding
    errors = "strict" if sys.stdout is None else sys.stdout.errors
    raw = io.BufferedWriter(_Stdout(1, "w", closefd=False))
    sys.stdout = io.TextIOWrapper(raw, encoding, errors, line_buffering=is_terminal)


def _first_small(text: str) -> str:
    return text[:1].lower() + text[1:]


def _blame(error: Exception) -> tuple[str, int]:
    """Return what to say and the exit code: an error that names a file is the system's, and any other our bug."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}", FileError.exit_code
    return _describe_bug(error), BUG


def _describe_bug(error: Exception) -> str:
    """Return the error's type, message and last frames; no local variables, for they hold payloads."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    lines = [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    head = f"a bug in jqcli: {type(error).__name__}: {str(error)[:500]}"
    return "\n".join([head, *lines, "Please report it, with these lines and the command line."])


def _hush_stdout() -> None:
    """Let the interpreter's last flush go nowhere; it would complain about the closed pipe once more."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return
