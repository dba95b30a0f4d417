"""The error tree. An error of the user's or of the machine's knows its exit code.

`Retry`, `Snooze`, `RateLimited`, `Reject` and `Skip` are not errors of ours: they are the words with which a handler
answers other than by returning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jqcli.quantity import parse_wait

if TYPE_CHECKING:
    from collections.abc import Iterable


TEXT_LIMIT = 4096  # bytes of an error's message, and of its stacktrace, that letters keep


class JqcliError(Exception):
    """Base of the errors that end a run.

    `exit_code` is the code the command ends with; `goes_on` tells whether the same command gets further, as things are.
    """

    exit_code = 70
    goes_on = True


class UsageError(JqcliError):
    """The user asked for something that cannot be done; nothing was run."""

    exit_code = 2


class HandlerLoadError(UsageError):
    """A handler could not be loaded; says what was tried and where it failed."""


class ForeignFileError(JqcliError):
    """An existing file is not one of ours, or belongs to another handler or key."""

    exit_code = 65


class FileError(JqcliError):
    """A file could not be read or written; the run is resumable."""

    exit_code = 74


class InputError(FileError):
    """An input cannot be read any further; what came before is jobs like any others."""

    goes_on = False


class LockedError(JqcliError):
    """Another run holds the file."""

    exit_code = 75


class ReaderGoneError(JqcliError):
    """The reader of stdout closed it."""

    exit_code = 141


class StopNow(BaseException):
    """Raised out of a handler that runs in this process when the user insists on stopping."""


class Retry(Exception):  # noqa: N818 - a word of the handler's, not an error
    """Raised by a handler: try this job again; counts an attempt.

    `after` replaces the backoff: seconds, or a duration such as ``"10s"``; clamped to [0, 1 h]. Raises ValueError
    for what is neither, and so the attempt fails with that.
    """

    def __init__(self, message: str = "", *, after: float | str | None = None) -> None:
        super().__init__(message)
        self.after = None if after is None else parse_wait(after)


class Snooze(Exception):  # noqa: N818
    """Raised by a handler: not now; run this job again after a while, without counting an attempt.

    `after` is seconds, or a duration such as ``"1m"``; clamped to [0, 1 h]. Raises ValueError for what is neither.
    """

    def __init__(self, after: float | str, message: str = "") -> None:
        super().__init__(message)
        self.after = parse_wait(after)


class RateLimited(Exception):  # noqa: N818
    """Raised by a handler: what it calls says to slow down; this job waits, and with it its tenant or its handler.

    Counts as no attempt. `retry_after` is seconds, a duration such as ``"30s"``, or what a `Retry-After` header says
    (seconds or a date); clamped to [0, 1 h]; a second where it is missing.
    """

    def __init__(self, message: str = "", *, retry_after: float | str | None = None) -> None:
        super().__init__(message)
        self.after = retry_after


class Reject(Exception):  # noqa: N818
    """Raised by a handler: this job is dead now, whatever attempts are left."""


class Skip(Exception):  # noqa: N818
    """Raised by a handler: there is nothing to do for this job; its outcome is `skipped`."""


def printable(text: str) -> str:
    r"""Return text that can be written as UTF-8, such as a file's name that is none.

    >>> printable("a\udcff.jsonl")
    'a\\udcff.jsonl'
    """
    return text.encode("utf-8", "backslashreplace").decode()


def shorten(text: str, most: int = TEXT_LIMIT) -> str:
    """Return text as `printable` does, in at most `most` bytes; a mark says where it was cut and how long it was.

    >>> shorten("é" * 1000, 40)
    'ééééééééé… (1,000 characters)'
    """
    # Only what can be kept is encoded: a message may be megabytes long.
    data = text[: most + 1].encode("utf-8", "backslashreplace")
    if len(data) <= most:
        return data.decode()
    mark = f"… ({len(text):,} characters)"
    return data[: most - len(mark.encode())].decode(errors="ignore") + mark


def suggest(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest known word, or an empty string.

    >>> suggest("payloda", ["payload", "id"])
    " (did you mean 'payload'?)"
    """
    from difflib import get_close_matches  # noqa: PLC0415 - costs 6 ms, and is for mistakes only

    near = get_close_matches(word[:100], list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
