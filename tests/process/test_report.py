"""A run leaves one whole page about itself, however it ends, and none where it could not say how."""

from __future__ import annotations

import json
import shlex
import signal

import pytest

from tests.command import wait_for
from tests.page import Page

pytestmark = pytest.mark.walk

ARGS = ("-o", "results.jsonl", "-r", "3", "--backoff-base", "5ms", "--backoff-max", "10ms", "--report", "r.html")
JOBS = [
    *({"n": n} for n in range(20)),
    {"do": "flaky", "times": 2},
    {"do": "kill_self"},
    {"do": "hang"},
    {"do": "skip"},
    *({"do": "fail", "message": f"no user {n}"} for n in range(3)),
    {"do": "pause", "seconds": 0.3},
]


def page_of(folder, name="r.html"):
    return Page((folder / name).read_bytes())


@pytest.fixture
def ran(folder):
    folder.write("jobs.jsonl", JOBS)
    with (folder / "jobs.jsonl").open("a") as file:
        file.write("not json\n")
    return folder.run("jobs.jsonl", *ARGS, "-t", "1s", "--summary", "json", code=1)


def test_it_says_what_was_run_and_what_came_of_it(folder, ran):
    page = page_of(folder)
    assert {name: page.numbers[name] for name in ran.summary} == ran.summary
    assert "Finished with 6 dead letters" in page.text
    assert page.numbers["inputs"] == ["jobs.jsonl"]
    assert page.numbers["handler"].endswith("deeds.py:do")
    assert page.numbers["command"].startswith("jq-run jobs.jsonl -o results.jsonl -r 3")
    assert page.numbers["folder"] == str(folder.path)
    assert page.numbers["started_at"] <= page.numbers["ended_at"]
    slowest = page.numbers["slowest"]
    assert (slowest[0]["id"], slowest[0]["end"]) == ("jobs:23", "timeout")
    assert (slowest[1]["id"], slowest[1]["end"]) == ("jobs:28", "completed")
    assert slowest[1]["seconds"] == pytest.approx(0.3, abs=0.2)
    assert {path.name for path in folder.path.glob(".*")} == set()


def test_its_commands_retry_just_the_jobs_of_their_group(folder, ran):
    page = page_of(folder)
    groups = {group["reason"]: group for group in page.numbers["errors"]}
    assert groups["max_attempts"]["count"] == 3
    for reason, group in groups.items():
        (found,) = [part for part in page.text.split("jq-run dlq retry")[1:] if f"--reason {reason} " in part]
        words = shlex.split(found.split("  ")[0])
        (at,) = [place for place, word in enumerate(words) if word == "--group"]
        listed = folder.run("dlq", "list", words[0], "--reason", reason, "--group", words[at + 1], "--json", deed=False)
        assert len(listed.out.splitlines()) == group["count"]


def test_a_redrive_has_its_own(folder, ran):
    folder.run(
        "dlq", "retry", "jobs.dlq.jsonl", "--reason", "max_attempts", "--report", "again.html", "-r", "1", code=1
    )
    page = page_of(folder, "again.html")
    assert (page.numbers["read"], page.numbers["dead"]) == (3, 3)
    assert page.numbers["command"].startswith("jq-run dlq retry jobs.dlq.jsonl")
    assert page_of(folder).numbers["read"] == len(JOBS) + 1


def test_a_run_that_is_stopped_says_why(folder):
    folder.write("jobs.jsonl", [{"do": "fail"}] * 3 + [{"n": n} for n in range(5)])
    folder.run("jobs.jsonl", *ARGS, "-j", "1", "-b", "1", "-r", "1", "--max-failures", "1", "--dedupe", "off", code=3)
    page = page_of(folder)
    assert page.numbers["exit_code"] == 3
    assert "--max-failures is 1" in page.numbers["cause"]
    assert "--max-failures is 1" in page.text
    assert "Stopped early" in page.text


def start_waiting(folder):
    """Start a run whose first job does not end, and return it when all others are done."""
    folder.write("jobs.jsonl", [{"do": "wait", "file": "go"}, *({"n": n} for n in range(9))])
    child = folder.start("jobs.jsonl", *ARGS, "-b", "1", "--status-file", "s.json", "--grace", "100ms")
    status = folder / "s.json"
    wait_for(lambda: status.exists() and json.loads(status.read_text())["completed"] == 9)
    return child


def test_each_worker_has_a_lane_of_its_own(folder):
    child = start_waiting(folder)
    folder.write("go", "")
    child.communicate(timeout=60)
    assert child.returncode == 0
    numbers = page_of(folder).numbers
    assert sorted(each["attempts"] for each in numbers["workers"]) == [1, 9]
    (long,) = [each for each in numbers["workers"] if each["attempts"] == 1]
    assert sum(long["busy"]) == pytest.approx(numbers["slowest"][0]["seconds"], abs=0.1)
    assert numbers["slowest"][0]["worker"] == long["number"]


def test_a_run_that_is_stopped_by_a_signal_has_one_too(folder):
    child = start_waiting(folder)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=60)
    assert child.returncode == 143
    page = page_of(folder)
    assert (page.numbers["exit_code"], page.numbers["completed"], page.numbers["unfinished"]) == (143, 9, 1)
    assert page.numbers["slowest"][0]["end"] == "stopped"
    assert "Stopped by SIGTERM" in page.text


def test_a_run_whose_results_are_taken_away_says_so(folder):
    child = start_waiting(folder)
    (folder / "results.jsonl").unlink()
    child.communicate(timeout=60)
    assert child.returncode == 74
    page = page_of(folder)
    assert page.numbers["exit_code"] == 74
    assert "results.jsonl" in page.numbers["cause"]


def test_a_killed_run_leaves_the_report_of_the_one_before(folder):
    folder.write("r.html", "an earlier one")
    child = start_waiting(folder)
    child.kill()
    child.communicate(timeout=60)
    assert (folder / "r.html").read_text() == "an earlier one"
    assert not list(folder.path.glob(".r.html*"))


def test_in_this_process_and_without_jobs_it_is_written_too(folder):
    folder.write("jobs.jsonl", [{"n": 1}])
    folder.run("jobs.jsonl", *ARGS, "-j", "0", code=0)
    assert [each["attempts"] for each in page_of(folder).numbers["workers"]] == [1]
    folder.run("jobs.jsonl", *ARGS, code=0)
    assert "Nothing to do, every line was settled before" in page_of(folder).text
    folder.write("none.jsonl", "")
    folder.run("none.jsonl", "-o", "none.results.jsonl", "--report", "none.html", code=0)
    assert "Nothing to do, there are no jobs" in page_of(folder, "none.html").text


@pytest.mark.parametrize(
    "path, code, said",
    [
        ("-", 2, "it goes to a file, not to stdout"),
        ("none/r.html", 2, "there is no folder none"),
        (".", 2, ". is a folder"),
        ("jobs.jsonl", 2, "is the file of jobs.jsonl too"),
        ("results.jsonl", 2, "is the file of --output too"),
        ("/proc/r.html", 74, "/proc/r.html: the report cannot be written"),
    ],
)
def test_a_path_that_cannot_be_a_report_is_told_before_anything_runs(folder, path, code, said):
    folder.write("jobs.jsonl", [{"n": 1}])
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", "--report", path, code=code)
    assert said in ran.err
    assert not (folder / "log.jsonl").exists()


def test_it_can_be_asked_for_in_the_file_of_settings_and_by_a_variable(folder):
    folder.write("jobs.jsonl", [{"n": 1}])
    folder.write("jqcli.toml", 'report = "file.html"\n')
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0, JQ_RUN_REPORT="variable.html")
    assert (
        page_of(folder, "file.html").numbers["completed"] == page_of(folder, "variable.html").numbers["completed"] == 1
    )


@pytest.mark.parametrize("variable", [False, True], ids=["options", "variables"])
def test_commands_that_retry_name_the_configuration_that_the_handler_is_of(folder, variable):
    folder.write("tasks.py", "import os\n\ndef do(n):\n    assert os.path.exists('well')\n").chmod(0o644)
    folder.write("own.toml", '[handlers]\nmine = "tasks.py:do"\n[profiles.night]\nmax_attempts = 2\n')
    folder.write("jobs.jsonl", [1])
    words, env = ("--config", "own.toml", "--profile", "night"), {}
    if variable:
        words, env = (), {"JQ_RUN_CONFIG": "own.toml", "JQ_RUN_PROFILE": "night"}
    ran = folder.run("jobs.jsonl", "-H", "mine", *words, "-o", "r.jsonl", "--report", "r.html", code=1, **env)
    said = ran.err.partition("retry with")[2].splitlines()[0].strip()
    assert said.endswith("-H mine --config own.toml --profile night")
    in_page = page_of(folder).text.partition("jq-run dlq retry")[2]
    assert "-H mine --config own.toml --profile night --reason" in in_page
    folder.write("well", "")
    folder.run(*said.split()[1:], deed=False, code=0)


def test_the_address_of_a_monitor_is_not_in_it(folder):
    folder.write("jobs.jsonl", [{"n": 1}])
    folder.run("jobs.jsonl", *ARGS, "--ping", "http://127.0.0.1:9/s3cret", code=0)
    assert "s3cret" not in page_of(folder).html
    assert "--ping" in page_of(folder).numbers["command"]


def test_no_address_of_a_monitor_that_was_ever_given_is_in_it(folder):
    folder.write("jobs.jsonl", [{"n": 1}])
    at = "http://127.0.0.1:9/"
    words = ("--ping", f"{at}s3cret-a", f"--ping={at}s3cret-b", f"--ping={at}s3cret", "--tenant", "s3cret-d/x")
    folder.run("jobs.jsonl", *ARGS, *words, code=0, JQ_RUN_PING="s3cret-d")
    assert "s3cret" not in page_of(folder).html
    assert page_of(folder).numbers["command"].count("--ping") == 3


def test_ids_errors_and_names_of_files_are_text_in_it(folder):
    evil = "</script><script>alert(1)</script><b>\u202e\x1b[2J"
    name = "<i onclick=alert(1)>&amp;.jsonl"
    job = {"id": evil, "payload": {"do": "fail", "message": evil}}
    folder.write(name, json.dumps(job) + "\n")
    folder.run(name, *ARGS, code=1)
    page = page_of(folder)
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not {"i", "style"} & {tag for tag, _ in page.elements[12:]}
    assert page.numbers["errors"][0]["sample_id"] == evil
    assert page.numbers["inputs"] == [name]
    assert r"\u202e\x1b[2J" in page.text
