"""Laws of going on: identity counts, never the line number; every record settles one line."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from jqcli.core.prepare import mark_id
from jqcli.core.settled import STATUSES, Settled, claim_key

LIGHT = settings(max_examples=80, deadline=None, database=None)
KEY = b"k" * 16
OTHER = b"o" * 16
MADE = mark_id(b"")


def made(number):
    return b'"jobs:%d"' % number


def test_a_line_with_an_id_of_its_own_takes_only_a_record_with_its_identity_and_id():
    settled = Settled()
    settled.add(KEY, b'"a"', "completed", 0)
    settled.add(KEY, made(1), "completed", 10)
    assert settled.claim(OTHER, mark_id(b'"a"')) is None
    assert settled.claim(KEY, mark_id(b'"b"')) is None
    assert settled.claim(KEY, mark_id(b'"a"')) == "completed"
    assert settled.claim(KEY, mark_id(b'"a"')) is None


def test_a_line_whose_id_was_made_up_takes_any_record_whose_id_was_made_up_and_no_other():
    settled = Settled()
    settled.add(KEY, b'"a"', "completed", 0)
    settled.add(KEY, b"7", "completed", 5)
    settled.add(KEY, made(900), "skipped", 10)
    assert settled.claim(KEY, MADE) == "skipped"
    assert settled.claim(KEY, MADE) is None


def test_an_id_that_is_a_number_and_one_that_is_a_text_are_two():
    settled = Settled()
    settled.add(KEY, b"7", "completed", 0)
    assert settled.claim(KEY, mark_id(b'"7"')) is None
    assert settled.claim(KEY, mark_id(b"7")) == "completed"


@LIGHT
@given(
    st.lists(
        st.tuples(
            st.sampled_from([KEY, OTHER]),
            st.sampled_from([b'"a"', b'"b"', b"7", made(1), made(2)]),
            st.sampled_from(STATUSES),
        ),
        max_size=8,
    ),
    st.lists(st.tuples(st.sampled_from([KEY, OTHER]), st.sampled_from([b'"a"', b'"b"', b"7", b""])), max_size=10),
)
def test_every_record_is_claimed_once_at_most_and_by_a_line_that_it_fits(records, lines):
    settled = Settled()
    for offset, (key, text, status) in enumerate(records):
        settled.add(key, text, status, offset)
    left = list(records)
    for key, own in lines:
        fitting = [r for r in left if r[0] == key and (b":" in r[1] if own == b"" else r[1] == own)]
        status = settled.claim(key, mark_id(own))
        if not fitting:
            assert status is None
        else:
            assert status == fitting[0][2]
            left.remove(fitting[0])
    assert settled.count == len(records)


@LIGHT
@given(st.lists(st.tuples(st.sampled_from(STATUSES), st.integers(0, 2**60)), min_size=1, max_size=5))
def test_an_identity_is_done_where_it_completed_or_was_skipped_whatever_was_claimed(records):
    settled = Settled()
    for number, (status, offset) in enumerate(records):
        settled.add(KEY, made(number), status, offset)
    done = [offset for status, offset in records if status in ("completed", "skipped")]
    expected = done[0] if done else None
    assert settled.done_at(KEY) == expected
    assert [settled.claim(KEY, MADE) for _ in records] == [status for status, _ in records]
    assert settled.done_at(KEY) == expected
    assert settled.done_at(OTHER) is None


def test_the_letter_of_a_redriven_job_supersedes_the_earlier_one():
    settled = Settled()
    settled.add(KEY, b'"a"', "dead", 0)
    settled.add_redriven(KEY, b'"a"', "dead", 50)
    assert settled.count == 1
    assert settled.claim(KEY, mark_id(b'"a"')) == "dead"
    assert settled.claim(KEY, mark_id(b'"a"')) is None


def test_letters_of_two_jobs_settle_two_lines():
    settled = Settled()
    settled.add(KEY, made(1), "dead", 0)
    settled.add(KEY, made(2), "dead", 50)
    settled.add(OTHER, made(1), "dead", 90)
    assert [settled.claim(KEY, MADE) for _ in range(3)] == ["dead", "dead", None]


def test_a_letter_beside_a_result_of_the_same_id_is_a_record_of_its_own():
    settled = Settled()
    settled.add(KEY, b'"a"', "completed", 0)
    settled.add(KEY, b'"a"', "dead", 50)
    assert settled.count == 2


def test_a_record_of_a_given_key_settles_only_its_own_payload():
    one, other = b"1" * 16, b"2" * 16
    settled = Settled()
    settled.add(claim_key(KEY, one), b'"a"', "completed", 0)
    assert settled.claim(claim_key(KEY, other), mark_id(b'"a"')) is None
    assert settled.claim(claim_key(KEY, None), mark_id(b'"a"')) is None
    assert settled.claim(claim_key(KEY, one), mark_id(b'"a"')) == "completed"


def test_claiming_costs_the_same_however_many_records_an_identity_has():
    settled = Settled()
    for number in range(20_000):  # a scan from the start for each would take minutes
        settled.add(KEY, made(number), "duplicate" if number else "completed", number)
    assert [settled.claim(KEY, MADE) for _ in range(20_001)] == ["completed", *["duplicate"] * 19_999, None]


@LIGHT
@given(
    st.lists(st.tuples(st.sampled_from([KEY, OTHER]), st.sampled_from([b'"a"', b"7", made(1), made(2)])), max_size=6),
    st.lists(st.tuples(st.sampled_from([KEY, OTHER]), st.sampled_from([b'"a"', b'"b"', b"7", b""])), max_size=8),
)
def test_taking_many_records_at_once_is_claiming_them_one_by_one(records, lines):
    one, many = Settled(), Settled()
    for offset, (key, text) in enumerate(records):
        one.add(key, text, "completed", offset)
        many.add(key, text, "completed", offset)
    expected = [index for index, (key, own) in enumerate(lines) if one.claim(key, mark_id(own)) is None]
    marks = b"".join(mark_id(own) for _, own in lines)
    assert many.take_all([key for key, _ in lines], marks) == expected
    left = sum(len(others) for _, others in many.split_left())
    assert left == len(records) - (len(lines) - len(expected))


def test_records_of_a_block_are_looked_for_where_they_stand():
    settled = Settled()
    settled.add_all([KEY, OTHER, KEY], [b'"a"', b"7", made(1)], [b"completed", b"skipped", b"duplicate"], 40, 1)
    left = [kept for _, others in settled.split_left() for kept in others]
    assert sorted((kept.offset, kept.status) for kept in left) == [
        (40, "completed"), (41, "skipped"), (42, "duplicate"),
    ]  # fmt: skip
