"""Laws of what is written of the dead, as DESIGN section 4 has it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jqcli.core.burial import LetterHead, conflict_error, error_of, history_entry, letter, oversized_letter
from jqcli.core.effect import Bury, Place
from jqcli.core.record import read_first
from jqcli.model import Failure, First
from tests.lines import job_of, line_of, written

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


def bury(text, reason="max_attempts", *, first=None, is_job=True):
    job = job_of(text) if is_job else None
    key = job.key_text if job is not None else job_of(text).key.hex()
    history = [history_entry(1, 0.0, FAILURE)]
    return Bury(Place(1, 0), line_of(text), job, key, reason, ERROR, 1, history, first)


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


def test_what_is_kept_of_many_errors_is_short():
    failure = FAILURE._replace(message="m" * 4096)
    assert len(history_entry(1, 0.0, failure)["message"]) <= 512
    assert error_of(failure)["message"] == failure.message


def test_a_conflict_over_a_key_of_megabytes_is_told_in_short():
    job = job_of(json.dumps({"payload": 1, "key": "k" * 10**6}))
    assert len(conflict_error(job, "o" * 10**6)["message"]) <= 4096


@pytest.mark.parametrize("tenant", ["t", 0, 2**64, -(10**30)])
def test_a_tenant_stands_in_the_letter_as_it_was_given_whatever_its_size(tenant):
    assert written(letter(HEAD, bury(json.dumps({"payload": 1, "tenant": tenant})), 1.5))["tenant"] == tenant


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


@pytest.mark.parametrize(
    "paths", [{}, {"key_path": "a.b"}, {"tenant_path": "c"}, {"key_path": "a", "tenant_path": "c"}]
)
def test_a_letter_names_the_paths_of_key_and_tenant_where_there_are_any(paths):
    found = written(letter(HEAD._replace(**paths), bury("1"), 1.5))
    assert {name: text for name, text in found.items() if name.endswith("_path")} == paths
