"""Laws of jobs that are set aside: each chain is first in, first out, and what comes back is what was put."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqcli.core.aside import Aside, Chain, Room
from jqcli.core.batch import Batch, Pending
from jqcli.core.breaker import Trip
from jqcli.core.codec import Scheme, read_line
from jqcli.core.gate import Gate
from jqcli.core.lane import Flow
from jqcli.core.limit import Rate
from jqcli.core.queue import Queue
from jqcli.core.rules import Moment
from jqcli.core.taken import Taken
from jqcli.errors import FileError
from jqcli.model import Line
from tests.scratch import MemoryScratch

TENS = [json.dumps({"payload": {"n": number}, "tenant": "t", "cost": 2}).encode() for number in range(1000)]
FILE = b"".join(line + b"\n" for line in TENS)
STARTS = [0]
for one in TENS:
    STARTS.append(STARTS[-1] + len(one) + 1)


def pending(number, source=0, *, is_lasting=False, **more):
    line = Line(f"in/{source}.jsonl", str(source), number, TENS[number])
    offset = STARTS[number] if is_lasting else -1
    return Pending(line, read_line(line, Scheme()), source, number // 10, number % 10, offset=offset, **more)


def read_again(source, offset, size):
    return FILE[offset : offset + size]


def make(lines=20, scratch=None, octets=1 << 30, read=read_again):
    queue = Queue(Scheme(), Taken())
    return Aside(queue, Room(scratch or MemoryScratch(), read, lines, octets)), queue


def enter(queue, one):
    queue.enter(one)
    return one


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans(), st.booleans()), max_size=80))
def test_what_comes_back_is_what_was_put_in_the_order_of_its_chain(steps):
    scratch = MemoryScratch()
    aside, queue = make(scratch=scratch)
    chains = [Chain() for _ in range(4)]
    expected: list[list[Pending]] = [[], [], [], []]
    for number, (which, is_put, is_lasting, is_old) in enumerate(steps):
        if is_put:
            more = {"attempts": 2, "crashes": 1, "failed_at": 5.25, "is_sent": True} if is_old else {}
            one = enter(queue, pending(number, which, is_lasting=is_lasting, **more))
            if is_old:
                for attempt in (1, 2):
                    queue.bytes += one.note({"attempt": attempt, "message": "half a pair \ud800 \n", "duration": 0.1})
            assert aside.put(chains[which], one)
            assert aside.find(one.origin, one.index) == one.job
            expected[which].append(one)
        elif expected[which]:
            back, one = aside.take(chains[which]), expected[which].pop(0)
            assert back.is_aside
            assert aside.find(one.origin, one.index) == one.job, "it is neither here nor there"
            aside.forget(back)
            assert aside.find(one.origin, one.index) is None
            for name in Pending.__slots__:
                assert getattr(back, name) == getattr(one, name), name
            assert queue.jobs[one.job.key] is back
            queue.leave(back)
        assert [chain.count for chain in chains] == [len(jobs) for jobs in expected]
        assert aside.count == sum(map(len, expected))
        assert (queue.lines, queue.bytes, queue.jobs) == (0, 0, {})
    if not aside.count:
        assert not scratch.data
        assert not aside._spots


def test_of_a_line_that_can_be_read_again_nothing_is_copied():
    scratch = MemoryScratch()
    aside, queue = make(scratch=scratch)
    aside.put(Chain(), enter(queue, pending(7, is_lasting=True)))
    (kept,) = scratch.data.values()
    assert b"payload" not in kept
    assert len(kept) < 80


@pytest.mark.parametrize(
    "edited", [FILE[: STARTS[7]] + b"#" + FILE[STARTS[7] + 1 :], FILE[1:], FILE[: STARTS[7] + 3], b""],
    ids=["one byte", "shifted", "cut", "empty"],
)  # fmt: skip
def test_a_file_that_was_changed_is_noticed_and_the_line_is_named(edited):
    aside, queue = make(read=lambda _, offset, size: edited[offset : offset + size])
    chain = Chain()
    aside.put(chain, enter(queue, pending(7, is_lasting=True)))
    with pytest.raises(FileError, match=r"^in/0.jsonl:7: the file was changed .* same command again"):
        aside.take(chain)


def test_a_line_of_a_batch_stands_where_the_batch_says():
    first = STARTS[20]
    batch = Batch(1, 0, "in", "in", 21, FILE[first : STARTS[30]], 10, (), first)
    assert [batch.offset_of(index) for index in range(10)] == STARTS[20:30]
    low, high = batch.halves(2)
    assert (low.offset, high.offset) == (STARTS[20], STARTS[25])
    assert Batch(1, 0, "in", "in", 21, b"\n" * 10, 10, [3], first).offset_of(5) == -1


def test_where_there_is_no_room_nothing_is_put():
    aside, queue = make(scratch=MemoryScratch(most=10))
    chain, one = Chain(), enter(queue, pending(1))
    assert not aside.put(chain, one)
    assert (chain.count, aside.count, aside.find(0, 1), queue.lines) == (0, 0, None, 1)


def test_a_lane_has_its_share_and_a_few_in_any_case():
    aside, _ = make(2000)
    assert not aside.is_wanted(waiting=999, lanes=2, own=990)
    assert aside.is_wanted(waiting=1000, lanes=2, own=500)
    assert not aside.is_wanted(waiting=1000, lanes=2, own=499)
    assert not aside.is_wanted(waiting=5000, lanes=10_000, own=3)


def test_what_comes_back_does_not_join_others_that_wait_where_the_queue_is_full():
    aside, queue = make(2000)
    queue.lines = 1999
    assert not aside.is_full(waiting=1)
    queue.lines = 2000
    assert aside.is_full(waiting=1)
    assert not aside.is_full(waiting=0), "or nothing would go on"


def test_few_jobs_that_are_large_have_their_share_too():
    aside, queue = make(2000, octets=10_000)
    queue.bytes = 4999
    assert not aside.is_wanted(waiting=10, lanes=2, own=5)
    queue.bytes = 5000
    assert aside.is_wanted(waiting=10, lanes=2, own=5)
    assert not aside.is_wanted(waiting=10, lanes=2, own=4)


def test_memory_for_each_is_a_dozen_bytes():
    dice = random.Random(1)
    numbers = [*range(1000)]
    dice.shuffle(numbers)
    aside, queue = make()
    chain = Chain()
    for number in numbers:
        aside.put(chain, enter(queue, pending(number, is_lasting=True)))
    kept = sum(len(spots.indexes) * spots.indexes.itemsize for spots in aside._spots.values())
    kept += sum(len(spots.offsets) * spots.offsets.itemsize for spots in aside._spots.values())
    assert kept == 12 * 1000
    assert [aside.take(chain).line.number for _ in numbers] == numbers


def gate_of(flow, lines=20):
    aside, queue = make(lines)
    return Gate(flow, aside), aside, queue


def put(gate, queue, number, now=100.0):
    """Let a job wait in front of the gate; tell whether it was set aside."""
    before = queue.lines
    gate.put(enter(queue, pending(number)), now)
    return queue.lines == before


def test_nobody_passes_those_of_its_own_lane_that_are_set_aside():
    gate, _, queue = gate_of(Flow(tenant_rate=Rate(1e6, 1000)))
    assert [put(gate, queue, number) for number in range(20)] == [False] * 10 + [True] * 10
    taken, _ = gate.take(Moment(100.0, 1000.0), 12)
    assert put(gate, queue, 20), "there is memory again, and others wait in front of it"
    more, _ = gate.take(Moment(100.0, 1000.0), 20)
    assert [one.line.number for one in taken + more] == list(range(21))
    assert queue.lines == 21
    assert (gate.waiting, gate.due_at) == (0, None)


def test_a_lane_that_may_start_nothing_for_over_a_second_keeps_nothing_in_memory():
    gate, aside, queue = gate_of(Flow(tenant_rate=Rate(0.1, 1)), 2000)
    assert not put(gate, queue, 0)
    gate.take(Moment(100.0, 1000.0), 5)
    put(gate, queue, 1)
    gate.take(Moment(100.0, 1000.0), 5)
    assert [put(gate, queue, number) for number in range(2, 50)] == [True] * 48
    assert aside.count == 49, "and one that is looked at"


def test_what_comes_back_is_set_aside_again_where_there_is_no_more_memory():
    gate, aside, queue = gate_of(Flow(rate=Rate(0.5, 1), rate_key="n"))
    for number in range(10):
        put(gate, queue, number)
    assert (gate.waiting, gate.has_room) == (10, True)
    gate.put(enter(queue, pending(10)), 100.0)
    gate.put(enter(queue, pending(11)), 100.0, is_back=True)
    assert (gate.waiting, aside.count) == (11, 1)
    gate, aside, queue = gate_of(Flow(rate=Rate(0.5, 1)))
    for number in range(10):
        assert gate.has_room
        gate.put(enter(queue, pending(number)), 100.0, is_back=True)
    assert not gate.has_room, "all wait for the same"


def test_many_lanes_of_few_jobs_each_do_not_fill_the_memory():
    gate, aside, queue = gate_of(Flow(rate=Rate(0.001, 1), rate_key="n"))
    for number in range(50):
        assert not put(gate, queue, number)
        gate.take(Moment(100.0, 1000.0), 1)
    assert [put(gate, queue, number) for number in range(50)] == [True] * 50
    gate.take(Moment(100.0, 1000.0), 1)
    assert (gate.waiting, aside.count) == (0, 50)


@pytest.mark.parametrize(
    "flow, is_wanted",
    [
        (Flow(rate=Rate(1.0)), False),
        (Flow(trip=Trip(0.5, 30.0)), False),
        (Flow(budget=0.2), False),
        (Flow(tenant_rate=Rate(1.0)), True),
        (Flow(tenants={"x": Rate(1.0)}), True),
        (Flow(rate=Rate(1.0), rate_key="none"), True),
        (Flow(trip=Trip(0.5, 30.0), breaker_key="tenant"), True),
        (Flow(handlers={None: Rate(1.0)}), False),
    ],
)
def test_nothing_is_set_aside_where_all_wait_for_the_same(flow, is_wanted):
    gate, _, queue = gate_of(flow)
    assert any(put(gate, queue, number) for number in range(100)) == is_wanted
