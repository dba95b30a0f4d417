"""Law 3: what is read and not settled never exceeds the queue, in lines and in bytes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from jqcli.edge.cutter import Block, Oversized
from jqcli.intake import Bounds, Intake


class Lines:
    """A source of one-byte lines without end."""

    ended = False

    def __init__(self):
        self.taken = 0

    def cut(self, most, _most_bytes, _now):
        self.taken += most
        return Block(0, 1, most, b"1\n" * most, 0)


def make(lines=100, size=1000, limit=None, workers=2, held=0, batch=1 << 20):
    dispatch = SimpleNamespace(lines=0, bytes=0, sizer=SimpleNamespace(size=batch))
    bounds = Bounds(lines=lines, bytes=size, limit=limit, grace=1.0, max_failures=None)
    intake = Intake(Lines(), bounds, dispatch, SimpleNamespace(held=held), workers)
    return intake, dispatch


@pytest.mark.parametrize("workers", [1, 2, 7, 1000])
@pytest.mark.parametrize("held", [0, 30])
def test_the_lines_of_the_queue_are_never_exceeded(workers, held):
    intake, dispatch = make(lines=100, workers=workers, held=held)
    while (most := intake.wanted) > 0:
        dispatch.lines += intake.cut(most, 0.0).lines
        assert dispatch.lines + held <= 100
    assert dispatch.lines + held == 100


def test_no_batch_is_larger_than_its_workers_share_of_half_the_queue():
    intake, _ = make(lines=100, workers=5)
    assert intake.wanted == 10


def test_nothing_is_read_while_the_bytes_of_the_queue_are_used_up():
    intake, dispatch = make(size=1000)
    dispatch.bytes = 999
    assert intake.wanted > 0
    dispatch.bytes = 1000
    assert intake.wanted == 0


def test_no_more_jobs_are_read_than_asked_for_and_blank_lines_are_none():
    intake, _ = make(limit=30)
    assert intake.cut(intake.wanted, 0.0).lines == 25
    assert (intake.wanted, intake.is_done) == (5, False)
    intake.cut(5, 0.0)
    assert intake.is_done
    intake.give_back(2)
    assert (intake.wanted, intake.is_done) == (2, False)


def test_a_line_that_is_too_long_is_one_job():
    intake, _ = make(limit=2)
    intake._source.cut = lambda *_: Oversized(0, 1, 0, 10**9, b"", b"")
    intake.cut(1, 0.0)
    assert intake.wanted == 1
