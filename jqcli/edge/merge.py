"""Writes a DLQ anew from what it was and what a redrive or a `drop` says; the order stands in jqcli/redrive.py."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from jqcli.core.lookup import Lookup, entry
from jqcli.edge.dlq import Letters, mark_replaced
from jqcli.edge.letter import LetterFile, LetterFiles
from jqcli.edge.redrive_log import Header, RedriveLog, log_path, merged_line, new_path
from jqcli.edge.sync import sync_file, sync_folder
from jqcli.edge.tail import cut_torn_tail
from jqcli.edge.target import resolve
from jqcli.errors import FileError, LockedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from jqcli.core.choice import Choice
    from jqcli.core.letter import Letter
    from jqcli.edge.redrive_log import Progress

    Rewrite = Callable[[Letter], bytes | None]

_COPY_BYTES = 1 << 20


def tidy(path: str) -> bool:
    """Finish what a dead redrive left of its work; tell whether a living one is at work, which is left alone."""
    if not os.path.exists(log_path(os.path.realpath(path))):
        return False
    try:
        log = RedriveLog(resolve(path))
    except LockedError:
        return True
    with log:
        merge(log)
    return False


def merge(log: RedriveLog) -> None:
    """Bring into the DLQ what a redrive came to, and empty the redrive's file."""
    if log.header is None:
        return
    progress = log.read()
    if not is_merged(log):
        if log.header.results is not None:
            _sync_results(log.header.results)
        rewrite = _Merging(log, progress)
        rewrite_letters(log, log.header.dlq_end, rewrite, rewrite.rest)
    log.restart()


def is_merged(log: RedriveLog) -> bool:
    """Tell, of a file that was read, whether its merge was cut off after the last step but one."""
    try:
        status = os.stat(log.dlq)
    except FileNotFoundError:
        return False
    return log.merged == (status.st_dev, status.st_ino)


def drop_letters(path: str, choice: Choice) -> int:
    """Remove the letters that are asked for from a DLQ; return how many. Raises LockedError while it is retried."""
    dlq = resolve(path)
    with RedriveLog(dlq) as log:
        merge(log)
        file = LetterFile(dlq)
        with LetterFiles([file]) as letters:
            dropped = Lookup(entry(letter.spot, 0) for letter, _ in letters.choose(choice))
        if len(dropped):
            log.begin(Header(file.whole_end, None, 0, {"drop": True}))
            rewrite_letters(log, file.whole_end, lambda letter: None if letter.spot in dropped else letter.line, tuple)
            log.restart()
        return len(dropped)


def rewrite_letters(log: RedriveLog, end: int, rewrite: Rewrite, rest: Callable[[], Iterable[bytes]]) -> None:
    """Write the DLQ anew: what `rewrite` makes of each last letter before `end`, then `rest`, then what came later.

    `rewrite` returns None for a letter that goes. Only what came later is copied under the DLQ's lock, so that other
    runs wait for that alone.
    """
    old = LetterFile(log.dlq, end)
    try:
        with open(new_path(log.dlq), "wb", opener=_open_private) as new:
            with LetterFiles([old]) as letters:
                new.writelines(line for line in map(rewrite, letters.read_last()) if line is not None)
            new.writelines(rest())
            new.flush()
            sync_file(new.fileno(), log.dlq, is_placed=True, point="merge.sync")
            _replace(log, old.whole_end, new)
    except OSError as error:
        raise FileError(f"{new_path(log.dlq)}: {error.strerror}; nothing is lost, the same command goes on") from error


def _replace(log: RedriveLog, end: int, new: BinaryIO) -> None:
    dlq = Letters(log.dlq)
    try:
        with dlq.locked() as fd:
            cut_torn_tail(fd, log.dlq)
            status = os.fstat(fd)
            new.writelines(_read_from(fd, end))
            new.flush()
            os.fchmod(new.fileno(), status.st_mode & 0o777)
            sync_file(new.fileno(), log.dlq, is_placed=True, point="merge.sync")
            log.append(merged_line(new.fileno()))
            log.sync()
            os.replace(new_path(log.dlq), log.dlq)
            sync_folder(log.dlq)
            mark_replaced(fd)
    finally:
        dlq.close()  # which removes an empty one


class _Merging:
    """Says what becomes of a letter: gone where its job has a record, longer where it died again, else as it was."""

    def __init__(self, log: RedriveLog, progress: Progress) -> None:
        self._log = log
        self._progress = progress

    def __call__(self, letter: Letter) -> bytes | None:
        spot = letter.spot
        again = self._progress.again.take(spot)
        if again is not None:
            return self._log.letter_at(again)
        amended = self._progress.amended.last(spot)
        job_hash = letter.job_hash if amended is None else self._log.job_at(amended)[0]
        return letter.line if self._progress.done.take(job_hash) is None else None

    def rest(self) -> Iterator[bytes]:
        """Yield the letters whose old ones somebody has taken away meanwhile: nothing dead is ever without one."""
        return (self._log.letter_at(offset) for offset in self._progress.again.untaken())


def _sync_results(path: str) -> None:
    with suppress(FileNotFoundError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            sync_file(fd, path, is_placed=False, point="merge.sync")
        finally:
            os.close(fd)


def _open_private(path: str, flags: int) -> int:
    """Open a file that is made anew: one that is there may be open, or be owned, elsewhere."""
    with suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, flags | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _read_from(fd: int, offset: int) -> Iterator[bytes]:
    while data := os.pread(fd, _COPY_BYTES, offset):
        yield data
        offset += len(data)
