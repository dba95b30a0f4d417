"""Laws of `jq-run verify`: it agrees with the independent count, names each finding, and changes nothing."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import re

import pytest

import jqcli.commands
from tests.command import wait_for

pytestmark = pytest.mark.walk

JOBS = [
    {"n": 1},
    {"id": "own", "payload": {"n": 2}},
    {"do": "reject", "n": 3},
    {"n": 1},
    {"key": "K", "payload": {"n": 4}},
    {"do": "skip", "n": 5},
    {"do": "reject", "n": 3},
    {"key": "K", "payload": {"n": 6}},
]
FILES = ("results.jsonl", "jobs.dlq.jsonl")


@pytest.fixture
def finished(folder):
    """Return a folder in which a run has finished, in the order of its input."""
    folder.write("jobs.jsonl", b"".join(json.dumps(job).encode() + b"\n" for job in JOBS) + b"\n{bad\n")
    folder.run("jobs.jsonl", "-o", "results.jsonl", "-k", code=1)
    return folder


def verify(folder, *words, code, inputs=("jobs.jsonl",), **more):
    """Return what the command says on stdout; it says nothing else. In this process, which is as good and faster."""
    argv = ["verify", *inputs, "-o", "results.jsonl", *words]
    if more:
        ran = folder.run(*argv, deed=False, code=code, **more)
        assert not ran.err
        return ran.out.decode()
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with contextlib.chdir(folder.path), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        found = jqcli.commands.main(argv)
    said = out.buffer.getvalue().decode()
    assert (found, err.getvalue()) == (code, ""), said
    return said


def verify_json(folder, *words, code, **more):
    return json.loads(verify(folder, *words, "--json", code=code, **more))


def places(found, name):
    assert found[name]["count"] == len(found[name]["at"])
    return [f"{at['file']}:{at['line']}" for at in found[name]["at"]]


def lines_of(path):
    return path.read_bytes().splitlines(keepends=True)


def test_a_finished_run_is_clean_without_its_handler_and_nothing_is_changed(finished):
    finished.check()
    before = [(os.stat(finished / name), (finished / name).read_bytes()) for name in FILES]
    names = sorted(os.listdir(finished.path))
    said = verify(finished, code=0)
    assert said.splitlines()[0] == "jq-run: clean, every line is exactly one record"
    assert [line.split() for line in said.splitlines()[2:]] == [
        ["completed", "3"], ["duplicate", "1"], ["skipped", "1"], ["dead", "4"], ["lines", "9"],
    ]  # fmt: skip
    found = verify_json(finished, code=0)
    assert (found["lines"], found["findings"], found["dead"], found["exit_code"]) == (9, 0, 4, 0)
    after = [(os.stat(finished / name), (finished / name).read_bytes()) for name in FILES]
    assert [(s.st_mtime_ns, s.st_ino, data) for s, data in before] == [(s.st_mtime_ns, s.st_ino, d) for s, d in after]
    assert sorted(os.listdir(finished.path)) == names


def test_what_is_missing_double_torn_foreign_or_orphaned_is_named_by_file_and_line(finished):
    results, letters = (lines_of(finished / name) for name in FILES)
    orphan = re.sub(rb":[0-9a-f]{32}", b":" + b"1" * 32, results[0])
    finished.write("results.jsonl", b"".join([results[0], *results[2:], results[0], b"what\n", b"{}\n", orphan]))
    broken = letters[0][:50] + letters[1]
    finished.write("jobs.dlq.jsonl", b"".join([*letters, broken, b'{"id":"torn']))
    found = verify_json(finished, code=1)
    count = len(results)
    assert places(found, "missing") == ["jobs.jsonl:2"]
    assert places(found, "double") == [f"results.jsonl:{count}"]
    assert found["double"]["at"][0]["beside"] == {"file": "results.jsonl", "line": 1}
    assert places(found, "foreign") == [f"results.jsonl:{count + 1}", f"results.jsonl:{count + 2}"]
    assert places(found, "torn") == [f"jobs.dlq.jsonl:{len(letters) + 1}", f"jobs.dlq.jsonl:{len(letters) + 2}"]
    assert "11 bytes" in found["torn"]["at"][1]["why"]
    assert places(found, "orphans") == [f"results.jsonl:{count + 3}"]
    said = verify(finished, code=1)
    assert said.splitlines()[0] == "jq-run: 6 findings"
    assert f"results.jsonl:{count} beside results.jsonl:1" in said
    assert "jobs.jsonl:2\n" in said


def test_a_record_whose_line_is_gone_is_no_error(finished):
    """The first line is gone, and its equal takes its record; so a duplicate's is left over."""
    finished.write("jobs.jsonl", JOBS[2:])
    found = verify_json(finished, code=0)
    numbers = [number for number, line in enumerate(lines_of(finished / "results.jsonl"), 1) if b'"own"' in line]
    double = [number for number, line in enumerate(lines_of(finished / "results.jsonl"), 1) if b"duplicate_of" in line]
    orphans = places(found, "orphans")
    assert [place for place in orphans if "results" in place] == [f"results.jsonl:{n}" for n in (*numbers, *double)]
    assert len([place for place in orphans if "dlq" in place]) == 1
    assert "orphans: 3 records whose lines are gone; no error" in verify(finished, code=0)


@pytest.mark.parametrize("name", FILES)
def test_of_a_last_line_cut_at_any_length_its_job_is_missing_and_the_rest_is_torn(finished, name):
    data = (finished / name).read_bytes()
    count, last = data.count(b"\n"), len(data.splitlines(keepends=True)[-1])
    for cut in (1, 2, last // 2, last - 1):
        finished.write(name, data[:-cut])
        found = verify_json(finished, code=1)
        assert places(found, "torn") == [f"{name}:{count}"]
        assert found["missing"]["count"] == 1
        assert found["findings"] == 2
    finished.write(name, data[:-last])
    found = verify_json(finished, code=1)
    assert (found["missing"]["count"], found["findings"]) == (1, 1)


def test_at_most_ten_places_of_a_group_are_shown_to_people_and_all_to_programs(folder):
    folder.write("jobs.jsonl", [{"n": n} for n in range(25)])
    folder.write("results.jsonl", "")
    said = verify(folder, code=1)
    assert "missing: 25 lines have no record" in said
    assert "jobs.jsonl:10\n    … and 15 more\n" in said
    assert "jobs.jsonl:11" not in said
    assert places(verify_json(folder, code=1), "missing") == [f"jobs.jsonl:{n}" for n in range(1, 26)]


def test_inputs_are_read_as_a_run_reads_them(finished):
    data = (finished / "jobs.jsonl").read_bytes()
    finished.write("jobs.jsonl.gz", gzip.compress(data))
    dlq = ("-d", "jobs.dlq.jsonl")
    assert verify_json(finished, *dlq, code=0, inputs=["jobs.jsonl.gz"])["lines"] == 9
    assert verify_json(finished, *dlq, code=0, inputs=["-"], stdin=data)["lines"] == 9
    assert verify_json(finished, *dlq, code=0, inputs=[], stdin=b"\xef\xbb\xbf" + data)["lines"] == 9
    found = verify_json(finished, *dlq, code=1, inputs=["jobs.jsonl.gz", "jobs.jsonl"])
    assert places(found, "missing") == [f"jobs.jsonl:{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 10)]
    assert verify_json(finished, "--limit", "2", code=0)["lines"] == 2


def test_a_line_over_max_line_is_looked_for_among_the_letters(folder):
    folder.write("jobs.jsonl", [{"n": 1}, {"n": "x" * 500}])
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--max-line", "100", code=1)
    assert verify_json(folder, "--max-line", "100", code=0)["dead"] == 1
    assert places(verify_json(folder, code=1), "missing") == ["jobs.jsonl:2"]


def test_what_the_run_was_asked_is_taken_from_options_variables_and_the_file_too(folder):
    folder.write("jobs.jsonl", [{"n": 1, "who": "a"}, {"n": 2, "who": "b"}, {"n": 1, "who": "a"}])
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--key", "who", code=0)
    assert verify_json(folder, "--key", "who", code=0)["duplicate"] == 1
    assert verify_json(folder, code=0, JQ_RUN_KEY="who")["findings"] == 0
    said = verify(folder, code=1)
    assert "no line fits any record: is --key, --input-format or --handler missing here?" in said
    folder.write("jqcli.toml", 'key = "who"\noutput = "results.jsonl"\n')
    assert verify_json(folder, code=0)["findings"] == 0


def test_the_letters_say_which_input_format_the_run_had(folder):
    folder.write("jobs.jsonl", [{"payload": 1}, {"n": 1}, "{"])
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--input-format", "envelope", code=1)
    assert verify_json(folder, code=0)["dead"] == 2
    said = verify(folder, "--input-format", "raw", code=1)
    assert "was made with --input-format envelope; say the same here" in said


def test_where_the_tag_does_not_fit_what_is_asked_the_records_are_foreign_and_it_says_what_differs(finished):
    deeds = json.loads(lines_of(finished / "jobs.dlq.jsonl")[0])["handler"]
    assert verify_json(finished, "-H", deeds, code=0)["findings"] == 0
    found = verify_json(finished, "-H", deeds, "--input-format", "raw", code=1)
    assert {at["why"] for at in found["foreign"]["at"]} == {"was made with --input-format auto"}
    assert found["foreign"]["count"] == 9
    found = verify_json(finished, "-H", "tasks.py:other", code=1)
    assert "was made with another handler or --key than tasks.py:other has here" in found["foreign"]["at"][0]["why"]


def test_letters_of_other_results_in_a_shared_file_are_left_alone_and_said(finished):
    finished.write("other.jsonl", [{"do": "reject", "other": 1}])
    finished.run("other.jsonl", "-o", "other.results.jsonl", "-d", "jobs.dlq.jsonl", code=1)
    assert verify_json(finished, code=0)["others"] == 1
    assert "1 letter of another run was left alone" in verify(finished, code=0)


def test_results_that_a_shell_took_from_stdout_are_counted_with_the_letters_of_that_run(finished):
    for name in FILES:
        (finished / name).unlink()
    for _ in range(2):  # the second writes its letters behind those of the first
        finished.shell("$JQ jobs.jsonl > results.jsonl")
    found = verify_json(finished, code=0)
    assert (found["dead"], found["others"]) == (4, 4)


def test_while_a_run_holds_the_results_it_says_so_and_takes_no_lock(folder):
    folder.write("jobs.jsonl", [{"n": 1}, {"do": "wait", "file": "go"}])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-b", "1")
    wait_for(lambda: (folder / "results.jsonl").exists() and (folder / "results.jsonl").read_bytes().endswith(b"\n"))
    found = verify_json(folder, code=1)
    assert places(found, "missing") == ["jobs.jsonl:2"]
    assert found["held_by"] == child.pid
    assert f"process {child.pid} is writing to the results right now; they may grow" in verify(folder, code=1)
    folder.write("go", "")
    child.communicate(timeout=20)
    assert child.returncode == 0
    assert verify_json(folder, code=0)["held_by"] is None


def test_what_cannot_be_read_is_74_and_what_makes_no_sense_is_2(finished):
    def fails(*words, code):
        ran = finished.run("verify", *words, deed=False, code=code)
        assert not ran.out
        return ran.err

    assert "there.jsonl: No such file or directory" in fails("jobs.jsonl", "-o", "there.jsonl", code=74)
    os.mkfifo(finished / "fifo")
    assert "fifo: is no regular file" in fails("jobs.jsonl", "-o", "fifo", code=74)
    assert "name the results file with -o" in fails("jobs.jsonl", code=2)
    assert "what went to stdout cannot be counted" in fails("jobs.jsonl", "-o", "-", code=2)
    assert "no such file" in fails("none.jsonl", "-o", "results.jsonl", code=2)
    assert "own --output" in fails("results.jsonl", "-o", "results.jsonl", code=2)
    finished.write("bad.gz", gzip.compress(b"1\n" * 100)[:-9])
    assert "bad.gz" in fails("bad.gz", "-o", "results.jsonl", code=74)


def test_the_results_that_a_run_at_a_terminal_makes_up_are_found(finished):
    (finished / "results.jsonl").rename(finished / "jobs.results.jsonl")
    letters = (finished / "jobs.dlq.jsonl").read_text()
    finished.write("jobs.dlq.jsonl", letters.replace("/results.jsonl", "/jobs.results.jsonl"))
    ran = finished.run("verify", "jobs.jsonl", deed=False, code=0)
    assert b"clean" in ran.out


def test_names_and_notes_reach_the_screen_without_their_control_bytes(folder):
    name = "a\x1b[2Jb.jsonl"
    folder.write(name, [1])
    folder.write("results.jsonl", "")
    said = verify(folder, code=1, inputs=[name])
    assert "\x1b" not in said
    assert r"a\x1b[2Jb.jsonl:1" in said


def test_a_killed_run_misses_what_it_had_not_done_and_going_on_makes_it_clean(folder):
    folder.write("jobs.jsonl", [{"n": n, "do": "pause", "seconds": 0.002} for n in range(300)])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl")
    wait_for(lambda: (folder / "results.jsonl").exists() and (folder / "results.jsonl").read_bytes().count(b"\n") > 20)
    child.kill()
    child.wait()
    whole = (folder / "results.jsonl").read_bytes().count(b"\n")
    found = verify_json(folder, code=0 if whole == 300 else 1)
    assert (found["missing"]["count"], found["double"]["count"]) == (300 - whole, 0)
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    assert verify_json(folder, code=0)["completed"] == 300
