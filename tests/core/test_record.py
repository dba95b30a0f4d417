"""Laws of duplicates' records, as DESIGN section 4 has them, and of reading all records again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jqcli.core.record import duplicate_record, is_broken, parse_letter, parse_result, read_first, status_of, timestamp
from jqcli.model import First
from tests.lines import job_of, written

LIGHT = settings(max_examples=60, deadline=None, database=None)


@pytest.mark.parametrize(
    "record, status",
    [
        (
            b'{"id":"\\"status\\":\\"dead\\"","key":"5f01ab:00","status":"skipped","reason":"\\"status\\":\\"dead"}',
            "skipped",
        ),
        (b'{"id":1,"key":"5f01ab:00","status":"completed","result":{"status":"skipped"}}', "completed"),
        (b"\xff garbage", ""),
        (b'"status":"\xff"', "\ufffd"),
    ],
)
def test_the_status_of_a_record_is_its_own_and_whatever_bytes_raise_nothing(record, status):
    assert status_of(record) == status


@pytest.mark.parametrize("at", [0.0, 0.9996, 1767225600.123456, 4102444800.0])
def test_moments_are_rfc_3339_in_utc(at):
    assert timestamp(at).endswith("Z")
    assert len(timestamp(at)) == len("1970-01-01T00:00:00.000Z")


def test_a_moment_is_cut_to_milliseconds_and_not_rounded_up():
    assert timestamp(0.9996) == "1970-01-01T00:00:00.999Z"
    assert timestamp(0.9999999) == "1970-01-01T00:00:01.000Z", "a float's own error is none"


def test_a_letter_without_the_line_that_died_is_none():
    begin = b'{"id":"a","key":"5f01ab:=k","reason":"rejected"'
    assert parse_letter(begin + b"}") is None
    assert parse_letter(begin + b',"job":1}') is not None


# Duplicates


def test_a_duplicate_has_the_members_of_the_design_in_their_order():
    found = written(
        duplicate_record("5f01ab", job_of('{"id":"job-9","payload":1}'), First("job-7", "completed", b'{"ok":true}'))
    )
    assert list(found) == ["id", "key", "status", "duplicate_of", "result"]
    assert found | {"key": ""} == {
        "id": "job-9",
        "key": "",
        "status": "duplicate",
        "duplicate_of": "job-7",
        "result": {"ok": True},
    }


def test_a_duplicate_of_a_skipped_job_has_no_result():
    assert "result" not in written(duplicate_record("5f01ab", job_of("1"), First("a", "skipped")))
    assert written(duplicate_record("5f01ab", job_of("1"), First(None, "completed")))["duplicate_of"] is None


def test_a_duplicate_of_a_given_key_carries_its_payload_hash():
    found = written(duplicate_record("5f01ab", job_of('{"payload":1,"key":"k"}'), First("a", "completed", b"1")))
    assert list(found) == ["id", "key", "payload_hash", "status", "duplicate_of", "result"]


@pytest.mark.parametrize(
    "result",
    [b"1.0", b"123456789012345678901", b'{"b":1,"a":1e0}', b'"\xc3\xa9"', b"[" * 900 + b"]" * 900, b"null"],
)
def test_a_duplicates_result_is_the_firsts_byte_for_byte(result):
    record = duplicate_record("5f01ab", job_of("1"), First("a", "completed", result))
    assert record.endswith(b',"result":' + result + b"}\n")


# Reading again


def completed(own_id, result, key=b"5f01ab:00"):
    return b'{"id":%b,"key":"%b","status":"completed","result":%b,"attempts":2,"duration":0.031000}\n' % (
        own_id,
        key,
        result,
    )


@pytest.mark.parametrize(
    "result",
    [
        b'{"ok":true}', b"null", b"1.0", b"123456789012345678901",
        b'","status":"completed","result":'.join([b'"a', b'b"']).replace(b'"', b'\\"').join([b'"', b'"']),
        b'{"attempts":3,"duration":0.1}', b'{"x":1,"attempts":5,"duration":0.1}', b'[{"a":1,"attempts":5}]',
        b'{"status":"skipped","result":{"k":"v","status":"completed","result":7,"attempts":1},"attempts":9}',
        b'"x,\\"attempts\\":1"',
    ],
)  # fmt: skip
@pytest.mark.parametrize("own_id", [b'"a"', b"7", b'"\\",\\"status\\":\\"completed\\",\\"result\\":1"'])
@pytest.mark.parametrize("key", [b"5f01ab:00", b'5f01ab:=k","payload_hash":"00'])
def test_a_result_is_taken_verbatim_even_where_it_holds_text_that_looks_like_a_record(own_id, result, key):
    first = read_first(completed(own_id, result, key))
    assert (first.id, first.status, first.result) == (json.loads(own_id), "completed", result)


def test_a_skipped_record_gives_a_first_without_result():
    record = b'{"id":"a","key":"5f01ab:00","status":"skipped","reason":"x","attempts":1,"duration":0.001000}\n'
    assert read_first(record) == First("a", "skipped")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[1]",
        b'{"id":"a"}',
        b'{"id":"a","key":7,"status":"completed"}',
        b'{"id":"a","key":"5f01ab","status":"completed"}',
        b'{"id":"a","key":"5f01ab:zz","status":"completed"}',
        b'{"id":"a","key":"5f01a:=k","status":"completed"}',
        b'{"id":"a","key":"5f01ab:=k","payload_hash":7,"status":"completed"}',
        b'{"id":"a","key":"5f01ab:=k","payload_hash":"no","status":"completed"}',
        b'{"key":"5f01ab:=k","status":"completed"}',
        b'{"id":"a","key":"5f01ab:=k","status":"running"}',
        b'{"id":"a","key":"5f01ab:=k","status":"completed"}{}',
    ],
)
def test_what_only_looks_like_a_record_is_none_and_raises_nothing(line):
    assert parse_result(line) is None
    assert parse_letter(line.replace(b'"status":', b'"reason":7,"status":')) is None


@LIGHT
@given(st.binary(max_size=60))
def test_no_bytes_at_all_upset_the_reading_of_records(data):
    for line in (
        data,
        b'{"id":"a","key":"5f01ab:' + data,
        b'{"id":' + data + b',"key":"5f01ab:=k","status":"skipped"}',
    ):
        assert parse_letter(line) is None
        found = parse_result(line)
        assert found is None or found.tag == "5f01ab"
        assert is_broken(line) in (True, False)


def test_a_line_in_which_a_writer_was_cut_off_is_broken_also_where_another_record_follows_on_it():
    whole = b'{"id":"a","key":"5f01ab:=k","status":"completed"}'
    assert all(is_broken(whole[:length] + rest) for length in range(7, len(whole)) for rest in (b"", whole))
    assert not is_broken(whole)
