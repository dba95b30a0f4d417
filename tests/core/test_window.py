"""Laws of the window that keeps the order."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from jqcli.core.window import Window

LIGHT = settings(max_examples=80, deadline=None, database=None)


@LIGHT
@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(0, 2**32))
def test_records_leave_in_input_order_each_once_and_as_early_as_they_may(sizes, seed):
    dice = random.Random(seed)
    window, numbers = Window(), dice.sample(range(100), len(sizes))
    places = [(number, index) for number, size in zip(numbers, sizes, strict=True) for index in range(size)]
    gaps = {place for place in places if dice.random() < 0.3}
    for number, size in zip(numbers, sizes, strict=True):
        window.open(number, size)
    records = {place: b"" if place in gaps else b"%d:%d\n" % place for place in places}
    put, released = set(), []
    for place in dice.sample(places, len(places)):
        window.put(*place, records[place])
        put.add(place)
        released += [(number, record) for number, found in window.release() for record in found]
        ready = places[: next((at for at, each in enumerate(places) if each not in put), len(places))]
        assert released == [(each[0], records[each]) for each in ready if records[each]]
        held = [each for each in put if records[each] and each not in ready]
        assert window.held == len(held)
        for number in numbers:
            assert window.peek(number) == b"".join(records[each] for each in sorted(held) if each[0] == number)
    assert window.held == 0


def test_a_batch_without_any_record_holds_up_nobody():
    window = Window()
    window.open(1, 1)
    window.open(2, 1)
    window.put(2, 0, b"x")
    assert window.release() == []
    window.put(1, 0, b"")
    assert window.release() == [(2, [b"x"])]


def test_nothing_is_held_of_a_batch_that_is_not_there():
    assert Window().peek(9) == b""
