"""Laws of the scratch file: nobody else reads it, nothing is left of it, and a full disk is only a full one."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqcli.edge.spill import SEGMENT, Spill
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


def test_it_holds_so_many_bytes_and_all_of_them_again_when_none_is_needed(spill):
    assert spill.append(bytes(100)) == 0
    assert spill.append(b"x") is None
    spill.free(0, 100)
    assert os.fstat(spill._fd).st_size == 0
    assert spill.append(bytes(100)) == 0


def test_one_that_is_needed_for_long_does_not_keep_the_space_of_others(tmp_path):
    spill = Spill(str(tmp_path), 4 * SEGMENT)
    spill.append(b"long")
    for _ in range(1000):
        offset = spill.append(bytes(SEGMENT // 3))
        assert offset is not None, "the file is full of what nobody needs"
        spill.free(offset, SEGMENT // 3)
    assert os.fstat(spill._fd).st_size <= 3 * SEGMENT
    os.close(spill._fd)


@given(steps=st.lists(st.tuples(st.booleans(), st.integers(1, 5 * SEGMENT // 2), st.integers(0, 99)), max_size=60))
def test_what_stands_there_stays_until_it_is_freed(steps, tmp_path_factory):
    most = 8 * SEGMENT + 1000
    spill = Spill(str(tmp_path_factory.getbasetemp()), most)
    kept: dict[int, bytes] = {}
    try:
        for number, (is_append, size, which) in enumerate(steps):
            if is_append:
                data = (b"%d," % number * size)[:size]
                offset = spill.append(data)
                if offset is not None:
                    assert offset + size <= most
                    kept[offset] = data
            elif kept:
                offset = sorted(kept)[which % len(kept)]
                spill.free(offset, len(kept.pop(offset)))
            for offset, data in kept.items():
                assert spill.read(offset, min(40, len(data))) == data[:40]
                assert spill.read(offset + len(data) - 1, 1) == data[-1:]
        for offset, data in kept.items():
            assert spill.read(offset, len(data)) == data
            spill.free(offset, len(data))
        assert spill.append(bytes(most)) == 0, "all is free again"
    finally:
        if spill._fd >= 0:
            os.close(spill._fd)


def test_a_folder_that_takes_no_file_has_no_room(tmp_path):
    assert Spill(str(tmp_path / "none"), 100).append(b"x") is None


def test_what_cannot_be_read_back_ends_the_run_and_says_what_it_was(spill, tmp_path):
    spill.append(b"abc")
    whole = spill._fd
    spill._fd = os.open(tmp_path, os.O_RDONLY)  # a folder, from which nothing is read
    os.close(whole)
    with pytest.raises(FileError, match="set aside"):
        spill.read(0, 3)


def test_segments_for_what_could_not_be_written_are_given_back(tmp_path, monkeypatch):
    spill = Spill(str(tmp_path), 6 * SEGMENT)
    first = spill.append(b"long")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda *_: 1)
        assert [spill.append(bytes(3 * SEGMENT)) for _ in range(5)] == [None] * 5
    assert spill.append(b"more") is not None
    assert spill.append(bytes(4 * SEGMENT)) is not None
    assert spill.read(first, 4) == b"long"
    os.close(spill._fd)


def test_a_write_that_is_cut_short_ends_the_run_and_says_so(spill, monkeypatch):
    spill.append(b"abcd")
    monkeypatch.setattr(os, "pwrite", lambda *_: 1)
    with pytest.raises(FileError, match=r"--spill\): only 1 of 2 bytes"):
        spill.write(0, b"XY")


def test_a_file_that_cannot_be_emptied_ends_the_run_and_says_what_it_was(spill, monkeypatch):
    def refuse(*_):
        raise OSError(5, "Input/output error")

    spill.append(b"abcd")
    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(FileError, match=r"--spill\): Input/output error"):
        spill.free(0, 4)


def test_where_nothing_is_needed_any_more_is_written_anew(tmp_path):
    spill = Spill(str(tmp_path), 10 * SEGMENT)
    assert [spill.append(letter * SEGMENT) for letter in (b"a", b"b")] == [0, SEGMENT]
    spill.free(0, SEGMENT)
    assert spill.append(b"c" * SEGMENT) == 0
    os.close(spill._fd)


def test_what_cannot_be_written_takes_nothing_from_what_stands_there(tmp_path, monkeypatch):
    spill = Spill(str(tmp_path), 10 * SEGMENT)
    assert spill.append(b"abcd") == 0
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda *_: 0)
        assert spill.append(b"efgh") is None
    for _ in range(3):
        spill.append(b"x" * (SEGMENT - 4))
    assert spill.read(0, 4) == b"abcd"
    os.close(spill._fd)
