"""Laws of the end of a file of records."""

from __future__ import annotations

import errno
import os

import pytest

from jqcli.edge import failpoint
from jqcli.edge.tail import write_whole
from jqcli.errors import FileError


def test_what_could_not_be_written_whole_is_cut_off_again(tmp_path, monkeypatch):
    path = tmp_path / "results.jsonl"
    path.write_bytes(b"one\n")

    def write(point, fd, data):
        if len(data) < 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(fd, data[:3])

    monkeypatch.setattr(failpoint, "write", write)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    with pytest.raises(FileError, match="what is there is whole"):
        write_whole(fd, b'{"two"}\n', str(path))
    os.close(fd)
    assert path.read_bytes() == b"one\n"
