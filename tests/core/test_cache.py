"""The result cache: bounded in bytes, the least recently asked for goes first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jqcli.core.cache import Cache
from jqcli.model import First


def first(size):
    return First("a", "completed", b"x" * size)


def test_what_was_asked_for_last_stays():
    cache = Cache(2 * 500)
    cache.put(b"a", first(100), 9.0)
    cache.put(b"b", first(100), 9.0)
    assert cache.get(b"a", 0.0)
    cache.put(b"c", first(100), 9.0)
    assert cache.get(b"b", 0.0) is None
    assert cache.get(b"a", 0.0)


def test_what_is_over_is_not_given_and_makes_room():
    cache = Cache(500)
    cache.put(b"a", first(100), 9.0)
    assert cache.get(b"a", 8.9)
    assert cache.get(b"a", 9.0) is None
    cache.put(b"b", first(100), 99.0)
    assert cache.get(b"b", 9.0)


def test_a_size_of_nothing_keeps_nothing():
    cache = Cache(0)
    cache.put(b"a", first(0), 9.0)
    assert cache.get(b"a", 0.0) is None


def test_what_is_larger_than_the_cache_is_not_kept():
    cache = Cache(1000)
    cache.put(b"a", first(10_000), 9.0)
    assert cache.get(b"a", 0.0) is None
    cache.put(b"b", first(10), 9.0)
    assert cache.get(b"b", 0.0)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 900)), max_size=50), st.integers(0, 4000))
def test_it_is_never_larger_than_asked_and_says_what_was_put_last(puts, size):
    cache = Cache(size)
    last = {}
    for letter, octets in puts:
        cache.put(letter.encode(), first(octets), 9.0)
        last[letter] = octets
    kept = {letter: cache.get(letter.encode(), 0.0) for letter in last}
    assert sum(400 + len(one.result) for one in kept.values() if one) <= size
    assert all(len(one.result) == last[letter] for letter, one in kept.items() if one)
