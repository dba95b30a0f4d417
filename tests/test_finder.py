"""Laws of the look-up of first jobs: memory, else the results, else the store; and what is kept of them has a bound."""

from __future__ import annotations

import pytest

from jqcli.core.cache import Cache
from jqcli.core.settled import Settled
from jqcli.finder import Finder
from jqcli.model import NO_ASKS, First, Job

SPOT = (1, 0.5)


class Results:
    """Holds a record for every key, and counts the readings."""

    def __init__(self, result):
        self.result = result
        self.reads = 0

    def find(self, _batch, _share, key_text):
        self.reads += 1
        return self.result and First(key_text, "completed", self.result)


class Claimer:
    """Holds what another run did of every key, until a moment, and counts the readings."""

    def __init__(self, until):
        self.until = until
        self.reads = 0

    def find(self, _spot, job):
        self.reads += 1
        return First(job.key_text, "completed", b"of the store"), self.until


def job(number):
    key = number.to_bytes(16)
    return Job(None, "x", has_own_id=True, key=key, key_text=str(number), payload_hash=None, asks=NO_ASKS)


def make(result, size, claimer=None):
    results = Results(result)
    return results, Finder("5f01ab", results, Settled(), None, Cache(size), claimer)


def test_a_record_is_read_once_for_many_duplicates():
    results, found = make(b"1", 10_000)
    assert {found.find(SPOT, job(7)) for _ in range(9)} == {First("5f01ab:7", "completed", b"1")}
    assert results.reads == 1
    assert found.find(SPOT, job(8)).id == "5f01ab:8"


def test_without_a_cache_each_duplicate_is_looked_for_and_found():
    results, found = make(b"1", 0)
    assert {found.find(SPOT, job(7)) for _ in range(9)} == {First("5f01ab:7", "completed", b"1")}
    assert results.reads == 9


def test_what_was_not_asked_for_the_longest_is_read_again_when_the_cache_is_full():
    results, found = make(b"x" * 5000, 12_000)  # two of them
    for number in (1, 2, 1, 3, 1):
        found.find(SPOT, job(number))
    assert results.reads == 3
    found.find(SPOT, job(2))
    assert results.reads == 4


def test_what_is_not_found_is_looked_for_again():
    results, found = make(None, 10_000)
    assert found.find(SPOT, job(7)) is None
    results.result = b"1"
    assert found.find(SPOT, job(7)).result == b"1"


@pytest.mark.parametrize("result, reads", [(b"1", 0), (None, 1)])
def test_the_store_is_asked_where_the_results_have_none(result, reads):
    claimer = Claimer(until=1e12)
    results, found = make(result, 10_000, claimer)
    for _ in range(5):
        assert found.find(SPOT, job(7)).result == (result or b"of the store")
    assert (results.reads, claimer.reads) == (1, reads)


def test_what_the_store_said_is_kept_only_while_it_is_fresh(monkeypatch):
    claimer = Claimer(until=1000.0)
    _, found = make(None, 10_000, claimer)
    for now in (900.0, 999.9, 1000.0, 1001.0):
        monkeypatch.setattr("jqcli.finder.time.time", lambda now=now: now)
        found.find(None, job(7))
    assert claimer.reads == 3
