"""What `check` says is what the next run does; and it does nothing itself."""

from __future__ import annotations

import json
import random
import re
from collections import Counter

import pytest

pytestmark = pytest.mark.walk

MAX_LINE = 300
SETTINGS = ("-o", "r.jsonl", "-d", "d.jsonl", "--max-line", str(MAX_LINE), "-r", "1")


def make_line(chance):
    """Return one line: mostly jobs, often equal ones, with all that a line may ask for or do wrong."""
    payload = {"n": chance.randrange(12)} | ({"do": "reject"} if chance.random() < 0.25 else {})
    envelope = {"payload": payload}
    kind = chance.randrange(10)
    if kind == 0:
        return chance.choice(['{"n":', "nonsense", '{"payload":1,"paylod":2}', '"' + "x" * MAX_LINE + '"', "", "  "])
    if kind == 1:
        envelope |= {"key": f"k{chance.randrange(3)}"}
    if kind == 2:
        is_late = chance.random() < 0.5
        payload["late"] = is_late  # a job that was late in an earlier run is not the same as one that runs
        envelope |= {"expires": 1 if is_late else "2999-01-01T00:00:00Z"}
    if kind == 3:
        envelope |= {"not_before": chance.choice([1, "2001-01-01T00:00:00Z"])}
    if kind < 6:
        envelope |= {"id": f"own-{chance.randrange(10**9)}"}
    return json.dumps(envelope if len(envelope) > 1 else payload)


def id_of(lines, where):
    """Return the id that the record of a line has."""
    number = int(where.rpartition(":")[2])
    try:
        said = json.loads(lines[number - 1])
    except ValueError:
        return f"jobs:{number}"
    is_unusable = isinstance(said, dict) and "paylod" in said
    return f"jobs:{number}" if is_unusable or not isinstance(said, dict) else said.get("id", f"jobs:{number}")


def is_rejected(lines, where):
    said = json.loads(lines[int(where.rpartition(":")[2]) - 1])
    return said.get("payload", said).get("do") == "reject"


def fate_of(lines, told):
    """Return what the record of a line has to say, after what was told of it."""
    if told["action"] == "dead":
        return told["reason"]
    first = told["line"] if told["action"] == "run" else told["why"]
    is_dead = first != "an earlier run" and is_rejected(lines, first)
    return {"run": ("completed", "rejected"), "duplicate": ("duplicate", "duplicate_of_dead")}[told["action"]][is_dead]


def records_of(folder):
    """Return all records: id, and status or reason."""
    found = []
    for name, member in (("r.jsonl", "status"), ("d.jsonl", "reason")):
        text = (folder / name).read_text() if (folder / name).exists() else ""
        found += [(record["id"], record[member]) for record in map(json.loads, text.splitlines())]
    return Counter(found)


def explain(folder, *args):
    ran = folder.run("check", "jobs.jsonl", *SETTINGS, *args, "--explain", "--json")
    assert ran.err == ""
    return ran


@pytest.mark.parametrize("seed", range(8))
def test_what_it_says_of_each_line_is_what_the_next_run_does(folder, seed):
    chance = random.Random(seed)
    earlier = [make_line(chance) for _ in range(60)]
    folder.write("jobs.jsonl", "\n".join(earlier[: chance.choice([0, 30, 60])]) + "\n")
    folder.run("jobs.jsonl", *SETTINGS)
    kept = [line for line in earlier if chance.random() < 0.8]
    lines = kept + [make_line(chance) for _ in range(40)]
    chance.shuffle(lines)
    folder.write("jobs.jsonl", "\n".join(lines) + "\n")
    limit = ("--limit", "70") if seed % 4 == 3 else ()
    told = explain(folder, *limit)
    counted = json.loads(folder.run("check", "jobs.jsonl", *SETTINGS, *limit, "--json").out)
    before = records_of(folder)
    ran = folder.run("jobs.jsonl", *SETTINGS, *limit, "--summary", "json")
    fresh = records_of(folder) - before
    news = [one for one in told.records if one["action"] != "settled"]
    assert Counter((id_of(lines, one["line"]), fate_of(lines, one)) for one in news) == fresh
    assert len(told.records) == counted["read"] == ran.summary["read"]
    assert len(told.records) - len(news) == sum(counted["settled"].values()) == ran.summary["settled_before"]
    actions = Counter(one["action"] for one in told.records)
    assert (actions["run"], actions["duplicate"]) == (counted["run"], counted["duplicate"])
    assert Counter(one["reason"] for one in news if one["action"] == "dead") == counted["dead"]
    assert {one["action"] for one in explain(folder, *limit).records} == {"settled"}


def test_it_runs_nothing_and_touches_nothing(folder):
    folder.write("jobs.jsonl", [{"n": 1}, {"n": 2}])
    folder.run("jobs.jsonl", *SETTINGS, code=0)
    (folder / "log.jsonl").unlink()
    with (folder / "r.jsonl").open("a") as file:
        file.write('{"id":"to')  # a torn tail is the run's to cut
    with (folder / "jobs.jsonl").open("a") as file:
        file.write("nonsense\n")
    before = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    assert folder.run("check", "jobs.jsonl", *SETTINGS, code=1).err == ""
    assert folder.run("-n", "jobs.jsonl", *SETTINGS, code=1).err == ""
    assert {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()} == before


def test_the_first_bad_lines_are_shown_with_line_column_and_cause(folder):
    folder.write("jobs.jsonl", '{"n":1}\n{"n": x}\n' + "[\n" * 20 + '{"n":1}\n')
    ran = folder.run("check", "jobs.jsonl", *SETTINGS, code=1)
    out = ran.out.decode()
    assert re.search(r"jobs\.jsonl:2: invalid_json: not JSON \(.* at column 7\)\n", out)
    assert "… and 11 more" in out
    rows = dict(line.rsplit(maxsplit=1) for line in out.splitlines() if line.startswith("  ") and line[-1].isdigit())
    assert {name.strip(): count for name, count in rows.items()} == {
        "would run": "1", "duplicate": "1", "dead: invalid_json": "21", "read": "23",
    }  # fmt: skip
    assert len(out.splitlines()) < 25


def test_clean_input_is_0_and_a_dry_run_is_the_same_as_check(folder):
    folder.write("jobs.jsonl", [{"n": 1}, {"n": 1}])
    checked = folder.run("check", "jobs.jsonl", *SETTINGS, code=0)
    dry = folder.run("jobs.jsonl", *SETTINGS, "--dry-run", code=0)
    assert checked.out == dry.out
    as_json = folder.run("jobs.jsonl", *SETTINGS, "-n", "--summary", "json", code=0)
    assert as_json.out == folder.run("check", "jobs.jsonl", *SETTINGS, "--json", code=0).out
    assert as_json.out == folder.run("check", "jobs.jsonl", *SETTINGS, "--summary", "json", code=0).out


def test_jobs_are_checked_as_they_come_on_stdin(folder):
    ran = folder.run("check", "-", *SETTINGS, "--explain", stdin=b'{"n":1}\n{"n":2}\n{"n":1}', code=0)
    assert ran.out.decode().splitlines() == [
        "<stdin>:1: runs",
        "<stdin>:2: runs",
        "<stdin>:3: duplicate (of <stdin>:1, whose fate it shares)",
    ]


def test_a_job_that_waits_for_a_moment_is_not_waited_for(folder):
    far = "2999-01-01T00:00:00Z"
    folder.write(
        "jobs.jsonl", [{"payload": 1, "not_before": far}, {"payload": 1}, {"payload": 2, "not_before": 253402300799}]
    )
    out = folder.run("check", "jobs.jsonl", *SETTINGS, "--explain", code=0).out.decode().splitlines()
    assert out[0] == "jobs.jsonl:1: runs (not before 2999-01-01T00:00:00.000Z)"
    assert out[1].startswith("jobs.jsonl:2: duplicate (of jobs.jsonl:1")
    assert out[2] == "jobs.jsonl:3: runs (not before 9999-12-31T23:59:59.000Z)"


def test_the_records_of_another_handler_are_an_error_as_in_a_run(folder):
    folder.write("jobs.jsonl", [{"n": 1}])
    folder.run("jobs.jsonl", *SETTINGS, code=0)
    assert "was made with" in folder.run("check", "jobs.jsonl", *SETTINGS, "-H", "deeds:other", code=65).err
    folder.run("check", "jobs.jsonl", *SETTINGS, "-H", "deeds:other", "--fresh", code=0)


def test_control_bytes_of_a_line_do_not_reach_the_terminal(folder):
    folder.write("jobs.jsonl", '{"payload":1,"\\u001b[2J":1}\n')
    out = folder.run("check", "jobs.jsonl", *SETTINGS, code=1).out
    assert b"\x1b" not in out
