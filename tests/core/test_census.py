"""Laws of a census: nobody is lost in it, and it names no more than it has room for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jqcli.core.census import REST, Census

FOUND = st.lists(
    st.tuples(st.tuples(st.sampled_from(["tenant", "rate"]), st.none() | st.text(max_size=2)), st.integers(0, 9)),
    max_size=30,
)


@given(st.lists(FOUND, max_size=5))
def test_all_are_counted_and_a_name_once_given_stays(rounds):
    census, before = Census(named=3), []
    for found in rounds:
        shares = census.count(found)
        assert sum(share.count for share in shares) == sum(count for _, count in found)
        named = [(share.kind, share.name) for share in shares if share.kind != REST]
        assert len(named) <= 3
        assert named[: len(before)] == before
        before = named
