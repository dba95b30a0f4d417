"""Laws of batches and of their size."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jqcli.core.batch import AIM_SECONDS, AUTO_MOST, Batch, Sizer

LIGHT = settings(max_examples=50, deadline=None, database=None)


def make_batch(lines, **more):
    return Batch(3, 0, "jobs.jsonl", "jobs", 11, b"".join(line + b"\n" for line in lines), len(lines), **more)


@LIGHT
@given(st.lists(st.sampled_from([b"", b"1", b"{}", b"  "]), min_size=2, max_size=9))
def test_halves_hold_every_line_once_under_its_own_number(lines):
    first, second = make_batch(lines).halves(8)
    assert (first.number, second.number) == (8, 9)
    assert min(first.lines, second.lines) > 0
    assert first.lines + second.lines == len(lines)
    both = [half.line(at) for half in (first, second) for at in range(half.lines)]
    assert [line.data for line in both] == lines
    assert [line.number for line in both] == list(range(11, 11 + len(lines)))
    assert {(line.source, line.stem) for line in both} == {("jobs.jsonl", "jobs")}
    assert first.data + second.data == make_batch(lines).data


def test_a_fixed_size_never_changes():
    sizer = Sizer(7)
    sizer.note(7, 100.0)
    sizer.note(7, 0.0)
    assert sizer.size == 7


@LIGHT
@given(st.lists(st.tuples(st.integers(0, 10_000), st.floats(0, 1e4)), max_size=20))
def test_the_size_stays_within_bounds_and_grows_fourfold_at_most(notes):
    sizer = Sizer(None)
    for jobs, seconds in notes:
        before = sizer.size
        sizer.note(jobs, seconds)
        assert 1 <= sizer.size <= min(AUTO_MOST, 4 * before)


def test_the_size_settles_where_a_batch_takes_what_is_aimed_at():
    sizer = Sizer(None)
    for _ in range(20):
        sizer.note(sizer.size, sizer.size * 20e-6)
    assert sizer.size * 20e-6 == pytest.approx(AIM_SECONDS, rel=0.01)
    sizer.note(sizer.size, sizer.size * 0.5)
    assert sizer.size == 1


def test_an_end_without_jobs_teaches_nothing():
    sizer = Sizer(None)
    before = sizer.size
    sizer.note(0, 0.0)
    assert sizer.size == before
