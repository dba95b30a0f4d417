"""Laws of the rulings: once per identity, in input order, and the fast way says what the slow one says."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jqcli.core.dedupe import Finding, Identities
from jqcli.core.event import Answer
from jqcli.core.prepare import mark_id
from jqcli.core.settled import Settled, claim_key

LIGHT = settings(max_examples=100, deadline=None, database=None)
NO_HASH = bytes(16)


def key(letter):
    return letter.encode() * 16


def answer(number, letters, *, hashes=(), ids=(), notes=()):
    return Answer(
        number,
        b"".join(map(key, letters)),
        b"".join(hashes),
        b"".join(mark_id(text) for text in ids),
        list(notes),
    )


def order_of(ruling, lines):
    return list(range(lines)) if ruling.order is None else list(ruling.order)


def owners(identities):
    """Return which batch took which identity, and at which index, asking only for those that are taken."""
    return {letter: identities.taken.find(key(letter)) for letter in "abcdef" if key(letter) in identities.taken}


def kinds(ruling):
    return {finding.index: finding.kind for finding in ruling.findings}


def passed(ruling):
    """Return the lines that need no record, and how many of them there are by status; each has exactly one."""
    assert sum(ruling.statuses.values()) == len(ruling.passed)
    assert all(ruling.statuses.values())
    return ruling.passed, ruling.statuses


@LIGHT
@given(st.lists(st.text("abcdef", min_size=0, max_size=5), max_size=8), st.booleans())
def test_the_fast_way_rules_as_the_slow_one(batches, dedupe):
    quick, slow = Identities(Settled(), dedupe=dedupe), Identities(Settled(), dedupe=dedupe)
    for number, letters in enumerate(batches):
        fast = quick.rule(number, answer(number, letters))
        each = slow.rule_each(number, answer(number, letters))
        assert order_of(fast, len(letters)) == order_of(each, len(letters))
        assert fast[1:] == each[1:]
        assert owners(quick) == owners(slow)


@LIGHT
@given(st.lists(st.text("abcdef", min_size=1, max_size=6), max_size=8))
def test_the_first_line_of_an_identity_runs_and_every_later_one_is_a_duplicate(batches):
    identities = Identities(Settled(), dedupe=True)
    seen: set[str] = set()
    for number, letters in enumerate(batches):
        ruling = identities.rule(number, answer(number, letters))
        expected = [at for at, letter in enumerate(letters) if letter not in seen and letter not in letters[:at]]
        assert order_of(ruling, len(letters)) == expected
        assert kinds(ruling) == {at: "duplicate" for at in range(len(letters)) if at not in expected}
        seen.update(letters)


def test_an_identity_belongs_to_the_line_that_took_it():
    identities = Identities(Settled(), dedupe=True)
    identities.rule(4, answer(4, "ab"))
    identities.rule(5, answer(5, "bc"))
    assert owners(identities) == {"a": (4, 0), "b": (4, 1), "c": (5, 1)}


def test_with_dedupe_off_everything_usable_runs_and_nothing_is_remembered():
    identities = Identities(Settled(), dedupe=False)
    notes = [(1, {"blank": True}), (2, {"reason": "invalid_json", "message": "m"})]
    ruling = identities.rule(1, answer(1, "aaaa", notes=notes))
    assert order_of(ruling, 4) == [0, 3]
    assert kinds(ruling) == {2: "unusable"}
    assert passed(ruling) == ([1], {None: 1})
    assert owners(identities) == {}
    assert identities.rule(2, answer(2, "aa")).order is None


def test_an_unusable_line_is_never_a_duplicate_and_takes_no_identity():
    identities = Identities(Settled(), dedupe=True)
    note = {"reason": "invalid_json", "message": "m"}
    ruling = identities.rule(1, answer(1, "aab", notes=[(0, note), (1, note)]))
    assert ruling.findings == [Finding(0, "unusable", note), Finding(1, "unusable", note)]
    assert list(ruling.order) == [2]
    assert owners(identities) == {"b": (1, 2)}


def test_a_line_that_asks_for_something_runs_and_says_so():
    identities = Identities(Settled(), dedupe=True)
    ruling = identities.rule(1, answer(1, "ab", notes=[(1, {"asks": {"timeout": 2.0}})]))
    assert ruling.order is None
    assert ruling.findings == [Finding(1, "asks", {"timeout": 2.0})]
    again = identities.rule(2, answer(2, "b", notes=[(0, {"asks": {"timeout": 2.0}})]))
    assert (list(again.order), kinds(again)) == ([], {0: "duplicate"})


def test_a_given_key_with_another_payload_conflicts_with_the_first_in_input_order():
    identities = Identities(Settled(), dedupe=True)
    first = identities.rule(1, answer(1, "aaa", hashes=[b"1" * 16, b"2" * 16, b"1" * 16]))
    assert (list(first.order), kinds(first)) == ([0], {1: "conflict", 2: "duplicate"})
    later = identities.rule(2, answer(2, "ab", hashes=[b"2" * 16, NO_HASH]))
    assert (list(later.order), kinds(later)) == ([1], {0: "conflict"})


def test_what_this_run_has_taken_is_its_own_whatever_other_runs_have():
    identities = Identities(Settled(), dedupe=True)
    identities.rule(1, answer(1, "a"))
    ruling = identities.rule_each(2, answer(2, "ab"), {key("a"): "elsewhere", key("b"): "elsewhere"})
    assert kinds(ruling) == {0: "duplicate", 1: "elsewhere"}


def test_a_settled_line_is_passed_and_its_identity_does_not_run_again():
    settled = Settled()
    settled.add(key("a"), b'"jobs:1"', "completed", 33)
    identities = Identities(settled, dedupe=True)
    ruling = identities.rule(1, answer(1, "aab", ids=[b"", b"", b""]))
    assert passed(ruling) == ([0], {"completed": 1})
    assert ruling.findings == [Finding(1, "duplicate")]
    assert (list(ruling.order), ruling.dead) == ([2], [])


def test_a_line_that_is_new_before_the_settled_one_is_its_duplicate():
    settled = Settled()
    settled.add(key("a"), b'"own"', "completed", 33)
    identities = Identities(settled, dedupe=True)
    ruling = identities.rule(1, answer(1, "aa", ids=[b'"new"', b'"own"']))
    assert passed(ruling) == ([1], {"completed": 1})
    assert ruling.findings == [Finding(0, "duplicate")]
    assert list(ruling.order) == []


def test_with_dedupe_off_each_record_settles_one_line_and_the_others_run():
    settled = Settled()
    settled.add(key("a"), b'"jobs:1"', "completed", 33)
    ruling = Identities(settled, dedupe=False).rule(1, answer(1, "aaa", ids=[b"", b"", b""]))
    assert (list(ruling.order), kinds(ruling)) == ([1, 2], {})
    assert passed(ruling) == ([0], {"completed": 1})


def test_a_settled_dead_job_makes_later_lines_of_its_identity_duplicates():
    settled = Settled()
    settled.add(key("a"), b'"jobs:1"', "dead", 33)
    ruling = Identities(settled, dedupe=True).rule(1, answer(1, "aa", ids=[b"", b""]))
    assert (list(ruling.order), kinds(ruling)) == ([], {1: "duplicate"})
    assert passed(ruling) == ([0], {"dead": 1})
    assert ruling.dead == [key("a")]


def test_a_settled_unusable_line_is_passed():
    settled = Settled()
    settled.add(key("a"), b'"jobs:1"', "dead", 33)
    note = {"reason": "invalid_json", "message": "m"}
    ruling = Identities(settled, dedupe=True).rule(1, answer(1, "aa", ids=[b"", b""], notes=[(0, note), (1, note)]))
    assert kinds(ruling) == {1: "unusable"}
    assert passed(ruling) == ([0], {"dead": 1})
    assert (list(ruling.order), ruling.dead) == ([], []), "a line that is no job lends its fate to nobody"


@pytest.mark.parametrize("dedupe", [True, False])
def test_blank_and_settled_lines_are_counted_together_by_status_in_their_order(dedupe):
    settled = Settled()
    for letter, status in zip("abc", ("completed", "dead", "completed"), strict=True):
        settled.add(key(letter), b'"jobs:1"', status, 33)
    notes = [(0, {"blank": True}), (3, {"blank": True})]
    ruling = Identities(settled, dedupe=dedupe).rule(1, answer(1, "xabycd", ids=[b""] * 6, notes=notes))
    assert passed(ruling) == ([0, 1, 2, 3, 4], {None: 2, "completed": 2, "dead": 1})
    assert (list(ruling.order), kinds(ruling), ruling.dead) == ([5], {}, [key("b")])


@pytest.mark.parametrize("status", ["completed", "dead"])
def test_the_owner_of_a_given_key_stays_the_owner_in_a_later_run(status):
    one, two = b"1" * 16, b"2" * 16
    settled = Settled()
    if status == "completed":
        settled.owners[key("a")] = one
        settled.add(claim_key(key("a"), one), b'"x"', status, 0)
    else:
        settled.add(claim_key(key("a"), one), b'"x"', status, 0)
    settled.add(claim_key(key("a"), two), b'"y"', "conflict", 9)
    ruling = Identities(settled, dedupe=True).rule(
        1, answer(1, "aaaa", hashes=[one, two, two, one], ids=[b'"x"', b'"y"', b'"z"', b'"w"'])
    )
    assert kinds(ruling) == {2: "conflict", 3: "duplicate"}
    assert passed(ruling) == ([0, 1], {status: 1, "conflict": 1})
    assert list(ruling.order) == []
    assert ruling.dead == ([key("a")] if status == "dead" else [])


@pytest.mark.parametrize("hashes", [[b"2" * 16, b"1" * 16, b"2" * 16], []])
def test_a_settled_dead_job_takes_nothing_from_the_one_that_runs_before_it(hashes):
    """The owner is the first in input order: with a given key of another payload, or the payload of the dead one."""
    settled = Settled()
    settled.add(claim_key(key("a"), b"1" * 16) if hashes else key("a"), b'"old"', "dead", 0)
    identities = Identities(settled, dedupe=True)
    ruling = identities.rule(1, answer(1, "aaa", hashes=hashes, ids=[b'"new"', b'"old"', b'"newer"']))
    assert list(ruling.order) == [0]
    assert passed(ruling) == ([1], {"dead": 1})
    assert kinds(ruling) == {2: "duplicate"}
    assert ruling.dead == []
    assert owners(identities) == {"a": (1, 0)}


def test_a_conflicts_letter_makes_nobody_an_owner():
    one, two = b"1" * 16, b"2" * 16
    settled = Settled()
    settled.add(claim_key(key("a"), two), b'"y"', "conflict", 9)
    ruling = Identities(settled, dedupe=True).rule(1, answer(1, "aa", hashes=[two, one], ids=[b'"y"', b'"x"']))
    assert (list(ruling.order), kinds(ruling)) == ([1], {})
    assert passed(ruling) == ([0], {"conflict": 1})
    assert ruling.dead == []


def test_orders_travel_as_unsigned_integers_of_32_bits():
    ruling = Identities(Settled(), dedupe=True).rule(1, answer(1, "aa"))
    assert isinstance(ruling.order, array)
    assert (ruling.order.typecode, ruling.order.itemsize) == ("I", 4)
