"""Laws of jobs that wait for a moment."""

from __future__ import annotations

import json

import pytest

from jqcli.core.aside import Aside, Room
from jqcli.core.batch import Pending
from jqcli.core.codec import Scheme, read_line
from jqcli.core.later import Later
from jqcli.core.queue import Queue
from jqcli.core.taken import Taken
from jqcli.model import Line
from tests.scratch import MemoryScratch

NOW = 100.0


def make():
    queue = Queue(Scheme(), Taken())
    aside = Aside(queue, Room(MemoryScratch(), lambda *_: b"", 1000, 1 << 30))
    return Later(aside), queue


def enter(queue, number, **asks):
    line = Line("in.jsonl", "in", number, json.dumps({"payload": number, **asks}).encode())
    one = Pending(line, read_line(line, Scheme()), 0, 0, number)
    queue.enter(one)
    return one


@pytest.mark.parametrize("due_at", [1e30, 1e300, 1e308, float("inf")])
def test_a_moment_may_be_as_far_as_numbers_go(due_at):
    later, queue = make()
    later.wait(enter(queue, 1), due_at, NOW, is_retry=False)
    assert later.due_at >= due_at
    assert later.wake(1e9) == []
