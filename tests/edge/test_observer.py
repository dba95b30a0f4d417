"""Laws of those who look on: each has its turn after its own interval, and not before."""

from __future__ import annotations

from jqcli.edge.observer import Observers


class Watcher:
    def __init__(self, interval):
        self.interval = interval
        self.seen = []

    def update(self, snapshot):
        self.seen.append(snapshot)


def test_each_sees_a_moment_after_its_own_interval_and_not_before():
    quick, slow = Watcher(1.0), Watcher(5.0)
    observers = Observers(quick, [slow], [], None)
    for now in range(10, 21):
        observers.update(now, float(now))
        observers.update(now, now + 0.5)
    assert quick.seen == list(range(10, 21))
    assert slow.seen == [10, 15, 20]
    assert observers.due_at == 21.0
