"""Law 4: one door for failure. What is retried, how often, and with which reason it ends."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from tests.command import DEEDS

FAST = ("--backoff-base", "1ms")


def run(folder, jobs, *words, code):
    folder.write("jobs.jsonl", jobs)
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", *FAST, *words, "--summary", "json", code=code)
    return folder.check(), ran.summary


@pytest.mark.parametrize("times", [1, 4])
def test_a_job_that_fails_some_times_completes_at_the_next_attempt(folder, times):
    count, said = run(folder, [{"do": "flaky", "times": times}, {"n": 1}], code=0)
    assert count.records['"jobs:1"']["attempts"] == times + 1
    assert (said["attempts"], said["retries"]) == (times + 2, times)
    assert count.executions.total() == times + 2


def test_a_hopeless_job_is_dead_with_its_whole_history(folder):
    count, said = run(folder, [{"do": "fail", "message": "no"}], "-r", "3", code=1)
    letter = count.letters['"jobs:1"']
    assert (letter["reason"], letter["attempts"]) == ("max_attempts", 3)
    assert [(e["attempt"], e["type"], e["message"]) for e in letter["history"]] == [
        (n, "builtins.KeyError", "'no'") for n in (1, 2, 3)
    ]
    assert "deeds.py" in letter["error"]["stacktrace"]
    assert said["errors"][0] | {"fingerprint": 0} == {
        "fingerprint": 0, "reason": "max_attempts", "type": "builtins.KeyError", "message": "'no'",
        "count": 1, "sample_id": "jobs:1",
    }  # fmt: skip


def test_types_decide_by_bare_or_dotted_name_over_all_bases(folder):
    jobs = [{"do": "flaky", "times": 1}, {"do": "fail"}]
    count, _ = run(folder, jobs, "--retry-on", "ConnectionError", code=1)
    assert count.reasons == {"not_retryable": 1}
    assert count.letters['"jobs:2"']["attempts"] == 1


def test_rejected_types_are_dead_at_once(folder):
    count, _ = run(folder, [{"do": "flaky", "times": 1}, {"do": "fail"}], "--reject-on", "builtins.LookupError", code=1)
    assert count.reasons == {"rejected": 1}
    assert count.letters['"jobs:2"']["attempts"] == 1
    assert count.records['"jobs:1"']["attempts"] == 2


def test_reject_and_skip_take_one_attempt(folder):
    count, _ = run(folder, [{"do": "reject"}, {"do": "skip"}], code=1)
    assert count.reasons == {"rejected": 1}
    assert count.letters['"jobs:1"']["attempts"] == 1
    assert count.records['"jobs:2"'] | {"key": 0, "duration": 0} == {
        "id": "jobs:2", "key": 0, "status": "skipped", "reason": "not ours", "attempts": 1, "duration": 0,
    }  # fmt: skip


def test_what_is_no_exception_is_not_retried_and_the_worker_lives(folder):
    count, said = run(folder, [{"do": "leave"}, {"do": "interrupt"}, {"n": 1}], "-j", "1", code=1)
    assert count.reasons == {"not_retryable": 2}
    assert said["crashes"] == 0
    assert len(set((folder / "pids").read_text().split())) == 1


def test_retry_after_replaces_the_backoff_and_counts_an_attempt(folder):
    count, _ = run(
        folder, [{"do": "again", "after": "80ms"}, {"do": "again", "after": -5}], "--backoff-base", "30s", code=0
    )
    assert [record["attempts"] for record in count.records.values()] == [2, 2]


def test_retry_after_is_used_up_like_any_attempt(folder):
    count, _ = run(folder, [{"do": "again", "after": "10ms", "times": 9}], "-r", "2", code=1)
    letter = count.letters['"jobs:1"']
    assert (letter["reason"], letter["attempts"]) == ("max_attempts", 2)
    first, second = (datetime.fromisoformat(entry["at"]) for entry in letter["history"])
    assert (second - first).total_seconds() >= 0.009


@pytest.mark.parametrize("after", ["soon", "\x00", {"a": 1}])
def test_a_retry_after_that_is_no_duration_is_an_error_like_any_other(folder, after):
    count, _ = run(folder, [{"do": "again", "after": after, "times": 9}, {"n": 1}], "-r", "2", code=1)
    letter = count.letters['"jobs:1"']
    assert (letter["reason"], letter["attempts"], letter["error"]["type"]) == ("max_attempts", 2, "builtins.ValueError")
    assert repr(after) in letter["error"]["message"]
    assert "deeds.py" in letter["error"]["stacktrace"]
    assert count.records['"jobs:2"']["status"] == "completed"


def test_a_snooze_is_no_attempt(folder):
    folder.write("jobs.jsonl", [{"do": "snooze", "n": 1}])
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", "-r", "1", "--summary", "json", code=0)
    assert len(folder.log) == 2
    record = json.loads((folder / "results.jsonl").read_text())
    assert (record["attempts"], ran.summary["attempts"], ran.summary["retries"]) == (1, 1, 0)


def test_a_line_asks_for_its_own_attempts_and_timeout(folder):
    jobs = [
        {"payload": {"do": "fail", "n": 1}, "max_attempts": 1},
        {"payload": {"do": "fail", "n": 2}},
        {"payload": {"do": "hang"}, "timeout": "200ms", "max_attempts": 1},
    ]
    count, said = run(folder, jobs, "-r", "2", code=1)
    assert [count.letters[f'"jobs:{n}"']["attempts"] for n in (1, 2, 3)] == [1, 2, 1]
    assert count.letters['"jobs:3"']["reason"] == "timeout"
    assert count.letters['"jobs:3"']["error"]["type"].endswith("JobTimeout")
    assert said["timeouts"] == 1


def test_a_handlers_own_policy_holds(folder):
    folder.write("jobs.jsonl", [{"do": "flaky", "times": 5}, {"do": "fail"}])
    folder.run("jobs.jsonl", "-o", "results.jsonl", "-H", f"{DEEDS}:careful", code=1)
    count = folder.check()
    assert {letter["reason"]: letter["attempts"] for letter in count.letters.values()} == {
        "max_attempts": 2,
        "not_retryable": 1,
    }


def test_line_wins_over_option_over_environment_over_file_over_handler(folder):
    def attempts(*words, line=(), **env):
        for path in folder.path.glob("*.jsonl"):
            path.unlink()
        folder.write("jobs.jsonl", [{"payload": {"do": "flaky", "times": 9}} | dict(line)])
        folder.run("jobs.jsonl", "-H", f"{DEEDS}:careful", *words, code=1, **env)
        return json.loads((folder / "jobs.dlq.jsonl").read_text())["attempts"]

    assert attempts() == 2
    folder.write("jqcli.toml", "max_attempts = 3\n")
    assert attempts() == 3
    assert attempts(JQ_RUN_MAX_ATTEMPTS="4") == 4
    assert attempts("-r", "5", JQ_RUN_MAX_ATTEMPTS="4") == 5
    assert attempts("-r", "5", line={"max_attempts": 1}, JQ_RUN_MAX_ATTEMPTS="4") == 1


def test_results_that_are_no_json_are_dead_and_the_run_goes_on(folder):
    """FAULTS 12."""
    jobs = [{"do": name} for name in ("return_nan", "return_object", "return_long", "return_huge")] + [{"n": 1}]
    folder.write("jobs.jsonl", jobs)
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    folder.write("log.jsonl", [])
    count = folder.check()
    assert count.reasons == {"unserializable_result": 3}
    assert count.records['"jobs:4"']["result"] == 2**70
    assert count.records['"jobs:5"']["status"] == "completed"


def test_a_job_that_expired_does_not_run_and_one_that_is_early_waits(folder):
    jobs = [{"payload": 1, "expires": 1.0}, {"payload": 2, "not_before": "2020-01-01T00:00:00Z"}]
    count, _ = run(folder, jobs, code=1)
    assert count.reasons == {"expired": 1}
    assert count.executions == {"2": 1}


def test_other_jobs_go_on_while_one_waits_for_its_retry(folder):
    jobs = [{"do": "again", "after": "300ms"}, *({"n": n} for n in range(50))]
    run(folder, jobs, code=0)
    records = (folder / "results.jsonl").read_text().splitlines()
    assert json.loads(records[-1])["id"] == "jobs:1"


def test_errors_that_cannot_be_said_are_said_somehow(folder):
    deeds = ["raise_unspeakable", "raise_surrogate", "raise_group", "recurse", "return_surrogate"]
    count, said = run(folder, [{"do": name} for name in deeds] + [{"n": 1}], "-r", "1", "-j", "1", code=1)
    assert count.reasons == {"max_attempts": 4, "unserializable_result": 1}
    types = [count.letters[f'"jobs:{n}"']["error"]["type"].rpartition(".")[2] for n in range(1, 5)]
    assert types == ["UnspeakableError", "ValueError", "ExceptionGroup", "RecursionError"]
    assert said["crashes"] == 0


def test_what_an_attempt_did_to_its_payload_is_not_seen_by_the_next(folder):
    count, _ = run(folder, [{"do": "change_payload"}], "-r", "3", code=1)
    messages = [entry["message"] for entry in count.letters['"jobs:1"']["history"]]
    assert messages == [json.dumps({"do": "change_payload", "changed": n}) for n in (1, 2, 3)]
    assert count.letters['"jobs:1"']["job"] == {"do": "change_payload"}


@pytest.mark.parametrize("words", [[], ["-k"]], ids=["", "keep-order"])
def test_results_larger_than_what_a_worker_shares_belong_to_their_own_jobs(folder, words):
    """The ring holds 1 MiB; records over half of it travel by the channel."""
    sizes = [5, 700_000, 3_000_000, 5, 300_000, 400_000, 500_000, 600_000]
    jobs = [{"do": "return_large", "size": size, "n": n} for n, size in enumerate(sizes * 2)]
    jobs += jobs[:3]
    count, _ = run(folder, jobs, "-b", "16", *words, code=0)
    for number, job in enumerate(jobs, 1):
        result = count.records[f'"jobs:{number}"']["result"]
        assert (result["payload"], len(result["text"])) == (job, job["size"])
