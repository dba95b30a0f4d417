"""Laws of the turns: a lane that is shut comes back at its moment, or when its breaker wakes it."""

from __future__ import annotations

from math import inf

from jqcli.core.breaker import Breaker, Trip
from jqcli.core.lane import LaneKey
from jqcli.core.rota import Rota


def test_lanes_that_wait_for_a_breaker_are_woken_and_the_others_keep_their_moments():
    breakers = {"down": Breaker(Trip(0.5, 10.0)), None: None}
    rota = Rota(breakers.get)
    lanes = {}
    for name, breaker, moment in (("a", "down", 1.0), ("b", None, 5.0), ("c", None, 2.0), ("d", "down", 9.0)):
        lanes[name] = rota.of(LaneKey((("tenant", name),), breaker))
        rota.shut(moment)
    assert (rota.is_idle, rota.opens_at) == (True, 1.0)
    rota.wake(breakers["down"])
    assert [lanes[name].shut_until for name in "abcd"] == [-inf, 5.0, 2.0, -inf]
    assert (rota.is_idle, rota.opens_at) == (False, 2.0)
    rota.open(4.0)
    assert (lanes["c"].shut_until, rota.opens_at) == (-inf, 5.0)
