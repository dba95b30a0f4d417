"""Laws of the live table's layout."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from jqcli.core.tally import FlowState
from jqcli.edge.frame import draw
from tests.edge.snapshot import take_snapshot

SHOWN = (
    "4,100/s", "3,950/s", "1m23s", "read", "completed", "duplicate", "skipped", "dead", "unfinished",
    "attempts", "retries", "crashes", "timeouts", "in flight", "waiting", "p50", "p95", "p99",
)  # fmt: skip


def show(lines):
    return ["".join(piece for piece, _ in line) for line in lines]


def test_at_80_by_24_everything_is_shown_and_nothing_is_wider():
    lines = show(draw(take_snapshot(settled_before=1000), "tasks.py:charge", 79, 23))
    text = "\n".join(lines)
    assert max(map(cell_len, lines[:-5])) <= 79
    for part in (*SHOWN, "tasks.py:charge", "running", "31.9 %   ETA   2m10s", "4000  busy", "max_attempts"):
        assert part in text
    assert "settled before     1,000" in text


def test_settled_before_is_shown_only_where_there_is_some():
    assert "settled before" not in "\n".join(show(draw(take_snapshot(), "t", 79, 23)))


def test_what_holds_jobs_up_has_a_line_of_its_own_where_anything_does():
    flow = FlowState(throttled=12, parked=3, open=1, trips=2, probes=5)
    lines = show(draw(take_snapshot(flow=flow), "t", 79, 23))
    (line,) = [line for line in lines if line.startswith("flow")]
    assert line == "flow  1 breaker open, 3 parked, 12 wait for a rate, opened 2x, 5 probes"
    assert not any(line.startswith("flow") for line in show(draw(take_snapshot(), "t", 79, 23)))


def test_columns_do_not_move_when_numbers_grow():
    few = take_snapshot(read=1, completed=0, attempts=0, in_flight=0, rate=0.0)
    many = take_snapshot(read=10**9, completed=10**9, attempts=10**9, in_flight=10**6, rate=10**6)
    for small, large in zip(show(draw(few, "t", 79, 23)), show(draw(many, "t", 79, 23)), strict=True):
        assert len(small) == len(large)


def test_without_a_known_end_there_is_no_bar():
    text = "\n".join(show(draw(take_snapshot(fraction=None, eta=None), "t", 79, 23)))
    assert "━" not in text
    assert "%" not in text
    assert "12,208 of 12,345 lines read so far are settled" in text


@pytest.mark.parametrize("height", range(1, 60))
def test_the_frame_never_outgrows_the_terminal(height):
    for width in (1, 20, 79, 119):
        assert len(draw(take_snapshot(workers=64), "t", width, height)) <= height


def test_workers_that_do_not_fit_are_counted():
    text = "\n".join(show(draw(take_snapshot(workers=64), "t", 79, 23)))
    shown = sum(f" {4000 + n} " in text for n in range(64))
    assert f"… and {64 - shown} more" in text
    assert 0 < shown < 64


@pytest.mark.parametrize("height", range(1, 40))
def test_there_is_no_head_without_a_worker_below_it(height):
    text = "\n".join(show(draw(take_snapshot(workers=3), "t", 79, height)))
    assert ("restarts" in text) == (" 4000 " in text)


@pytest.mark.parametrize("width, rows", [(119, 7), (78, 7), (77, 11), (51, 11), (50, 18), (1, 18)])
def test_counts_that_do_not_fit_beside_each_other_stand_below(width, rows):
    assert len(draw(take_snapshot(workers=0, errors=()), "t", width, 40)) == 3 + rows
