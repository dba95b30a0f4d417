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
        assert len(block.data) <= max_bytes + 1 or sum(map(bool, lines)) == 1
        seen += [Row(block.source, block.first_line + at, line) for at, line in enumerate(lines) if line]
    assert seen == rows
    assert source.bytes_read == source.bytes_total
    assert len(released) == blocks
    assert source.cut(1, 1, 0.0) is None


def test_near_lines_share_a_block_and_far_ones_do_not():
    rows = [Row(0, number, b"x") for number in (1, 2, 5, 1000)]
    source = RedriveSource(("a",), ("a",), 4, iter(rows), lambda: None)
    assert source.cut(100, 1000, 0.0).data == b"x\nx\n\n\nx\n"
    assert source.cut(100, 1000, 0.0).first_line == 1000
