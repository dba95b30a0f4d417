"""Laws of a file of lines: it stops nothing, whatever reads it, and says what it left out."""

from __future__ import annotations

import os

import pytest

from jqcli.edge.log import LineFile
from jqcli.errors import FileError


@pytest.fixture
def pipe(tmp_path):
    """A pipe with a name, and somebody who has it open to read."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield str(path), fd
    os.close(fd)


def test_a_pipe_that_nobody_reads_is_an_error_and_not_waited_for(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(FileError, match="nobody reads from this pipe"):
        LineFile(str(path), print)


def test_a_reader_gets_every_line_it_has_time_for_and_whole(pipe):
    path, fd = pipe
    said = []
    file = LineFile(path, said.append)
    line = b"x" * 999 + b"\n"
    got = b""
    for _ in range(200):  # more than a pipe holds
        file.append([line])
    while len(got) < 200_000:
        got += os.read(fd, 1 << 20)
        file.append([])
    file.close()
    assert got == line * 200
    assert said == []


def test_a_reader_that_does_not_read_costs_bounded_memory_and_is_told_of(pipe):
    path, fd = pipe
    said = []
    file = LineFile(path, said.append)
    line = b"x" * 999 + b"\n"
    for _ in range(5000):
        file.append([line])
    assert len(file._kept) < 1.1 * 2**20
    got = os.read(fd, 1 << 20)
    while True:
        try:
            file.append([])
            got += os.read(fd, 1 << 20)
        except BlockingIOError:
            break
    file.append([b"last\n"])
    file.close()
    got += os.read(fd, 1 << 20)
    assert got.endswith(b"last\n")
    assert set(got.splitlines()) == {b"x" * 999, b"last"}
    left_out = 5000 - got.count(line)
    assert left_out > 3000
    assert said == [f"{path}: {left_out:,} lines were left out, as their reader was too slow"]


def test_a_reader_that_goes_away_is_said_once(pipe):
    path, fd = pipe
    said = []
    file = LineFile(path, said.append)
    spare = os.open("/dev/null", os.O_RDONLY)
    os.dup2(spare, fd)
    os.close(spare)
    for _ in range(3):
        file.append([b"a\n"])
    file.close()
    assert said == [f"{path}: cannot be written any more: Broken pipe"]
