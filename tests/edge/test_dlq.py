"""Laws of the dead-letter file, which several runs may append to."""

from __future__ import annotations

from jqcli.edge.dlq import Letters


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
