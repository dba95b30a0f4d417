"""The end of a file of records: whole, whatever happens; what a killed writer left there is cut before more follows."""

from __future__ import annotations

import os

from jqcli.edge import failpoint
from jqcli.errors import FileError, ForeignFileError

GOES_ON = "the same command goes on from what is there now"  # how messages about a file end that others have changed
_HEAD = b'{"id":'  # as all our records begin
_BLOCK = 1 << 16


def write_whole(fd: int, data: bytes | memoryview, path: str, point: str = "append") -> None:
    """Write at the end of a regular file, or cut it back to where it ended and raise FileError.

    `point` names the place for failpoints.
    """
    good = os.lseek(fd, 0, os.SEEK_END)
    view = memoryview(data)
    try:
        while view:
            view = view[failpoint.write(point, fd, view) :]
    except OSError as error:
        left = "what is there is whole, and the same command goes on"
        try:
            os.ftruncate(fd, good)
        except OSError:
            left = "its last line may be torn; the same command cuts it and goes on"
        raise FileError(f"{path}: {error.strerror}; {left}") from error


def cut_torn_tail(fd: int, path: str) -> int:
    """Cut a last line that has no newline, as a killed writer leaves it; return how many bytes that were."""
    try:
        size, keep = _whole(fd)
        if keep < size:
            failpoint.hit("tail.cut")
            os.ftruncate(fd, keep)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror} while cutting its torn last line") from error
    return size - keep


def _whole(fd: int) -> tuple[int, int]:
    """Return the size of a file, and where its last whole line ends."""
    size = os.fstat(fd).st_size
    keep, step = size, 1
    while keep and os.pread(fd, 1, keep - 1) != b"\n":
        start = max(0, keep - step)
        found = os.pread(fd, keep - start, start).rfind(b"\n")
        keep = start + found + 1
        step = _BLOCK
    return size, keep


def check_tail(fd: int, path: str) -> None:
    """Refuse a file whose unfinished last line does not begin as ours do: it is not for us to cut."""
    size = os.fstat(fd).st_size
    start, chunk = size, b""
    while start and b"\n" not in chunk:
        start = max(0, start - (_BLOCK))
        chunk = os.pread(fd, _BLOCK, start)
    tail_at = start + chunk.rfind(b"\n") + 1
    head = os.pread(fd, len(_HEAD), tail_at)
    if head != _HEAD[: len(head)]:
        raise ForeignFileError(f"{path}: holds no records of ours; choose another file")
