"""A run's trace keeps to the Trace Event Format, has a lane a worker, and can be opened whatever became of the run."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest

from tests.command import wait_for
from tests.trace_format import problems_of, read_trace

pytestmark = pytest.mark.walk

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ARGS = ("-o", "r.jsonl", "-t", "1s", "--backoff-base", "5ms", "--trace", "trace.json")
JOBS = [
    *({"n": n} for n in range(2000)),
    *({"do": "flaky", "times": 1, "n": n} for n in range(20)),
    {"n": 3},
    {"do": "skip"},
    {"do": "snooze", "n": 1},
    {"do": "die_once"},
    {"do": "hang"},
    {"do": "say_badly", "message": "\x1b[2J\n\u202e"},
    {"do": "pause", "seconds": 0.6},
]

RIGHT = [
    {"ph": "M", "name": "thread_name", "pid": 1, "tid": 2, "args": {"name": "w"}},
    {"ph": "X", "name": "a", "ts": 0, "dur": 5, "pid": 1, "tid": 2},
    {"ph": "X", "name": "within a", "ts": 1, "dur": 4, "pid": 1, "tid": 2, "args": {}},
    {"ph": "X", "name": "b", "ts": 5.5, "dur": 1, "pid": 1, "tid": 2},
    {"ph": "B", "name": "c", "ts": 1, "pid": 1, "tid": 3},
    {"ph": "E", "ts": 2, "pid": 1, "tid": 3},
    {"ph": "i", "name": "d", "s": "p", "ts": 1, "pid": 1, "tid": 0},
    {"ph": "C", "name": "e", "ts": 1, "pid": 1, "args": {"e": 1}},
]
WRONG = {
    "no phase": {"name": "a", "ts": 0, "pid": 1, "tid": 2},
    "unknown phase": {"ph": "Z", "name": "a", "ts": 0, "pid": 1, "tid": 2},
    "no duration": {"ph": "X", "name": "a", "ts": 0, "pid": 1, "tid": 2},
    "negative duration": {"ph": "X", "name": "a", "ts": 9, "dur": -1, "pid": 1, "tid": 9},
    "text for a moment": {"ph": "i", "name": "a", "ts": "0", "pid": 1, "tid": 2},
    "text for a thread": {"ph": "i", "name": "a", "ts": 0, "pid": 1, "tid": "worker"},
    "number for a name": {"ph": "i", "name": 7, "ts": 0, "pid": 1, "tid": 2},
    "wrong scope": {"ph": "i", "name": "a", "s": "x", "ts": 0, "pid": 1, "tid": 2},
    "counter of text": {"ph": "C", "name": "a", "ts": 0, "pid": 1, "args": {"a": "1"}},
    "unknown metadata": {"ph": "M", "name": "thread", "pid": 1, "tid": 1, "args": {"name": "w"}},
    "unnamed thread": {"ph": "M", "name": "thread_name", "pid": 1, "tid": 1, "args": {}},
    "overlap": {"ph": "X", "name": "a", "ts": 4, "dur": 1.2, "pid": 1, "tid": 2},
    "begin without end": {"ph": "B", "name": "a", "ts": 4, "pid": 1, "tid": 2},
}


@pytest.mark.parametrize("event", WRONG.values(), ids=WRONG)
def test_the_check_finds_what_is_wrong_and_nothing_else(event):
    assert problems_of(RIGHT) == []
    assert len(problems_of([*RIGHT, event])) == 1


@pytest.fixture
def traced(folder):
    folder.write("jobs.jsonl", "".join(json.dumps(job) + "\n" for job in JOBS) + "{\n")
    folder.summary = folder.run("jobs.jsonl", *ARGS, "-r", "2", "--summary", "json", code=1).summary
    return folder


def test_the_trace_of_a_run_with_everything_in_it_keeps_to_the_format(traced):
    text = (traced / "trace.json").read_text()
    assert json.loads(text) == read_trace(text)
    assert problems_of(read_trace(text)) == []


def test_each_worker_has_a_named_lane_with_all_of_its_attempts_at_their_time(traced):
    events = read_trace((traced / "trace.json").read_text())
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    (title,) = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert title.endswith("deeds.py:do < jobs.jsonl")
    lanes = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            lanes[names[event["tid"]].split(" (")[0]].append(event)
    assert set(lanes) == {"worker 0", "worker 1"}
    assert sum(map(len, lanes.values())) == traced.summary["attempts"] + 1  # one that was snoozed is not charged
    ends = [event["ts"] + event["dur"] for each in lanes.values() for event in each]
    assert max(ends) <= (traced.summary["duration"] + 1.0) * 1e6
    (pause,) = [
        event for each in lanes.values() for event in each if event["dur"] > 0.55e6 and event["cat"] != "failed"
    ]
    assert pause["dur"] < 60e6


def test_the_trace_of_a_run_that_was_killed_opens_without_its_end(folder):
    folder.write("jobs.jsonl", [{"n": 1}, {"do": "flaky", "times": 1}, {"do": "wait", "file": "go"}])
    child = folder.start("jobs.jsonl", *ARGS[2:], "-o", "r.jsonl", "-t", "1h", "-b", "1")
    path = folder / "trace.json"
    wait_for(lambda: path.exists() and path.read_text().count('"ph":"X"') == 3)
    child.kill()
    child.wait()
    text = path.read_text()
    assert not text.rstrip().endswith("]")
    events = read_trace(text)
    assert problems_of(events) == []
    assert sum(event["ph"] == "X" for event in events) == 3


def test_traceparent_in_a_jobs_meta_is_handed_to_its_handler_in_every_attempt_and_redrive(folder):
    folder.write(
        "tasks.py",
        "import os\n"
        "def do(payload, ctx):\n"
        "    if ctx.attempt < 2 or not os.path.exists('mended'):\n"
        "        raise ValueError(ctx.meta['traceparent'])\n"
        "    return ctx.meta\n",
    )
    meta = {"traceparent": PARENT, "tracestate": "a=1"}
    folder.write("jobs.jsonl", [{"id": "a", "payload": 1, "meta": meta}])
    words = ("-H", "tasks.py:do", "-r", "2", "--backoff-base", "1ms")
    folder.run("jobs.jsonl", *words, "-o", "r.jsonl", code=1)
    letter = json.loads((folder / "jobs.dlq.jsonl").read_text())
    assert [entry["message"] for entry in letter["history"]] == [PARENT, PARENT]
    folder.write("mended", "")
    folder.run("dlq", "retry", "jobs.dlq.jsonl", *words, code=0)
    assert json.loads((folder / "r.jsonl").read_text())["result"] == meta
