"""Laws of the records that the parent writes, as DESIGN section 4 has them."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jqcli.core.codec import Scheme, read_line
from jqcli.core.effect import Bury, Place
from jqcli.core.record import (
    LetterHead,
    duplicate_record,
    error_of,
    history_entry,
    is_broken,
    letter,
    oversized_letter,
    parse_letter,
    parse_result,
    read_first,
    status_of,
    timestamp,
)
from jqcli.model import Failure, First, Line

LIGHT = settings(max_examples=60, deadline=None, database=None)
HEAD = LetterHead("5f01ab", {None: "tasks.py:charge", "slow": "m:slow"}, "/work", "/work/out.jsonl", "auto", "run1")
FAILURE = Failure("error", "builtins.KeyError", "'x'", "Traceback …", ("builtins.KeyError",), 1.2000004)
ERROR = {"type": "builtins.KeyError", "message": "'x'"}
MEMBERS = [
    "id",
    "key",
    "reason",
    "error",
    "attempts",
    "history",
    "job",
    "source",
    "handler",
    "cwd",
    "output",
    "input_format",
    "tenant",
    "run",
    "dead_at",
    "redrives",
]


def line_of(text, number=8):
    return Line("jobs.jsonl", "jobs", number, text if isinstance(text, bytes) else text.encode())


def job_of(text):
    return read_line(line_of(text), Scheme(handlers=("slow",)))


def bury(text, reason="max_attempts", *, first=None, is_job=True):
    job = job_of(text) if is_job else None
    key = job.key_text if job is not None else job_of(text).key.hex()
    history = [history_entry(1, 0.0, FAILURE)]
    return Bury(Place(1, 0), line_of(text), job, key, reason, ERROR, 1, history, first)


def written(data):
    assert data.endswith(b"\n")
    assert data.count(b"\n") == 1
    return json.loads(data)


# Letters


def test_a_letter_has_the_members_of_the_design_in_their_order():
    found = written(letter(HEAD, bury('{"id":"job-8","payload":{"n":8},"tenant":"t","handler":"slow"}'), 1.5))
    assert list(found) == MEMBERS
    assert found == {
        "id": "job-8",
        "key": found["key"],
        "reason": "max_attempts",
        "error": ERROR,
        "attempts": 1,
        "history": [{"attempt": 1, "at": "1970-01-01T00:00:00.000Z", "duration": 1.2, **ERROR}],
        "job": {"id": "job-8", "payload": {"n": 8}, "tenant": "t", "handler": "slow"},
        "source": "jobs.jsonl:8",
        "handler": "m:slow",
        "cwd": "/work",
        "output": "/work/out.jsonl",
        "input_format": "auto",
        "tenant": "t",
        "run": "run1",
        "dead_at": "1970-01-01T00:00:01.500Z",
        "redrives": 0,
    }  # fmt: skip
    tag, _, rest = found["key"].partition(":")
    assert (tag, len(rest)) == ("5f01ab", 32)


@pytest.mark.parametrize(
    "text",
    [
        '{"id":"a" , "payload":{"b":1e0,"a":-0.0}}',
        '{"payload":123456789012345678901}',
        '{"payload":1,"payload":2}',
        '{"payload":"\\u00e9\\/"}',
        "[" * 1000 + "]" * 1000,
        '{"payload":{"reason":"x","error":"\\n"}}',
    ],
)
def test_a_letter_holds_the_line_byte_for_byte(text):
    data = letter(HEAD, bury(text), 0.0)
    assert b',"job":' + text.encode() + b',"source":' in data
    assert b',"job":' + text.encode() + b',"source":' in letter(HEAD, bury(text + "\r"), 0.0)


def test_a_line_that_is_json_and_no_job_stands_as_job_too():
    found = written(letter(HEAD, bury('{"payload":1,"x":2}', "invalid_job", is_job=False), 0.0))
    assert found["job"] == {"payload": 1, "x": 2}
    assert (found["id"], found["tenant"], found["handler"]) == ("jobs:8", None, "tasks.py:charge")


def test_a_line_that_is_no_json_stands_as_text_or_else_as_base64():
    found = written(letter(HEAD, bury(b"{\x1b[2J \xc3\xa9", "invalid_json", is_job=False), 0.0))
    assert found["raw"] == "{\x1b[2J é"
    assert "job" not in found
    found = written(letter(HEAD, bury(b"{\xff", "invalid_json", is_job=False), 0.0))
    assert base64.b64decode(found["raw_base64"]) == b"{\xff"
    assert "raw" not in found


def test_a_line_that_kills_its_worker_before_it_is_read_stands_as_text():
    note = Bury(Place(1, 0), line_of('{"payload":1}'), None, "0" * 32, "worker_crash", ERROR, 0, [])
    assert written(letter(HEAD, note, 0.0))["raw"] == '{"payload":1}'


def test_a_letter_of_a_given_key_carries_key_and_payload_hash():
    text = '{"payload":{"n":1},"key":"or\\"der\\n","id":7}'
    found = written(letter(HEAD, bury(text), 0.0))
    assert (found["key"], found["id"]) == ('5f01ab:=or"der\n', 7)
    assert found["payload_hash"] == job_of('{"n":1}').key.hex()


def test_a_letter_of_a_duplicate_or_a_conflict_names_the_other_job():
    text = '{"payload":1,"id":"b","key":"k"}'
    dead = written(letter(HEAD, bury(text, "duplicate_of_dead", first=First(123456789012345678901, "dead")), 0.0))
    assert dead["duplicate_of"] == 123456789012345678901
    conflict = written(letter(HEAD, bury(text, "key_conflict", first=First("a", "owner")), 0.0))
    assert conflict["conflicts_with"] == "a"
    assert "duplicate_of" not in conflict
    unknown = written(letter(HEAD, bury(text, "key_conflict", first=First(None, "owner")), 0.0))
    assert unknown["conflicts_with"] is None


@pytest.mark.parametrize("number", [123456789012345678901, 10**400 + 1], ids=["21", "401"])
def test_ids_and_tenants_are_exact_integers_of_any_size(number):
    text = json.dumps({"id": number, "tenant": number, "payload": 1})
    record = written(letter(HEAD, bury(text, first=First(number, "dead")), 0.0))
    assert (record["id"], record["tenant"], record["duplicate_of"]) == (number, number, number)
    result = b'{"id":%d,"key":"5f01ab:00","status":"completed","result":%d,"attempts":1,"duration":0.1}' % (
        number,
        number,
    )
    assert read_first(result) == First(number, "completed", str(number).encode())


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


def test_the_output_of_a_run_to_stdout_is_null():
    head = LetterHead("5f01ab", {None: "m:f"}, "/", None, "raw", "r")
    assert written(letter(head, bury("1"), 0.0))["output"] is None


@LIGHT
@given(st.text(max_size=60), st.text(max_size=20))
def test_hostile_text_stays_inside_its_string(text, own_id):
    line = json.dumps({"payload": text, "id": own_id})
    note = Bury(
        Place(1, 0),
        line_of(line),
        job_of(line),
        "0" * 32,
        "rejected",
        {"type": "x.Y", "message": text.encode("utf-8", "replace").decode()},
        1,
        [],
    )
    found = written(letter(HEAD, note, 0.0))
    assert (found["id"], found["job"]["payload"]) == (own_id, text)


@dataclass
class Oversized:
    line: int = 3
    offset: int = 100
    size: int = 99_000_000
    head: bytes = b'{"payload":"' + b"x" * 4084
    digest: bytes = b"d" * 16


def test_the_letter_of_a_line_that_is_too_long_keeps_its_head_size_and_offset():
    found = written(oversized_letter(HEAD, "jobs.jsonl", "jobs:3", Oversized(), "too long", 0.0))
    assert (found["reason"], found["size"], found["offset"], found["attempts"]) == (
        "line_too_long",
        99_000_000,
        100,
        0,
    )
    assert found["raw"].encode() == Oversized().head
    assert (found["id"], found["source"], found["key"]) == (
        "jobs:3",
        "jobs.jsonl:3",
        "5f01ab:" + (b"d" * 16).hex(),
    )
    cut = written(oversized_letter(HEAD, "j", "j:3", Oversized(head=b'"\xc3'), "m", 0.0))
    assert base64.b64decode(cut["raw_base64"]) == b'"\xc3'
    assert set(MEMBERS) - {"job"} <= set(found)


def test_an_error_carries_its_stacktrace_where_there_is_one():
    assert error_of(FAILURE) == {"type": "builtins.KeyError", "message": "'x'", "stacktrace": "Traceback …"}
    assert "stacktrace" not in error_of(Failure("timeout", "jqcli.JobTimeout", "m", "", (), 1.0))


@pytest.mark.parametrize("at", [0.0, 0.9996, 1767225600.123456, 4102444800.0])
def test_moments_are_rfc_3339_in_utc(at):
    assert timestamp(at).endswith("Z")
    assert len(timestamp(at)) == len("1970-01-01T00:00:00.000Z")


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
