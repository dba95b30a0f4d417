"""Laws of the dead-letter file, which several runs may append to."""

from __future__ import annotations

import os
import re

import pytest

from jqcli.core.choice import Choice
from jqcli.edge import dlq as module
from jqcli.edge.dlq import Letters
from jqcli.edge.merge import drop_letters
from jqcli.errors import FileError

ONE, TWO = b'{"id":1}\n', b'{"id":2}\n'


def test_a_letter_that_a_killed_run_left_unfinished_is_cut_before_the_next_one_is_appended(tmp_path):
    """Whenever it was killed: before this run opened the file, or since."""
    path = tmp_path / "d.jsonl"
    whole = b'{"id":1}\n'
    path.write_bytes(whole + b'{"id":"to')
    letters = Letters(str(path))
    letters.append(whole)
    assert path.read_bytes() == 2 * whole
    with path.open("ab") as other:
        other.write(b'{"id":"rn')
    letters.append(whole)
    letters.close()
    assert path.read_bytes() == 3 * whole


def test_nobody_sees_letters_through_a_file_that_was_laid_in_the_place_of_the_new_one(tmp_path):
    """It holds payloads from its first byte on, and whoever made it could read them."""
    path = tmp_path / "d.jsonl"
    path.write_text("".join(f'{{"id":"{name}","key":"5f01ab:={name}","reason":"rejected","job":1}}\n' for name in "ab"))
    laid = tmp_path / "d.jsonl.redrive.new"
    laid.touch()
    laid.chmod(0o666)
    with laid.open() as other:
        assert drop_letters(str(path), Choice(ids=("a",))) == 1
        assert other.read() == ""
    assert re.findall(r'"id":"(.)"', path.read_text()) == ["b"]


def test_letters_go_to_the_file_that_the_path_names_now_and_its_name_is_synced_too(tmp_path, monkeypatch):
    placed = []
    monkeypatch.setattr(module, "sync_file", lambda *_, is_placed, **__: placed.append(is_placed))
    path = tmp_path / "d.jsonl"
    letters = Letters(str(path))
    letters.append(ONE * 9)
    letters.sync()
    (tmp_path / "other").write_bytes(TWO)
    os.replace(tmp_path / "other", path)
    letters.check()
    letters.append(ONE)
    letters.check()
    letters.sync()
    letters.append(ONE)
    letters.sync()
    letters.sync()
    assert path.read_bytes() == TWO + ONE * 2
    assert placed == [False, False, True]
    letters.close()


def test_letters_of_earlier_runs_are_synced_too(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(module, "sync_file", lambda *_, **__: synced.append(1))
    path = tmp_path / "d.jsonl"
    for letters in (b"", ONE):
        path.write_bytes(letters)
        opened = Letters(str(path))
        opened.sync()
        opened.close()
    assert len(synced) == 1


@pytest.mark.parametrize("deed, said", [(os.unlink, "was removed"), (lambda path: os.truncate(path, 9), "was cut")])
def test_letters_that_are_taken_away_are_missed(tmp_path, deed, said):
    path = tmp_path / "d.jsonl"
    letters = Letters(str(path))
    letters.append(ONE * 2)
    letters.check()
    deed(path)
    with pytest.raises(FileError, match=said):
        letters.check()
    letters.close()


def test_nothing_is_appended_to_letters_that_were_cut(tmp_path):
    path = tmp_path / "d.jsonl"
    letters = Letters(str(path))
    letters.append(ONE * 2)
    os.truncate(path, 9)
    with pytest.raises(FileError, match="was cut"):
        letters.append(TWO)
    assert path.read_bytes() == ONE
    letters.close()


@pytest.mark.parametrize("letters", [b"", ONE])
def test_only_an_empty_file_is_removed(tmp_path, letters):
    path = tmp_path / "d.jsonl"
    path.write_bytes(letters)
    assert Letters(str(path)).close() == path.exists() == bool(letters)
