"""Laws of the look-up of first jobs: the nearest record, and what is remembered of it has a bound."""

from __future__ import annotations

from jqcli import finder
from jqcli.core.cache import Cache
from jqcli.core.settled import Settled
from jqcli.finder import Finder
from jqcli.model import NO_ASKS, First, Job


class Results:
    """Holds a record for every key, and counts the readings."""

    def __init__(self, result):
        self.result = result
        self.reads = 0

    def find(self, _batch, _share, key_text):
        self.reads += 1
        return self.result and First(key_text, "completed", self.result)


def job(number):
    return Job(None, "x", has_own_id=True, key=bytes(16), key_text=str(number), payload_hash=None, asks=NO_ASKS)


def make(result):
    results = Results(result)
    return results, Finder("5f01ab", results, Settled(), None, Cache(0), None)


def test_a_small_record_is_read_once_for_many_duplicates():
    results, found = make(b"1")
    assert {found.find((1, 0.5), job(7)) for _ in range(9)} == {First("5f01ab:7", "completed", b"1")}
    assert results.reads == 1
    assert found.find((1, 0.5), job(8)).id == "5f01ab:8"


def test_a_large_record_is_not_kept_and_the_small_ones_have_a_bound():
    results, found = make(b"x" * 5000)
    found.find((1, 0.5), job(7))
    found.find((1, 0.5), job(7))
    assert (results.reads, found._found) == (2, {})
    results, found = make(b"1")
    for number in range(5000):
        found.find((1, 0.5), job(number))
    assert len(found._found) <= finder._MOST_KEPT


def test_what_is_not_found_is_looked_for_again():
    results, found = make(None)
    assert found.find((1, 0.5), job(7)) is None
    results.result = b"1"
    assert found.find((1, 0.5), job(7)).result == b"1"
