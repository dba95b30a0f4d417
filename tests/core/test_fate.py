"""Laws of what a job comes to whose identity another run has settled."""

from __future__ import annotations

from jqcli.core.batch import Pending
from jqcli.core.codec import Scheme, read_line
from jqcli.core.effect import Bury, Double
from jqcli.core.fate import follow_remembered
from jqcli.model import First, Line

HELD = Line("a.jsonl", "a", 1, b'{"id":"b","key":"k","payload":1}')


def test_a_given_key_is_contradicted_by_another_payload_and_not_by_one_that_is_not_known():
    pending = Pending(HELD, read_line(HELD, Scheme()), 0, 0, 0, offset=-1)
    for known in (None, pending.job.payload_hash):
        assert isinstance(follow_remembered(pending, First("a", "completed", payload_hash=known)), Double)
    other = follow_remembered(pending, First("a", "completed", payload_hash=bytes(16)))
    assert isinstance(other, Bury)
    assert other.reason == "key_conflict"
