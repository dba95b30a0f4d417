"""One tally: whatever shows a number of a run shows the same one, and the files have as many records."""

from __future__ import annotations

import json
import re
import socket
from collections import Counter

import pytest

from jqcli.edge.frame import draw
from jqcli.edge.status import read_status
from tests.command import wait_for
from tests.exposition import values_of, wait_for_metrics
from tests.page import Page
from tests.process.test_cron import monitor

pytestmark = pytest.mark.walk

COUNTS = (
    *("read", "completed", "duplicate", "skipped", "dead", "unfinished"),
    *("attempts", "retries", "crashes", "timeouts"),
)
JOBS = [
    *({"n": n} for n in range(40)),
    *({"n": n} for n in range(10)),
    *({"do": "flaky", "times": times, "n": times} for times in (1, 2)),
    {"do": "die_once"},
    {"do": "kill_self"},
    {"do": "kill_self"},
    {"do": "hang"},
    {"do": "skip"},
    {"do": "reject"},
    {"do": "fail"},
    {"do": "return_nan"},
]


def told_by_table(path):
    """Return the counts as the live table shows them."""
    status = read_status(str(path))
    text = "\n".join("".join(piece for piece, _ in line) for line in draw(status.snapshot, "t", 100, 50))
    return {name: int(re.search(rf"\b{name} +([\d,]+)", text)[1].replace(",", "")) for name in COUNTS}


def told_by_metrics(text):
    found = values_of(text)
    label = 'name="m"'
    outcomes = {
        name: found[f'jqcli_jobs_total{{{label},outcome="{name}"}}']
        for name in ("completed", "duplicate", "skipped", "dead")
    }
    efforts = {name: found[f"jqcli_{name}_total{{{label}}}"] for name in ("attempts", "retries", "crashes", "timeouts")}
    others = {"read": found[f"jqcli_lines_read_total{{{label}}}"], "unfinished": found[f"jqcli_queue_jobs{{{label}}}"]}
    assert found[f"jqcli_attempt_duration_seconds_count{{{label}}}"] == efforts["attempts"]
    assert found[f"jqcli_dlq_letters{{{label}}}"] == outcomes["dead"]
    return outcomes | efforts | others


def dlq_told(folder, words, code):
    """Run a command and return which DLQ each place names, and how many letters the metrics count in it."""
    ran = folder.run(*words, *SEEN, code=code, limit=60)
    page = Page((folder / "report.html").read_bytes())
    named = {
        ran.summary["outputs"]["dlq"],
        json.loads((folder / "s.json").read_text())["outputs"]["dlq"],
        page.numbers["outputs"]["dlq"],
    }
    (name,) = named
    assert ("dead letters none" in " ".join(page.text.split())) == (name is None)
    return name, values_of((folder / "m.prom").read_text())['jqcli_dlq_letters{name="m"}']


def test_after_a_partial_redrive_every_place_tells_of_the_letters_that_are_left(folder):
    folder.write("tasks.py", "import os\n\ndef do(n):\n    assert n > 9 or os.path.exists('well')\n").chmod(0o644)
    folder.write("jobs.jsonl", [*range(6)])
    first = ("jobs.jsonl", "-H", "tasks.py:do", "-o", "r.jsonl", "-r", "1")
    assert dlq_told(folder, first, 1) == ("jobs.dlq.jsonl", 6)
    folder.write("well", "")
    again = ("dlq", "retry", "jobs.dlq.jsonl", "-H", "tasks.py:do", "--limit")
    assert dlq_told(folder, (*again, "2"), 0) == ("jobs.dlq.jsonl", 4)
    assert len((folder / "jobs.dlq.jsonl").read_text().splitlines()) == 4
    assert dlq_told(folder, (*again, "9"), 0) == (None, 0)


def test_letters_of_another_input_in_the_same_dlq_are_named_everywhere_and_not_counted(folder):
    folder.write("a.jsonl", [{"do": "reject"}])
    folder.write("b.jsonl", [{"n": 1}])
    words = ("-o", "r.jsonl", "-d", "all.dlq.jsonl")
    assert dlq_told(folder, ("a.jsonl", *words), 1) == ("all.dlq.jsonl", 1)
    assert dlq_told(folder, ("b.jsonl", *words), 0) == ("all.dlq.jsonl", 0)


def told_by_events(path, summary):
    """Return the counts of this run's events; what earlier runs settled has none."""
    events = [event for event in map(json.loads, path.read_text().splitlines()) if event["run"] == summary["run"]]
    count = Counter(event["event"] for event in events)
    verdicts = Counter(event["verdict"] for event in events if event["event"] == "failed")
    outcomes = {name: count[name] for name in ("completed", "duplicate", "skipped", "dead")}
    before = Counter(json.loads((path.parent / "before.json").read_text())) if summary["settled_before"] else Counter()
    outcomes = {name: number + before[name] for name, number in outcomes.items()}
    efforts = {"attempts": count["started"], "retries": count["waiting"]}
    efforts |= {"crashes": verdicts["crash"], "timeouts": verdicts["timeout"]}
    return {"read": sum(outcomes.values()), **outcomes, "unfinished": 0, **efforts}


def told_by_report(path, summary):
    """Return the counts of the page's numbers, which are those of its text; what it has beside them adds up to them."""
    page = Page(path.read_bytes())
    found = page.numbers
    assert {name: found[name] for name in summary} == summary
    assert all(f"{summary[name]:,}" in page.text for name in ("read", "completed", "dead", "attempts", "retries"))
    by_number, timeline, workers = found["attempts_by_number"], found["timeline"], found["workers"]
    assert sum(row["made"] for row in by_number) == sum(each["attempts"] for each in workers) == summary["attempts"]
    assert sum(row["again"] for row in by_number) == summary["retries"]
    assert sum(timeline["retries"]) == pytest.approx(summary["retries"], abs=0.5)
    settled = summary["read"] - summary["unfinished"] - summary["settled_before"]
    assert sum(timeline["settled"]) == pytest.approx(settled, abs=0.5)
    for name in ("crashes", "timeouts"):
        assert sum(count for each in workers for _, count in each[name]) == summary[name]
    if summary["attempts"]:
        assert found["histogram"][-1][1] == summary["attempts"]
    return {name: found[name] for name in COUNTS}


OUTCOMES = ("completed", "duplicate", "skipped", "dead")
SEEN = ("--status-file", "s.json", "--metrics-file", "m.prom", "--progress", "json", "--summary", "json")
SEEN += ("--events", "e.jsonl", "--trace", "t.json", "--log-file", "l.jsonl", "--log-format", "json")
SEEN += ("--report", "report.html")


def run_seen(folder, *words, code):
    """Run a command, hold against each other all that shows numbers of it, and return the summary's."""
    with monitor() as (url, asked):
        ran = folder.run(*words, *SEEN, "--ping", url, code=code, limit=60)
    summary = {name: ran.summary[name] for name in COUNTS}
    progress = [json.loads(line) for line in ran.err.splitlines() if line.startswith('{"elapsed"')][-1]
    assert {name: progress[name] for name in COUNTS} == summary
    assert {name: json.loads((folder / "s.json").read_text())[name] for name in COUNTS} == summary
    top = json.loads(folder.run("top", "./s.json", "--json", deed=False, code=0).out)
    assert {name: top[name] for name in COUNTS} == summary
    assert told_by_table(folder / "s.json") == summary
    assert told_by_metrics((folder / "m.prom").read_text()) == summary
    assert {name: asked[-1][1][name] for name in COUNTS} == summary
    ended = json.loads((folder / "l.jsonl").read_text().splitlines()[-1])
    assert ended["event"] == "ended"
    assert {name: ended[name] for name in (*COUNTS, "settled_before")} == {
        name: ran.summary[name] for name in (*COUNTS, "settled_before")
    }
    slices = [event for event in json.loads((folder / "t.json").read_text()) if event["ph"] == "X"]
    assert len(slices) == summary["attempts"]
    counted = {name: ran.summary[name] for name in (*COUNTS, "settled_before")}
    assert told_by_report(folder / "report.html", counted) == summary
    return ran.summary


def told_by_verify(folder, *words):
    said = json.loads(folder.run("verify", *words, "--json", deed=False, code=0).out)
    assert said["findings"] == 0
    return {name: said[name] for name in OUTCOMES} | {"read": said["lines"]}


def test_a_run_its_continuation_and_its_redrive_tell_one_tally_in_every_place(folder):
    """With crashes, retries, timeouts and duplicates of what lives and what is dead."""
    jobs = [*JOBS, *({"do": "flaky", "times": 3, "n": n % 4} for n in range(8)), {"do": "die_once", "n": 7}]
    folder.write("jobs.jsonl", [*jobs, {"do": "kill_self"}])
    words = ("-t", "1s", "-r", "3", "--backoff-base", "5ms", "--backoff-max", "10ms")
    files = ("-o", "results.jsonl", "-d", "jobs.dlq.jsonl")
    first = run_seen(folder, "jobs.jsonl", *files, *words, code=1)
    assert min(first[name] for name in ("crashes", "retries", "timeouts", "duplicate", "dead")) >= 1
    assert told_by_events(folder / "e.jsonl", first) == {name: first[name] for name in COUNTS}
    told = told_by_verify(folder, "jobs.jsonl", *files)
    assert told == {name: first[name] for name in told}

    folder.write("before.json", json.dumps({name: first[name] for name in OUTCOMES}))
    with (folder / "jobs.jsonl").open("a") as file:
        file.write('{"n": 1000}\n{"n": 1}\n{"do": "flaky", "times": 3, "n": 1}\n')
    second = run_seen(folder, "jobs.jsonl", *files, *words, code=1)
    assert second["settled_before"] == first["read"]
    assert told_by_events(folder / "e.jsonl", second) == {name: second[name] for name in COUNTS}
    told = told_by_verify(folder, "jobs.jsonl", *files)
    assert told == {name: second[name] for name in told}

    redrive = run_seen(folder, "dlq", "retry", "jobs.dlq.jsonl", *words, "-r", "4", code=1)
    assert redrive["completed"] >= 4
    assert redrive["duplicate"] >= 4
    assert min(redrive["crashes"], redrive["dead"]) >= 1
    assert redrive["read"] + redrive["settled_before"] >= second["dead"] - 1  # a line that is no JSON has no job
    folder.write("before.json", "{}")
    assert told_by_events(folder / "e.jsonl", redrive) == {name: redrive[name] for name in COUNTS}
    told = told_by_verify(folder, "jobs.jsonl", *files)
    assert told["read"] == second["read"]
    for name in ("completed", "duplicate", "skipped"):
        assert told[name] == second[name] + redrive[name], name
    assert told["dead"] == second["dead"] - redrive["completed"] - redrive["duplicate"] - redrive["skipped"]


@pytest.mark.parametrize("is_second", [False, True], ids=["first run", "going on"])
def test_table_status_metrics_progress_summary_and_files_tell_the_same(folder, is_second):
    folder.write("jobs.jsonl", "".join(json.dumps(job) + "\n" for job in JOBS) + "not json\n")
    args = ("-o", "results.jsonl", "-t", "1s", "-r", "3", "--backoff-base", "5ms", "--backoff-max", "10ms")
    seen = ("--status-file", "s.json", "--metrics-file", "m.prom", "--progress", "json", "--summary", "json")
    seen += ("--events", "e.jsonl", "--trace", "t.json", "--report", "report.html")
    ran = folder.run("jobs.jsonl", *args, *seen, code=1, limit=60)
    if is_second:
        outcomes = ("completed", "duplicate", "skipped", "dead")
        folder.write("before.json", json.dumps({name: ran.summary[name] for name in outcomes}))
        with (folder / "jobs.jsonl").open("a") as file:
            file.write('{"n": 1000}\n{"do": "die_once", "n": 2}\n{"n": 1}\n')
        ran = folder.run("jobs.jsonl", *args, *seen, code=1, limit=60)
    summary = {name: ran.summary[name] for name in COUNTS}
    progress = [json.loads(line) for line in ran.err.splitlines() if line.startswith('{"elapsed"')][-1]
    assert {name: progress[name] for name in COUNTS} == summary
    assert {name: json.loads((folder / "s.json").read_text())[name] for name in COUNTS} == summary
    assert told_by_table(folder / "s.json") == summary
    assert told_by_metrics((folder / "m.prom").read_text()) == summary
    assert told_by_events(folder / "e.jsonl", ran.summary) == summary
    assert told_by_report(folder / "report.html", ran.summary) == summary
    slices = [event for event in json.loads((folder / "t.json").read_text()) if event["ph"] == "X"]
    assert len(slices) == summary["attempts"]
    count = folder.check()
    from_files = {name: count.statuses[name] for name in ("completed", "duplicate", "skipped", "dead")}
    assert from_files == {name: summary[name] for name in from_files}
    assert summary["read"] == sum(from_files.values()) == len(JOBS) + 1 + 3 * is_second
    assert summary["crashes"] >= 1
    assert min(summary["duplicate"], summary["timeouts"] + is_second, summary["dead"]) >= 1


def test_a_scrape_during_the_run_tells_what_the_status_file_tells(folder):
    folder.write("jobs.jsonl", [*JOBS[:12], {"do": "wait", "file": "go"}])
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    child = folder.start("jobs.jsonl", "-o", "r.jsonl", "-b", "1", "--metrics-port", port, "--status-file", "s.json")

    found = wait_for_metrics(port, 'jqcli_jobs_total{outcome="completed"}', 12)
    assert found["jqcli_queue_jobs"] == found["jqcli_in_flight_jobs"] == 1
    assert found['jqcli_workers{state="running"}'] == 1
    wait_for(lambda: json.loads((folder / "s.json").read_text())["completed"] == 12)
    folder.write("go", "")
    child.communicate(timeout=30)
    assert child.returncode == 0
