"""What is seen of a run at one moment."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from jqcli.core.tally import FlowState, Tally
from jqcli.view import View


def eta(delayed, *, read=1000, completed=600, ended=True, limit=None, elapsed=60.0):
    """Return the ETA of a run that has read all of its input, or half of it where that is not `ended`."""
    dispatch = SimpleNamespace(
        waiting=delayed, in_flight=0, unruled=0, is_empty=False, label=None,
        flow_state=lambda _: FlowState(delayed=delayed),
    )  # fmt: skip
    source = SimpleNamespace(bytes_total=10_000, bytes_read=10_000 if ended else 5_000, ended=ended)
    engine = SimpleNamespace(rows=lambda *_: [])
    view = View(source, engine, dispatch, Tally(read=read, completed=completed), 0.0, limit)
    return view.take(elapsed, "running").eta


def test_the_eta_is_at_the_pace_of_the_run():
    assert eta(0) == pytest.approx(40.0)
    assert eta(0, ended=False) == pytest.approx(140.0)


@pytest.mark.parametrize("delayed, expected", [(400, 40.0), (200, 20.0), (10, 39.0)])
def test_at_the_end_of_the_input_the_rest_drains_at_the_floor_beside_what_else_is_left(delayed, expected):
    """Ten retries a second, however fast or slow the run was before they were all that is left."""
    assert eta(delayed) == pytest.approx(expected)
    if delayed == 400:
        for elapsed in (1.0, 6000.0):
            assert eta(delayed, elapsed=elapsed) == pytest.approx(expected)
        assert eta(delayed, ended=False, limit=1000, elapsed=1.0) == pytest.approx(expected)
        assert eta(delayed, completed=0, read=400) == pytest.approx(expected)


def test_before_the_end_of_the_input_retries_have_their_share_of_the_pace():
    assert eta(400, ended=False) == pytest.approx(140.0)
