"""What a run leaves for a look back: its log, the changes of every job, and a trace; with real processes."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from itertools import pairwise

import pytest

from jqcli.core.change import Change
from jqcli.edge.log import EventFile, LineFile
from tests.command import wait_for

pytestmark = pytest.mark.walk

JOBS = [
    *({"n": n} for n in range(30)),
    {"n": 3},
    {"do": "flaky", "times": 1},
    {"do": "skip"},
    {"do": "snooze", "n": 1},
    {"do": "die_once"},
    {"do": "hang"},
    {"do": "say_badly", "message": "\x1b[2J\nmore \u202e"},
]
ARGS = ("-o", "r.jsonl", "-r", "2", "-t", "1s", "--backoff-base", "5ms")
STEPS = re.compile(
    r"(started (failed waiting |snoozed waiting ))*(started (completed|skipped)|started failed dead)|duplicate|dead"
)


@pytest.fixture
def told(folder):
    """A run of some of everything that left all three files."""
    folder.write("jobs.jsonl", "".join(json.dumps(job) + "\n" for job in JOBS) + "{\n" + '"' + "x" * 2000 + '"\n')
    ran = folder.run(
        "jobs.jsonl", *ARGS, "--max-line", "1000", "--log-file", "log", "--log-format", "json",
        "--events", "events.jsonl", "--trace", "trace.json", "--summary", "json", code=1, limit=60,
    )  # fmt: skip
    folder.summary = ran.summary
    return folder


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_job_goes_from_state_to_state_up_to_its_record(told):
    steps = defaultdict(list)
    for event in lines_of(told / "events.jsonl"):
        assert event["run"] == told.summary["run"]
        steps[event["job"]].append(event["event"])
    for job, names in steps.items():
        assert STEPS.fullmatch(" ".join(names)), (job, names)
    records = lines_of(told / "r.jsonl") + lines_of(told / "jobs.dlq.jsonl")
    outcomes = {record["id"]: record.get("status", "dead") for record in records}
    assert {job: names[-1] for job, names in steps.items()} == outcomes
    assert len(outcomes) == len(JOBS) + 2


def test_events_name_key_attempt_worker_duration_and_what_was_wrong(told):
    events = lines_of(told / "events.jsonl")
    keys = {record["id"]: record["key"] for record in lines_of(told / "r.jsonl") + lines_of(told / "jobs.dlq.jsonl")}
    assert all(event["key"] == keys[event["job"]] for event in events)
    results = {record["id"]: record for record in lines_of(told / "r.jsonl")}
    for event in events:
        if event["event"] == "completed":
            record = results[event["job"]]
            assert (event["attempt"], event["duration"]) == (record["attempts"], record["duration"])
        if event["event"] in ("started", "completed", "failed"):
            assert event["worker"] in (0, 1)
    verdicts = {event["verdict"] for event in events if event["event"] in ("failed", "snoozed")}
    assert verdicts == {"error", "snooze", "crash", "timeout"}
    reasons = {event["reason"] for event in events if event["event"] == "dead"}
    assert reasons == {"timeout", "max_attempts", "invalid_json", "line_too_long"}


def test_ids_beyond_64_bits_come_through_in_status_events_trace_and_log(folder):
    number = 2**70 + 1
    folder.write("jobs.jsonl", [{"id": number, "payload": {"do": "reject"}}, {"id": number + 1, "payload": {"n": 1}}])
    folder.run("jobs.jsonl", *ARGS, "--status-file", "s", "--events", "e", "--trace", "t", "--log-file", "l", code=1)
    assert {event["job"] for event in lines_of(folder / "e")} == {number, number + 1}
    assert json.loads((folder / "s").read_text())["errors"][0]["sample_id"] == number
    assert f'"{number + 1}"' in (folder / "t").read_text()
    assert f" job={number} " in (folder / "l").read_text()


def test_an_attempt_that_is_not_charged_has_the_number_of_the_one_that_is(folder):
    folder.write("jobs.jsonl", [{"do": "slow_down", "tell": "10ms", "times": 2}])
    folder.run("jobs.jsonl", "-o", "r.jsonl", "--events", "events.jsonl", code=0)
    events = lines_of(folder / "events.jsonl")
    assert [event["event"] for event in events].count("started") == 3
    assert {event["attempt"] for event in events} == {1}


def test_moments_are_in_order_within_each_job_and_durations_are_kept(told):
    at = {}
    for event in lines_of(told / "events.jsonl"):
        assert event["at"] >= at.get(event["job"], "")
        at[event["job"]] = event["at"]


def test_the_trace_has_a_named_lane_a_worker_in_which_attempts_do_not_overlap(told):
    trace = json.loads((told / "trace.json").read_text())
    names = {event["tid"]: event["args"]["name"] for event in trace if event["name"] == "thread_name"}
    lanes = defaultdict(list)
    for event in trace:
        if event["ph"] == "X":
            lanes[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert len(lanes) == 2
    assert all(names[lane].startswith(f"worker {lane - 1} (pid ") for lane in lanes)
    assert sum(map(len, lanes.values())) == told.summary["attempts"] + 1  # the snoozed one is not charged
    for spans in lanes.values():
        spans.sort()
        for (_, end), (begin, _) in pairwise(spans):
            assert begin >= end - 1
    assert sum(event["ph"] == "i" and event["cat"] == "dead" for event in trace if "cat" in event) == 4


def test_the_log_has_the_beginning_the_end_the_workers_and_what_went_wrong(told):
    lines = lines_of(told / "log")
    assert (lines[0]["event"], lines[-1]["event"], lines[-1]["exit_code"]) == ("began", "ended", 1)
    assert {line["worker"] for line in lines if line["event"] == "worker"} == {0, 1}
    assert not [line for line in lines if line["event"] in ("started", "completed", "duplicate")]
    assert sum(line["event"] == "dead" for line in lines) == told.summary["dead"]
    counted = {name: lines[-1][name] for name in ("read", "completed", "duplicate", "dead", "attempts", "retries")}
    assert counted == {name: told.summary[name] for name in counted}


def test_a_log_in_text_is_one_harmless_line_an_event_and_is_appended_to(folder):
    folder.write("jobs.jsonl", [JOBS[-1]])
    for _ in range(2):
        folder.run("jobs.jsonl", *ARGS, "--log-file", "log", code=1)
    text = (folder / "log").read_text()
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    lines = text.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z level=\w+ run=\w{12} event=\w+ ", line) for line in lines)
    assert sum(" event=began " in line for line in lines) == sum(" event=ended " in line for line in lines) == 2
    (failed, _) = [line for line in lines if " event=failed " in line]
    assert "job=jobs:1 " in failed
    assert r'message="\u001b[2J\nmore \u202e"' in failed


def test_a_file_that_is_full_is_said_once_and_does_not_stop_the_run(tmp_path):
    said = []
    file = LineFile(str(tmp_path / "e"), said.append)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, file._fd)
    os.close(full)
    events = EventFile(file, "r")
    for _ in range(3):
        events.write([Change(0.0, "started", "a", "k")])
    assert len(said) == 1
    assert "No space left" in said[0]


def test_a_file_that_cannot_be_opened_is_an_error_by_name(folder):
    folder.write("jobs.jsonl", [{"n": 1}])
    assert "--trace: none/t: there is no folder" in folder.run("jobs.jsonl", *ARGS, "--trace", "none/t", code=2).err
    ran = folder.run("jobs.jsonl", *ARGS, "--trace", "t", "--events", "t", code=2)
    assert "t is the file of --events too" in ran.err or "t is the file of --trace too" in ran.err


@pytest.mark.parametrize("option", ["--status-file", "--metrics-file", "--trace", "--log-file", "--report"])
@pytest.mark.parametrize("name", ["tasks.py", "jqcli.toml"])
def test_what_the_run_itself_reads_is_not_written_over(folder, option, name):
    folder.write("jobs.jsonl", [1])
    folder.write("tasks.py", "def do(payload): ...\n")
    folder.write("jqcli.toml", 'handler = "tasks.py:do"\n')
    before = (folder / name).read_text()
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", option, name, code=2, deed=False)
    assert f"{option}: {name} is the file of {name} too" in ran.err
    assert (folder / name).read_text() == before


@pytest.mark.parametrize(
    "point, lines, event",
    [
        ("letters.append", [{"do": "reject"}], "dead"),
        ("letters.append", ["x" * 2000], "dead"),
        ("results.append", [{"n": 1}, {"n": 1}], "duplicate"),
    ],
    ids=["dead", "too-long", "duplicate"],
)
def test_nobody_is_told_of_an_end_whose_record_could_not_be_written(folder, point, lines, event):
    """And once it is written, by the same command, everybody is."""
    folder.write("jobs.jsonl", lines)
    words = ("jobs.jsonl", "-o", "r.jsonl", "--max-line", "1000", "-b", "1", "--events", "events.jsonl")
    number = 2 if event == "duplicate" else 1  # its first has a record
    folder.run(*words, code=74, JQ_RUN_FAILPOINT=f"{point}:{number}:ENOSPC")
    assert event not in [line["event"] for line in lines_of(folder / "events.jsonl")]
    folder.run(*words, code=1 if event == "dead" else 0)
    assert [line["event"] for line in lines_of(folder / "events.jsonl")].count(event) == 1


def read_some(fd):
    try:
        return os.read(fd, 1 << 20)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize(
    "options, env, code, level, cause",
    [
        ((), {}, 1, "warning", None),
        (("--max-failures", "1"), {}, 3, "warning", "1 job is dead, and --max-failures is 1"),
        ((), {"JQ_RUN_FAILPOINT": "letters.append:1:ENOSPC"}, 74, "error", "No space left"),
    ],
    ids=["dead", "max-failures", "full"],
)
def test_the_log_says_how_bad_the_end_is_and_why_it_came_early(folder, options, env, code, level, cause):
    folder.write("jobs.jsonl", [{"do": "reject"}, *({"n": n} for n in range(5000))])
    folder.run("jobs.jsonl", *ARGS, "-b", "1", *options, "--log-file", "l", "--log-format", "json", code=code, **env)
    ended = lines_of(folder / "l")[-1]
    assert (ended["event"], ended["exit_code"], ended["level"]) == ("ended", code, level)
    assert "cause" not in ended if cause is None else cause in ended["cause"]


def test_the_log_says_which_signal_ended_a_run_and_that_success_is_no_warning(folder):
    child = folder.start("-", *ARGS, "-d", "d.jsonl", "--log-file", "l", "--log-format", "json")
    wait_for(lambda: (folder / "l").exists() and "worker" in (folder / "l").read_text())
    child.terminate()
    assert child.wait(60) == 143
    ended = lines_of(folder / "l")[-1]
    assert (ended["exit_code"], ended["level"], ended["cause"]) == (143, "warning", "SIGTERM")
    folder.write("jobs.jsonl", [{"n": 1}])
    folder.run("jobs.jsonl", *ARGS, "--log-file", "l", "--log-format", "json", code=0)
    ended = lines_of(folder / "l")[-1]
    assert (ended["level"], ended.get("cause")) == ("info", None)


LINED = ["--log-file", "--events", "--trace"]


@pytest.mark.parametrize("option", LINED)
def test_a_named_pipe_gets_every_line_that_a_file_would(folder, option):
    folder.write("jobs.jsonl", [{"n": n} for n in range(2000)])
    os.mkfifo(folder / "pipe")
    reader = os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    child = folder.start("jobs.jsonl", "-o", "r.jsonl", option, "pipe", "-v")
    got = b""

    def has_ended():
        nonlocal got
        is_over = child.poll() is not None
        while piece := read_some(reader):
            got += piece
        return is_over

    wait_for(has_ended)
    os.close(reader)
    err = child.communicate()[1].decode()
    assert child.returncode == 0, err
    assert "left out" not in err
    lines = got.splitlines()
    if option == "--trace":
        assert sum(event["ph"] == "X" for event in json.loads(got)) == 2000
    elif option == "--events":
        assert sum(b'"event":"completed"' in line for line in lines) == 2000
    else:
        assert b" event=began " in lines[0]
        assert b" event=ended " in lines[-1]


@pytest.mark.parametrize("option", LINED)
def test_a_named_pipe_without_a_reader_ends_the_run_before_any_job(folder, option):
    folder.write("jobs.jsonl", [{"n": 1}])
    os.mkfifo(folder / "pipe")
    ran = folder.run("jobs.jsonl", "-o", "r.jsonl", option, "pipe", code=74)
    assert "pipe: nobody reads from this pipe; start its reader first" in ran.err
    assert (folder / "r.jsonl").read_bytes() == b""


@pytest.mark.parametrize("option", ["--status-file", "--metrics-file", "--report"])
def test_what_is_replaced_as_a_whole_cannot_be_a_pipe(folder, option):
    folder.write("jobs.jsonl", [{"n": 1}])
    os.mkfifo(folder / "pipe")
    assert "pipe is no regular file" in folder.run("jobs.jsonl", "-o", "r.jsonl", option, "pipe", code=2).err


@pytest.mark.parametrize("option", ["--log-file", "--events", "--trace"])
def test_a_file_that_cannot_be_opened_ends_the_run_before_it_begins_and_leaves_no_letters(folder, option):
    """A file of letters says that something died."""
    folder.write("jobs.jsonl", [{"do": "nothing"}])
    os.mkfifo(folder / "pipe")  # which nobody reads
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", option, "pipe", code=74)
    assert "nobody reads from this pipe" in ran.err
    assert not (folder / "jobs.dlq.jsonl").exists()
