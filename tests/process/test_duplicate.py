"""Law 2: once per identity. A duplicate shares the fate of the first."""

from __future__ import annotations

import json

import pytest

from tests.command import DEEDS, wait_for

WAYS = [[], ["-b", "1"], ["-b", "500"], ["-k"], ["-k", "-b", "1"]]
FATES = [
    {"n": 1},
    {"n": 2, "do": "skip"},
    {"n": 3, "do": "reject"},
    {"n": 4, "do": "flaky", "times": 2},
    {"n": 5, "do": "pause", "seconds": 0.1},
    {"n": 6, "do": "die_once"},
]


@pytest.mark.parametrize("words", WAYS, ids=" ".join)
def test_duplicates_share_the_fate_of_the_first_whatever_it_is(folder, words):
    folder.write("jobs.jsonl", FATES * 2 + [{"n": 7}] + FATES)
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--backoff-base", "1ms", *words, code=1)
    count = folder.check()
    assert count.statuses == {"completed": 5, "skipped": 1, "duplicate": 10, "dead": 3}
    assert count.reasons == {"rejected": 1, "duplicate_of_dead": 2}
    for number, payload in enumerate(FATES, 1):
        for again in (number + 6, number + 13):
            record = count.records.get(f'"jobs:{again}"') or count.letters[f'"jobs:{again}"']
            assert record["duplicate_of"] == f"jobs:{number}"
            if payload.get("do") not in ("skip", "reject"):
                assert record["result"] == {"payload": payload}
            if payload.get("do") == "reject":
                assert record["error"]["message"] == "not this one"
                assert record["job"] == payload
    assert count.executions[json.dumps(FATES[0])] == 1
    assert max(count.executions.values()) == 3


@pytest.mark.parametrize("words", WAYS, ids=" ".join)
def test_duplicates_on_stdout_carry_the_result_of_the_first(folder, words):
    folder.write("jobs.jsonl", FATES * 2)
    ran = folder.run("jobs.jsonl", "--backoff-base", "1ms", *words, code=1)
    doubles = {record["id"]: record for record in ran.records if record["status"] == "duplicate"}
    assert {record["duplicate_of"] for record in doubles.values()} == {f"jobs:{n}" for n in (1, 2, 4, 5, 6)}
    assert doubles["jobs:7"]["result"] == {"payload": FATES[0]}
    assert "result" not in doubles["jobs:8"]


@pytest.mark.parametrize("then, status", [("", "duplicate"), ("fail", "dead")])
def test_a_duplicate_waits_for_a_first_in_flight_and_is_not_run(folder, then, status):
    """Fault 36."""
    first = {"do": "wait", "file": "go", "then": then}
    folder.write("jobs.jsonl", [first, {"n": 1}, first])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-b", "1", "-r", "1")
    wait_for(lambda: (folder / "results.jsonl").exists() and b'"jobs:2"' in (folder / "results.jsonl").read_bytes())
    assert folder.log.count(first) == 1
    folder.write("go", "")
    assert child.wait(10) == (1 if then else 0)
    count = folder.check()
    assert count.executions[json.dumps(first, sort_keys=True)] == 1
    assert count.statuses[status] == (2 if then else 1)
    if then:
        assert count.letters['"jobs:3"']["reason"] == "duplicate_of_dead"


def test_the_second_line_with_a_given_key_and_another_payload_is_a_conflict(folder):
    """Fault 35."""
    folder.write(
        "jobs.jsonl",
        [
            {"id": "a", "key": "k", "payload": {"n": 1}},
            {"id": "b", "key": "k", "payload": {"n": 2}},
            {"id": "c", "key": "k", "payload": {"n": 1}},
            {"id": "d", "key": "other", "payload": {"n": 1}},
        ],
    )
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    count = folder.check()
    assert count.letters['"b"']["reason"] == "key_conflict"
    assert count.letters['"b"']["conflicts_with"] == "a"
    assert "'a'" in count.letters['"b"']["error"]["message"]
    assert count.records['"c"']["duplicate_of"] == "a"
    assert count.records['"d"']["status"] == "completed"
    assert len(count.records['"a"']["payload_hash"]) == 32
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    assert folder.check().executions.total() == 2


def test_the_owner_of_a_key_runs_although_its_conflict_was_recorded_by_an_earlier_run(folder):
    """Fault 35: the run stops between the two, the input is reordered."""
    first, second = {"id": "a", "key": "k", "payload": 1}, {"id": "b", "key": "k", "payload": 2}
    folder.write("jobs.jsonl", [first, second])
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    (folder / "results.jsonl").write_bytes(b"")  # killed before the owner's record was written
    folder.write("jobs.jsonl", [second, first])
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    count = folder.check(deaths=1)
    assert count.records['"a"']["result"] == {"payload": 1}
    assert count.letters['"b"']["reason"] == "key_conflict"


def test_a_key_may_stand_in_the_payload(folder):
    rows = [{"user": {"id": 1}, "n": 1}, {"user": {"id": 1}, "n": 1}, {"user": {"id": 1}, "n": 2}, {"user": {"id": 2}}]
    folder.write("jobs.jsonl", rows)
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--key", "user.id", code=1)
    count = folder.check()
    assert count.statuses == {"completed": 2, "duplicate": 1, "dead": 1}
    assert count.reasons == {"key_conflict": 1}
    assert count.records['"jobs:1"']["key"].endswith(":=1")


def test_a_payload_without_the_key_is_an_invalid_job(folder):
    folder.write("jobs.jsonl", [{"user": 1}, {"n": 2}])
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--key", "user", code=1)
    assert folder.check().reasons == {"invalid_job": 1}


def test_without_dedupe_every_line_runs(folder):
    folder.write("jobs.jsonl", [1, 1, 1, {"key": "k", "payload": 2}, {"key": "k", "payload": 3}])
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--dedupe", "off", code=0)
    count = folder.check()
    assert count.statuses == {"completed": 5}
    assert count.executions["1"] == 3
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--dedupe", "off", code=0)
    assert folder.check().executions["1"] == 3


def test_payloads_that_only_look_alike_are_all_run(folder):
    """Fault 34."""
    folder.write(
        "jobs.jsonl",
        b'100000000000000000001\n100000000000000000002\n1\n1.0\n1e0\n"1"\ntrue\n'
        + '"\u00e9"\n"e\u0301"\n'.encode()
        + b'{"a":1,"b":2}\n{"b":2,"a":1}\n{"a":1,"a":2}\n{"a":2}\n',
    )
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    count = folder.check()
    doubles = {r["id"]: r["duplicate_of"] for r in count.records.values() if r["status"] == "duplicate"}
    assert doubles == {"jobs:5": "jobs:4", "jobs:11": "jobs:10", "jobs:13": "jobs:12"}
    assert count.records['"jobs:1"']["result"] == {"payload": 100000000000000000001}


def test_one_identity_under_two_handlers_is_two_identities(folder):
    folder.write("jqcli.toml", f'[handlers.other]\nspec = "{DEEDS}:other"\n')
    folder.write("jobs.jsonl", [{"payload": 1}, {"payload": 1, "handler": "other"}])
    ran = folder.run("jobs.jsonl", code=0)
    assert {record["status"] for record in ran.records} == {"completed"}
