"""Opens the files of a run: takes their locks, reads what earlier runs settled, and cuts what was torn."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from jqcli.core.settled import Settled
from jqcli.edge import failpoint
from jqcli.edge.dlq import Letters
from jqcli.edge.journal import read_letters, read_results
from jqcli.edge.lock import Patience, is_still, lock_for_append, lock_for_run, unlock
from jqcli.edge.merge import tidy
from jqcli.edge.sink import Results, ResultsFile, ResultsStream
from jqcli.edge.tail import check_tail, cut_torn_tail
from jqcli.edge.target import open_target
from jqcli.errors import FileError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jqcli.edge.redrive_outputs import RedriveLetters

NO_PATIENCE = Patience(0.0)


class Destination(NamedTuple):
    """Where this run writes, and how its keys are tagged; `output` is None for stdout.

    `explain` says in words what a record with another tag was made by; `stdout_fd` is where stdout's reader is;
    `is_wanted` whether what is being opened is still wanted.
    """

    output: str | None
    dlq: str
    tag: str
    explain: Callable[[str], str]
    fresh: bool = False
    stdout_fd: int = 1
    is_wanted: Callable[[], bool] = lambda: True


class Outputs(NamedTuple):
    """The open files, and what earlier runs settled."""

    results: Results
    letters: Letters | RedriveLetters
    settled: Settled
    renamed: list[str]


def is_journal(output: str | None) -> bool:
    """Tell whether results at this path can be read back: a regular file, or none yet."""
    if output is None:
        return False
    try:
        return stat.S_ISREG(os.stat(output).st_mode)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise FileError(f"{output}: {error.strerror}") from error


def journal_path(output: str | None) -> str | None:
    """Return how letters name the results file: its whole path, None for what cannot be read back."""
    return printable(os.path.abspath(output)) if output is not None and is_journal(output) else None


def open_outputs(to: Destination, patience: Patience = NO_PATIENCE) -> Outputs:
    """Open results and DLQ of a run; where another run has the results, wait for it with `patience`.

    Raises LockedError where another run has the results, ForeignFileError where a file is not this run's, FileError
    where it cannot be opened, and StopNow when it is not wanted any more. Then no file was changed.
    """
    tidy(to.dlq)
    settled = Settled()
    renamed: list[str] = []
    if not is_journal(to.output):
        stream = _open_stream(to)
        return Outputs(stream, _open_letters(to, None, settled, renamed), settled, renamed)
    assert to.output is not None  # noqa: S101 - a journal has a path
    is_new = not os.path.exists(to.output)
    fd = _lock_results(to.output, patience)
    try:
        if to.fresh and os.fstat(fd).st_size:
            renamed.append(_set_aside(to.output))
            os.close(fd)
            fd = _lock_results(to.output, patience)
        read_results(fd, to.output, to.tag, settled, to.explain, to.is_wanted)
        check_tail(fd, to.output)
        letters = _open_letters(to, journal_path(to.output), settled, renamed)
        cut_torn_tail(fd, to.output)
        return Outputs(ResultsFile(fd, to.output), letters, settled, renamed)
    except BaseException:
        if is_new and not os.fstat(fd).st_size:
            failpoint.hit("results.unlink")
            os.unlink(to.output)
        os.close(fd)
        raise


def open_results(to: Destination, settled: Settled, patience: Patience = NO_PATIENCE) -> Results:
    """Open the results alone, for a redrive, and read into `settled` what of them matters to it."""
    if not is_journal(to.output):
        return _open_stream(to)
    assert to.output is not None  # noqa: S101 - a journal has a path
    fd = _lock_results(to.output, patience)
    try:
        read_results(fd, to.output, to.tag, settled, to.explain, to.is_wanted)
        check_tail(fd, to.output)
        cut_torn_tail(fd, to.output)
    except BaseException:
        os.close(fd)
        raise
    return ResultsFile(fd, to.output)


def read_settled(to: Destination) -> Settled:
    """Return what `open_outputs` would find settled; takes no lock, makes no file and changes none.

    Raises ForeignFileError and FileError as that does.
    """
    settled = Settled()
    if to.fresh or not is_journal(to.output):
        return settled
    assert to.output is not None  # noqa: S101 - a journal has a path
    output = journal_path(to.output)
    with _reading(to.output) as fd:
        if fd is not None:
            read_results(fd, to.output, to.tag, settled, to.explain, to.is_wanted)
            check_tail(fd, to.output)
    with _reading(to.dlq) as fd:
        if fd is not None:
            read_letters(fd, to.dlq, to.tag, output, settled, to.is_wanted)
            check_tail(fd, to.dlq)
    return settled


@contextmanager
def _reading(path: str) -> Iterator[int | None]:
    """Give a descriptor to read from, None where there is no such file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error
    try:
        yield fd
    finally:
        os.close(fd)


def _lock_results(path: str, patience: Patience) -> int:
    while True:
        try:
            failpoint.hit("results.open")
            fd = open_target(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise FileError(f"{path}: {error.strerror}") from error
        try:
            lock_for_run(fd, path, patience)
        except BaseException:
            os.close(fd)
            raise
        if is_still(fd, path):
            return fd
        os.close(fd)


def _open_stream(to: Destination) -> ResultsStream:
    if to.output is None:
        return ResultsStream(to.stdout_fd, "stdout")
    try:
        # Non-blocking, or a FIFO that nobody reads would hold the run up for ever.
        fd = open_target(to.output, os.O_WRONLY | os.O_NONBLOCK)
        os.set_blocking(fd, True)
        return ResultsStream(fd, to.output)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise FileError(f"{to.output}: nobody reads from it") from None
        raise FileError(f"{to.output}: {error.strerror}") from error


def _open_letters(to: Destination, output: str | None, settled: Settled, renamed: list[str]) -> Letters:
    """Open the DLQ; with `output`, read which lines its letters settle."""
    if os.path.exists(to.dlq) and not os.path.isfile(to.dlq):
        raise FileError(f"{to.dlq}: is no regular file")
    if to.fresh and os.path.exists(to.dlq) and os.path.getsize(to.dlq):
        renamed.append(_set_aside_locked(to.dlq))
    letters = Letters(to.dlq)
    with letters.locked() as fd:
        read_letters(fd, to.dlq, to.tag, output, settled, to.is_wanted)
        check_tail(fd, to.dlq)
        cut_torn_tail(fd, to.dlq)
    return letters


def _set_aside_locked(path: str) -> str:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        lock_for_append(fd, path)
        return _set_aside(path)
    finally:
        unlock(fd)
        os.close(fd)


def _set_aside(path: str) -> str:
    """Rename a file to `<name>.<UTC>`, under a name that is not taken."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for number in range(1000):
        target = f"{path}.{stamp}" + (f".{number}" if number else "")
        try:
            # The name is taken first, so that nothing is overwritten and no file ever stands under two names.
            failpoint.hit("aside.name")
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            failpoint.hit("aside.rename")
            os.rename(path, target)
        except FileExistsError:
            continue
        except OSError as error:
            raise FileError(f"{path}: cannot be renamed to {target}: {error.strerror}") from error
        return target
    raise FileError(f"{path}: no free name beside it")
