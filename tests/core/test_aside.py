"""Laws of jobs that are set aside: each chain is first in, first out, and what comes back is what was put."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqcli.core.aside import Aside, Chain
from jqcli.core.batch import Pending
from jqcli.core.breaker import Trip
from jqcli.core.codec import Scheme, read_line
from jqcli.core.gate import Gate
from jqcli.core.lane import Flow
from jqcli.core.limit import Rate
from jqcli.core.rules import Moment
from jqcli.model import Line
from tests.scratch import MemoryScratch


def pending(number, source=0):
    data = json.dumps({"payload": {"n": number}, "tenant": "t", "cost": 2}).encode()
    line = Line(f"in/{source}.jsonl", str(source), number, data)
    return Pending(line, read_line(line, Scheme()), source, number // 10, number % 10)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=80))
def test_what_comes_back_is_what_was_put_in_the_order_of_its_chain(steps):
    scratch = MemoryScratch()
    aside, chains = Aside(scratch, Scheme(), 10), [Chain() for _ in range(4)]
    expected: list[list[Pending]] = [[], [], [], []]
    for number, (which, is_put) in enumerate(steps):
        if is_put:
            one = pending(number, which)
            assert aside.put(chains[which], one)
            assert aside.find(one.origin, one.index) == one.job
            expected[which].append(one)
        elif expected[which]:
            back, one = aside.take(chains[which]), expected[which].pop(0)
            assert (back.line, back.job, back.source, back.origin, back.index) == (
                one.line, one.job, one.source, one.origin, one.index,
            )  # fmt: skip
            assert aside.find(one.origin, one.index) == one.job, "it is neither here nor there"
            aside.forget(back)
            assert aside.find(one.origin, one.index) is None
        assert [chain.count for chain in chains] == [len(jobs) for jobs in expected]
        assert aside.count == sum(map(len, expected))
    if not aside.count:
        assert not scratch.data
        assert not aside._offsets


def test_where_there_is_no_room_nothing_is_put():
    aside, chain = Aside(MemoryScratch(most=10), Scheme(), 10), Chain()
    assert not aside.put(chain, pending(1))
    assert (chain.count, aside.count, aside.find(0, 1)) == (0, 0, None)


def test_a_lane_has_its_share_and_a_few_in_any_case():
    aside = Aside(MemoryScratch(), Scheme(), 1000)
    assert not aside.is_wanted(waiting=999, lanes=2, own=990)
    assert aside.is_wanted(waiting=1000, lanes=2, own=500)
    assert not aside.is_wanted(waiting=1000, lanes=2, own=499)
    assert not aside.is_wanted(waiting=5000, lanes=10_000, own=3)


def test_nobody_passes_those_of_its_own_lane_that_are_set_aside():
    flow = Flow(tenant_rate=Rate(1e6, 1000))
    gate = Gate(flow, Aside(MemoryScratch(), Scheme(), 10))
    assert [gate.admit(pending(number)) for number in range(20)] == [False] * 10 + [True] * 10
    taken, _ = gate.take(Moment(100.0, 1000.0), 12)
    assert gate.admit(pending(20)), "there is memory again, and others wait in front of it"
    more, _ = gate.take(Moment(100.0, 1000.0), 20)
    assert [one.line.number for one in taken + more] == list(range(21))
    assert len(gate.take_readmitted()) == 11
    assert (gate.waiting, gate.due_at) == (0, None)


@pytest.mark.parametrize(
    "flow, is_wanted",
    [
        (Flow(rate=Rate(1.0)), False),
        (Flow(trip=Trip(0.5, 30.0)), False),
        (Flow(budget=0.2), False),
        (Flow(tenant_rate=Rate(1.0)), True),
        (Flow(tenants={"x": Rate(1.0)}), True),
        (Flow(rate=Rate(1.0), rate_key="n"), True),
        (Flow(trip=Trip(0.5, 30.0), breaker_key="tenant"), True),
        (Flow(handlers={None: Rate(1.0)}), False),
    ],
)
def test_nothing_is_set_aside_where_all_wait_for_the_same(flow, is_wanted):
    gate = Gate(flow, Aside(MemoryScratch(), Scheme(), 10))
    found = [gate.admit(pending(1)) for _ in range(100)]
    assert any(found) == is_wanted
