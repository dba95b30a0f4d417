"""Laws of the summary."""

from __future__ import annotations

import dataclasses

import orjson
import pytest

from jqcli.core.tally import ErrorGroup, FlowState, Snapshot
from jqcli.edge.digest import summary_object, summary_text

HOSTILE = "\x1b[2J\x1b]52;c;aGk=\x07[/][link=x]\u202e\n" * 1000


def take_snapshot(**changes):
    whole = Snapshot(
        elapsed=83.0, read=12345, completed=12000, duplicate=200, skipped=5, dead=3, unfinished=137,
        settled_before=0, attempts=12400, retries=45, crashes=1, timeouts=2, waiting=0, in_flight=0,
        rate=4100.0, mean_rate=3950.0, fraction=1.0, eta=None, p50=0.0012, p95=0.0045, p99=0.0123,
        workers=(), errors=(ErrorGroup("KeyError: *", "max_attempts", "builtins.KeyError", "7", 3, "job-8"),),
        state="finished",
    )  # fmt: skip
    return dataclasses.replace(whole, **changes)


def summarise(snapshot, exit_code=1, **changes):
    places = {"results": "jobs.results.jsonl", "dlq": "jobs.dlq.jsonl", "retry_command": "jq-run dlq retry x"}
    return summary_text(snapshot, exit_code=exit_code, **(places | changes))


FLOW = FlowState(trips=2, probes=5, pauses=6, deadline=9.0)


def test_the_summary_says_what_limits_and_breakers_did_where_there_were_any():
    assert "opened 2x, 5 probes, told to slow down 6x" in summarise(take_snapshot(flow=FLOW))
    said = summary_object(take_snapshot(flow=FLOW), run="r", exit_code=0, results=None, dlq=None)
    assert (said["flow"]["trips"], said["flow"]["level"]) == (2, None)
    assert "flow" not in summary_object(take_snapshot(), run="r", exit_code=0, results=None, dlq=None)


def test_the_summary_names_outcomes_errors_places_and_the_next_command():
    text = summarise(take_snapshot())
    for part in (
        "finished with 3 dead letters after 1m23s, 3,950/s",
        "completed     12,000",
        "12,400 attempts, 45 retries, 1 crash, 2 timeouts",
        "3  max_attempts      KeyError: 7  (job-8)",
        "jobs.results.jsonl",
        "jobs.dlq.jsonl",
        "jq-run dlq retry x",
    ):
        assert part in text


def test_the_summary_of_a_clean_run_speaks_of_no_trouble():
    clean = take_snapshot(dead=0, skipped=0, unfinished=0, retries=0, crashes=0, timeouts=0, errors=(), read=12200)
    text = summarise(clean, exit_code=0, dlq=None, retry_command=None)
    assert text.startswith("jq-run: finished after")
    for word in ("dead", "skipped", "unfinished", "retr", "crash", "timeout"):
        assert word not in text


def test_a_run_that_had_nothing_to_do_says_so():
    again = take_snapshot(settled_before=12345, attempts=0)
    assert summarise(again).startswith("jq-run: nothing to do, every line was settled before with 3 dead")
    empty = take_snapshot(read=0, completed=0, duplicate=0, skipped=0, dead=0, unfinished=0, errors=())
    assert summarise(empty, exit_code=0).startswith("jq-run: nothing to do, there are no jobs\n")


@pytest.mark.parametrize("exit_code", [3, 74, 129, 130, 141, 143])
def test_a_stopped_run_says_how_to_go_on_only_where_it_can(exit_code):
    assert "; the same command goes on from here\n" in summarise(take_snapshot(), exit_code)
    assert "goes on" not in summarise(take_snapshot(), exit_code, results=None)


@pytest.mark.parametrize("exit_code", [0, 1, 3, 70, 74, 99, 143])
def test_the_summary_is_under_25_lines_and_free_of_control_bytes(exit_code):
    groups = tuple(ErrorGroup(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 10**9, HOSTILE) for _ in range(9))
    text = summarise(take_snapshot(errors=groups, settled_before=7), exit_code, dlq="a\x1b[2J\n")
    assert len(text.splitlines()) < 25
    assert text.replace("\n", "").isprintable()
    assert text.endswith("\n")


def test_a_path_to_copy_is_not_cut():
    assert "/p" * 1000 in summarise(take_snapshot(), results="/p" * 1000)


def test_an_error_line_keeps_to_the_width():
    group = ErrorGroup("f", "max_attempts", "builtins.KeyError", "x" * 300, 3, "job-8")
    lines = summary_text(
        take_snapshot(errors=(group,)), exit_code=1, results=None, dlq=None, retry_command=None, width=90
    ).splitlines()
    assert max(map(len, lines)) == 90


def test_the_object_has_the_shape_of_the_design_in_its_order():
    summary = summary_object(take_snapshot(), run="r1", exit_code=1, results="a", dlq=None)
    assert orjson.loads(orjson.dumps(summary)) == summary
    assert " ".join(summary) == (
        "run exit_code read completed duplicate skipped dead unfinished settled_before attempts retries "
        "crashes timeouts duration rate latency outputs errors"
    )
    assert summary["latency"] == {"p50": 0.0012, "p95": 0.0045, "p99": 0.0123}
    assert summary["outputs"] == {"results": "a", "dlq": None}
    assert summary["errors"] == [
        {"fingerprint": "KeyError: *", "reason": "max_attempts", "type": "builtins.KeyError", "message": "7",
         "count": 3, "sample_id": "job-8"}
    ]  # fmt: skip
    assert (summary["duration"], summary["rate"]) == (83.0, 3950.0)
