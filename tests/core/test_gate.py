"""Laws of what a gate tells of its jobs, and takes back; what it lets through stands in tests/test_flow.py."""

from __future__ import annotations

import json

from jqcli.core.aside import Aside, Room
from jqcli.core.batch import Pending
from jqcli.core.breaker import LEAST_CALLS, Trip
from jqcli.core.codec import Scheme, read_line
from jqcli.core.gate import Gate
from jqcli.core.lane import Flow
from jqcli.core.limit import Rate
from jqcli.core.queue import Queue
from jqcli.core.retry import Again
from jqcli.core.rules import Moment
from jqcli.core.taken import Taken
from jqcli.model import Failure, Line
from tests.scratch import MemoryScratch

DOWN = Failure("error", "mine.DownError", "m", "", ("mine.DownError",), 0.01)
BY_NUMBER = Flow(Rate(1e6, 1e6), rate_key="n", trip=Trip(0.5, 30.0), breaker_key="tenant")


class Row:
    """A gate with its clock; each job has a number of its own."""

    def __init__(self, flow):
        self.queue = Queue(Scheme(), Taken())
        self.gate = Gate(flow, Aside(self.queue, Room(MemoryScratch(), lambda *_: b"", 1000, 1 << 30)))
        self.now = 100.0
        self.count = 0

    def put(self, count):
        for _ in range(count):
            self.count += 1
            line = Line("a.jsonl", "a", self.count, json.dumps({"payload": {"n": self.count}, "tenant": "t"}).encode())
            one = Pending(line, read_line(line, Scheme()), 0, 0, self.count, offset=-1)
            self.queue.enter(one)
            self.gate.put(one, self.now)

    def take(self, most=1000):
        return self.gate.take(Moment(self.now, 1000.0), most)[0]

    def trip(self):
        """Let as many jobs fail as it takes."""
        self.put(LEAST_CALLS)
        for one in self.take():
            self.gate.charges(one, DOWN, Again(1.0), self.now)


def test_what_a_breaker_holds_is_counted_over_all_lanes_of_its_key():
    row = Row(BY_NUMBER)
    row.trip()
    row.put(3)
    state = row.gate.state(row.now)
    assert (state.parked, state.open, state.trips, state.throttled) == (3, 1, 1, 0)
    assert [(key.key, key.jobs) for key in state.keys] == [("t", 3)]


def test_a_probe_that_is_given_back_is_followed_by_another():
    row = Row(BY_NUMBER)
    row.trip()
    row.put(2)
    assert row.take() == []
    row.now += 31.0
    (probe,) = row.take()
    assert probe.is_probe
    row.gate.give_back([probe])
    (again,) = row.take()
    assert again.is_probe
