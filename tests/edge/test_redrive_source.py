"""Laws of the source of a redrive: every row once, at its line, in blocks that are no larger than asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jqcli.edge.redrive_source import RedriveSource, Row

ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 300)), max_size=60)


@given(ROWS, st.integers(1, 40), st.integers(1, 200))
def test_every_row_is_given_once_and_at_its_line(places, max_lines, max_bytes):
    rows = [Row(source, number, b"%d" % at) for at, (source, number) in enumerate(places)]
    released = []
    source = RedriveSource(("a", "b", "c"), ("a", "b", "c"), len(rows), iter(rows), lambda: released.append(1))
    seen, blocks = [], 0
    while not source.ended:
        block = source.cut(max_lines, max_bytes, 0.0)
        blocks += 1
        lines = block.data.split(b"\n")
        assert lines.pop() == b""
        assert len(lines) == block.lines <= max_lines
        assert len(block.data) <= max_bytes or sum(map(bool, lines)) == 1
        assert block.first_line > 0
        seen += [(block.source, block.first_line + at, line) for at, line in enumerate(lines) if line]
    assert [line for _, _, line in seen] == [row.data for row in rows]
    for (where, number, _), row in zip(seen, rows, strict=True):
        assert row.source == 0 or (where, number) == (row.source, row.number)
    assert source.bytes_read == source.bytes_total
    assert len(released) == blocks
    assert source.cut(1, 1, 0.0) is None


def cut_all(*rows):
    source = RedriveSource(("a", "b"), ("a", "b"), len(rows), iter(rows), lambda: None)
    blocks = []
    while not source.ended:
        block = source.cut(100, 1000, 0.0)
        blocks.append((block.source, block.first_line, block.data))
    return blocks


def test_near_lines_share_a_block_and_far_ones_do_not():
    rows = [Row(1, number, b"x") for number in (1, 2, 5, 1000)]
    assert cut_all(*rows) == [(1, 1, b"x\nx\n\n\nx\n"), (1, 1000, b"x\n")]


def test_a_job_that_may_stand_anywhere_parts_no_block():
    free = Row(0, 0, b"o")
    assert cut_all(Row(1, 7, b"x"), free, Row(1, 9, b"x")) == [(1, 7, b"x\no\nx\n")]
    assert cut_all(free, free, Row(1, 7, b"x")) == [(1, 5, b"o\no\nx\n")]
    assert cut_all(free, free, Row(1, 2, b"x")) == [(0, 1, b"o\no\n"), (1, 2, b"x\n")]
    assert cut_all(Row(1, 7, b"x"), free, Row(1, 8, b"x")) == [(1, 7, b"x\no\n"), (1, 8, b"x\n")]
