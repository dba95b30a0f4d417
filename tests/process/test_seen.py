"""A run seen from elsewhere: by `ps` and `top`, by its status file, by a signal; with real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.command import Screen, is_alive, wait_for
from tests.exposition import wait_for_metrics

pytestmark = pytest.mark.walk

WAITING = [{"n": 1}, {"n": 2}, {"do": "wait", "file": "go"}]


def status_files(folder):
    return sorted((folder.runtime / "jqcli").glob("*.json"))


def wait_for_status(path, **wanted):
    """Return the status once it says all that is wanted."""

    def look():
        if not path.exists():
            return None
        said = json.loads(path.read_text())
        return said if all(said[name] == value for name, value in wanted.items()) else None

    return wait_for(look)


@pytest.fixture
def waiting(folder):
    """A run of three jobs, two of which are done, and the last waits for a file."""
    folder.write("jobs.jsonl", WAITING)
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "--status-file", "status.json")
    wait_for_status(folder / "status.json", completed=2)
    return child


def finish(folder, child):
    folder.write("go", "")
    out, err = child.communicate(timeout=30)
    assert child.returncode == 0, err
    return out, err


def listed(folder, child):
    """Return what `ps` says of a run; the user may have others."""
    records = folder.run("ps", "--json", deed=False, code=0).records
    return [record for record in records if record["pid"] == child.pid]


def test_ps_lists_a_running_run_and_forgets_one_that_has_ended(folder, waiting):
    (line,) = listed(folder, waiting)
    assert (line["pid"], line["completed"], line["exit_code"], line["state"]) == (waiting.pid, 2, None, "running")
    assert line["inputs"] == ["jobs.jsonl"]
    text = folder.run("ps", deed=False, code=0).out.decode()
    head, *rows = text.splitlines()
    assert [str(waiting.pid), line["run"], "running"] in [row.split()[:3] for row in rows]
    assert head.split()[0] == "pid"
    finish(folder, waiting)
    assert status_files(folder) == []
    assert listed(folder, waiting) == []


def test_a_killed_run_is_not_listed_and_its_file_is_removed(folder, waiting):
    assert len(status_files(folder)) == 1
    waiting.kill()
    waiting.wait()
    assert len(status_files(folder)) == 1
    assert listed(folder, waiting) == []
    assert status_files(folder) == []


def test_the_status_file_of_a_script_ends_with_the_exit_code_and_the_summary(folder):
    folder.write("jobs.jsonl", [{"n": 1}, {"n": 1}, {"do": "reject"}])
    ran = folder.run("jobs.jsonl", "-o", "r.jsonl", "--status-file", "s.json", "--summary", "json", code=1)
    said = json.loads((folder / "s.json").read_text())
    assert {name: said[name] for name in ran.summary} == ran.summary
    assert (said["state"], said["exit_code"], said["fraction"]) == ("finished", 1, 1.0)


def test_lines_that_are_read_and_wait_count_as_still_to_be_done(folder, waiting):
    said = wait_for_status(folder / "status.json", completed=2)
    assert said["fraction"] == pytest.approx(2 / 3)
    assert said["eta"] == pytest.approx(said["duration"] / 2)
    waiting.kill()
    waiting.wait()
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "--status-file", "again.json")
    said = wait_for_status(folder / "again.json", settled_before=2)
    assert said["fraction"] == pytest.approx(2 / 3)
    assert said["eta"] is None, "what earlier runs did says nothing of this one's pace"
    finish(folder, child)


def test_where_jobs_are_limited_the_limit_is_all_there_is_to_do(folder):
    folder.write("jobs.jsonl", [*WAITING, *({"n": n} for n in range(10, 1000))])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "--limit", "3", "--status-file", "status.json")
    assert wait_for_status(folder / "status.json", completed=2)["fraction"] == pytest.approx(2 / 3)
    finish(folder, child)


@pytest.mark.parametrize("name", ["pid", "run", "file"])
def test_top_finds_a_run_by_its_pid_its_id_or_its_file(folder, waiting, name):
    said = json.loads((folder / "status.json").read_text())
    word = {"pid": said["pid"], "run": said["run"][:6], "file": "status.json"}[name]
    (one,) = folder.run("top", word, "--json", deed=False, code=0).records
    assert (one["run"], one["completed"]) == (said["run"], 2)


def test_top_says_which_runs_there_are_where_it_is_not_clear(folder, waiting):
    ran = folder.run("top", "99999999", deed=False, code=2)
    assert f"{waiting.pid} (" in ran.err
    folder.write("other.jsonl", WAITING)
    other = folder.start("other.jsonl", "-o", "other.out.jsonl", "--status-file", "other.json")
    wait_for_status(folder / "other.json", completed=2)
    ran = folder.run("top", deed=False, code=2)
    assert f"{waiting.pid} (" in ran.err
    assert f"{other.pid} (" in ran.err
    finish(folder, waiting)
    finish(folder, other)
    assert str(waiting.pid) not in folder.run("top", "99999999", deed=False, code=2).err


def test_top_draws_the_table_of_the_run_until_it_ends(folder, waiting):
    screen = folder.screen("top", str(waiting.pid), columns=100, deed=False)
    screen.wait_for(lambda seen: b"completed" in seen and b"jobs.jsonl" in seen)
    assert b"jobs.jsonl:3" in screen.seen
    finish(folder, waiting)
    assert screen.end() == 0
    assert b"has ended; last seen: 3 read, " in screen.seen
    assert screen.is_cursor_visible


@pytest.mark.parametrize("name", ["its own file", "a named file"])
def test_top_says_of_a_killed_run_that_it_is_gone(folder, waiting, name):
    screen = folder.screen("top", str(waiting.pid) if name == "its own file" else "./status.json", deed=False)
    screen.wait_for(lambda seen: b"completed" in seen and b"jobs.jsonl" in seen)
    waiting.kill()
    waiting.wait()
    assert screen.end() == 0
    assert b"is gone without a word, as if it was killed; last seen: 3 read, 2 completed" in screen.seen
    assert screen.is_cursor_visible


def test_top_says_with_which_code_a_run_ended_that_has_a_file_of_its_own(folder, waiting):
    screen = folder.screen("top", "./status.json", deed=False)
    screen.wait_for(lambda seen: b"completed" in seen and b"jobs.jsonl" in seen)
    finish(folder, waiting)
    assert screen.end() == 0
    assert b"has ended with exit code 0; last seen: finished, 3 read, 3 completed" in screen.seen


def test_ctrl_c_leaves_top_and_not_the_run(folder, waiting):
    screen = folder.screen("top", str(waiting.pid), deed=False)
    screen.wait_for(lambda seen: b"completed" in seen)
    screen.press(b"\x03")
    assert screen.end() == 130
    assert screen.is_cursor_visible
    assert is_alive(waiting.pid)
    finish(folder, waiting)


def test_sigusr1_is_answered_with_one_line_and_stops_nothing(folder, waiting):
    os.kill(waiting.pid, signal.SIGUSR1)
    line = waiting.stderr.readline().decode()
    assert line.startswith("jq-run: 3 read, 2 completed")
    out, err = finish(folder, waiting)
    assert (out, err) == (b"", b"")


def test_sigusr1_is_answered_above_the_live_table(folder):
    folder.write("jobs.jsonl", WAITING)
    screen: Screen = folder.screen("jobs.jsonl", "-o", "r.jsonl", "--status-file", "status.json")
    said = wait_for_status(folder / "status.json", completed=2)
    os.kill(said["pid"], signal.SIGUSR1)
    screen.wait_for(lambda seen: b"jq-run: 3 read, 2 completed" in seen)
    folder.write("go", "")
    assert screen.end() == 0


@pytest.mark.parametrize("name", ["jobs.jsonl", "r.jsonl", "d.jsonl", "/dev/null", "none/s.json", "."])
def test_a_status_file_that_would_damage_something_is_refused(folder, name):
    folder.write("jobs.jsonl", [{"n": 1}])
    ran = folder.run("jobs.jsonl", "-o", "r.jsonl", "-d", "d.jsonl", "--status-file", name, code=2)
    assert "--status-file: " in ran.err
    assert not (folder / "r.jsonl").exists()
    assert Path("/dev/null").is_char_device()


def test_a_run_does_not_need_a_runtime_directory(folder):
    folder.write("jobs.jsonl", [{"n": 1}])
    folder.runtime.mkdir()
    (folder.runtime / "jqcli").write_text("not a folder")
    assert folder.run("jobs.jsonl", "-o", "r.jsonl", code=0).err == ""


def test_metrics_name_the_first_tenants_that_wait_and_count_all_others_together(folder):
    folder.write("jobs.jsonl", [{"tenant": f"t{n % 25}", "payload": {"n": n}} for n in range(75)])
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    limits = ("--tenant-rate", "1/h", "--burst", "1", "--retry-budget", "20%", "--breaker", "50%/10s")
    folder.start("jobs.jsonl", "-o", "r.jsonl", *limits, "--metrics-port", port)

    found = wait_for_metrics(port, 'jqcli_held_jobs{by="rate"}', 50)
    lanes = {name: count for name, count in found.items() if name.startswith("jqcli_lane_jobs")}
    assert sum(lanes.values()) == found["jqcli_queue_jobs"] == 50
    assert found['jqcli_jobs_total{outcome="completed"}'] == found["jqcli_lines_read_total"] - 50
    assert len(lanes) <= 21
    assert lanes['jqcli_lane_jobs{kind="rest",of=""}'] >= 10
    assert found['jqcli_breaker_open{kind="all",of=""}'] == found["jqcli_breaker_trips_total"] == 0
    assert found["jqcli_retry_budget_left"] > 1
