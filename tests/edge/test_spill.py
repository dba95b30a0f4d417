"""Laws of the scratch file: nobody else reads it, nothing is left of it, and a full disk is only a full one."""

from __future__ import annotations

import os
import stat

import pytest

from jqcli.edge.spill import Spill
from jqcli.errors import FileError


@pytest.fixture
def spill(tmp_path):
    one = Spill(str(tmp_path), 100)
    yield one
    if one._fd >= 0:
        os.close(one._fd)


def test_what_is_appended_is_read_and_written_over(spill):
    assert [spill.append(b"abcd"), spill.append(b"efgh")] == [0, 4]
    spill.write(2, b"XY")
    assert spill.read(0, 8) == b"abXYefgh"


def test_its_file_has_no_name_and_is_its_owners_alone(spill, tmp_path):
    spill.append(b"secret")
    assert os.listdir(tmp_path) == []
    assert stat.S_IMODE(os.fstat(spill._fd).st_mode) == 0o600


def test_no_file_is_made_before_it_is_needed(spill):
    assert spill._fd == -1


def test_it_holds_so_many_bytes_and_all_of_them_again_when_it_is_cleared(spill):
    assert spill.append(bytes(100)) == 0
    assert spill.append(b"x") is None
    spill.clear()
    assert os.fstat(spill._fd).st_size == 0
    assert spill.append(bytes(100)) == 0


def test_a_folder_that_takes_no_file_has_no_room(tmp_path):
    assert Spill(str(tmp_path / "none"), 100).append(b"x") is None


def test_what_cannot_be_read_back_ends_the_run_and_says_what_it_was(spill, tmp_path):
    spill.append(b"abc")
    whole = spill._fd
    spill._fd = os.open(tmp_path, os.O_RDONLY)  # a folder, from which nothing is read
    os.close(whole)
    with pytest.raises(FileError, match="set aside"):
        spill.read(0, 3)
