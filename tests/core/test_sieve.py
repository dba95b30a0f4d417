"""The sieve loses nothing, and lets little through that is not in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqcli.core.codec import hash_bytes
from jqcli.core.recall import split_keys
from jqcli.core.sieve import Sieve

KEYS = st.lists(st.binary(min_size=16, max_size=16), max_size=50).map(b"".join)


@given(KEYS, KEYS)
def test_what_is_in_always_passes(inside, outside):
    sieve = Sieve.for_count(100)
    sieve.add(inside)
    assert set(split_keys(inside)) <= set(split_keys(sieve.sift(outside + inside)))


@pytest.mark.parametrize("count, one_in", [(1 << 17, 700), (1 << 16, 12_000)], ids=["full", "half full"])
def test_of_what_is_not_in_very_few_pass(count, one_in):
    sieve = Sieve.for_count(1 << 17)
    sieve.add(b"".join(hash_bytes(b"in%d" % n) for n in range(count)))
    assert sieve.is_large_enough(1 << 17)
    assert not sieve.is_large_enough((1 << 17) + 1)
    passed = sieve.sift(b"".join(hash_bytes(b"out%d" % n) for n in range(60_000)))
    assert len(passed) // 16 < 60_000 / one_in * 1.6


def test_it_is_as_large_as_its_keys_want():
    assert [len(Sieve.for_count(n).bits) for n in (1, 1 << 20, (1 << 20) + 1)] == [1 << 17, 1 << 21, 1 << 22]
