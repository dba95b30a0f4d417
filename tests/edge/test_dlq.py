"""Laws of the dead-letter file, which several runs may append to."""

from __future__ import annotations

import re

from jqcli.core.choice import Choice
from jqcli.edge.dlq import Letters
from jqcli.edge.merge import drop_letters


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
