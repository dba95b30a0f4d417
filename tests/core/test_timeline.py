"""Laws of a timeline: what is put in is in it, in the right place, and its size does not change."""

from __future__ import annotations

from math import isclose

from hypothesis import given
from hypothesis import strategies as st

from jqcli.core.timeline import BUCKETS, Timeline

MOMENT = st.floats(0, 1e6)
SPAN = st.tuples(MOMENT, st.floats(0, 1e5), st.floats(0, 1e6))


@given(st.lists(SPAN, min_size=1, max_size=30))
def test_what_is_spread_is_neither_lost_nor_doubled_and_lies_in_its_time(spans):
    timeline = Timeline()
    row = timeline.add_row()
    for begin, length, amount in spans:
        timeline.spread(row, begin, begin + length, amount)
    assert len(row.values) == BUCKETS
    assert isclose(sum(row.values), sum(amount for *_, amount in spans), rel_tol=1e-6, abs_tol=1e-6)
    assert all(value >= -1e-6 for value in row.values)
    width = timeline.width
    used = {place for begin, length, _ in spans for place in (int(begin / width), int((begin + length) / width))}
    filled = [place for place, value in enumerate(row.values) if value > 1e-6]
    assert all(min(used) - 1 <= place <= max(used) + 1 for place in filled)


@given(st.lists(st.tuples(MOMENT, st.floats(0, 1e6)), min_size=1, max_size=30))
def test_the_highest_value_survives_every_merging(seen):
    timeline = Timeline()
    row = timeline.add_row(max)
    for at, value in seen:
        timeline.put(row, at, value)
    assert max(row.values) == max(value for _, value in seen)
    assert len(row.values) == BUCKETS


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_an_even_amount_over_two_thirds_of_the_time_is_twice_that_over_the_third(begin, length):
    timeline = Timeline()
    row = timeline.add_row()
    timeline.spread(row, begin, begin + length, 9.0)
    timeline.reach(begin + length)
    middle = begin + 2 / 3 * length
    place = int(middle / timeline.width)
    early, late = sum(row.values[:place]), sum(row.values[place + 1 :])
    most = row.values[place] + 1e-3
    assert early <= 6.0 + most
    assert late <= 3.0 + most


def test_what_was_seen_at_a_look_holds_since_the_look_before():
    timeline = Timeline(buckets=6, width=1.0)
    row = timeline.add_row(max)
    timeline.hold(row, 0.0, 0.0, 1)
    timeline.hold(row, 0.5, 3.5, 4)
    timeline.hold(row, 3.5, 3.9, 2)
    assert row.values == [1, 4, 4, 4, 0, 0]
