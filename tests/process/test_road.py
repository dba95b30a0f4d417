"""The main road: every kind of input and output, and every exit code that has no file of its own."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
import shutil

import pytest

from tests import oracle
from tests.command import DEEDS, LIMIT, wait_for

HASH = "[0-9a-f]{32}"
TAG = "[0-9a-f]{6}"


def test_results_and_letters_are_exactly_as_designed(folder):
    folder.write(
        "jobs.jsonl",
        '{"n": 1}\n{"n": 1}\n{"do": "skip"}\n{"id": 7, "key": "k", "payload": {"n": 2}}\n'
        '{"payload": {"do": "reject"}, "tenant": "t"}\n{"n": \n',
    )
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    results = sorted((folder / "results.jsonl").read_text().splitlines())
    tail = r',"attempts":1,"duration":\d+\.\d{6}\}'
    one = r'"result":\{"payload":\{"n":1\}\}'
    forms = [
        rf'\{{"id":"jobs:1","key":"{TAG}:{HASH}","status":"completed",{one}{tail}',
        rf'\{{"id":"jobs:2","key":"{TAG}:{HASH}","status":"duplicate","duplicate_of":"jobs:1",{one}\}}',
        rf'\{{"id":"jobs:3","key":"{TAG}:{HASH}","status":"skipped","reason":"not ours"{tail}',
        rf'\{{"id":7,"key":"{TAG}:=k","payload_hash":"{HASH}","status":"completed",{one.replace("1", "2")}{tail}',
    ]
    assert len(results) == len(forms)
    for line, form in zip(results, forms, strict=True):
        assert re.fullmatch(form, line), line
    count = folder.check()
    dead, unusable = count.letters['"jobs:5"'], count.letters['"jobs:6"']
    assert list(dead) == [
        *("id", "key", "reason", "error", "attempts", "history", "job", "source", "handler", "cwd", "output"),
        *("input_format", "tenant", "run", "dead_at", "redrives"),
    ]
    assert dead["job"] == {"payload": {"do": "reject"}, "tenant": "t"}
    assert (dead["reason"], dead["tenant"], dead["source"]) == ("rejected", "t", "jobs.jsonl:5")
    assert (dead["output"], dead["cwd"]) == (str(folder / "results.jsonl"), str(folder.path))
    assert dead["error"]["type"] == "jqcli.errors.Reject"
    assert [entry["attempt"] for entry in dead["history"]] == [1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", dead["dead_at"])
    assert (unusable["reason"], unusable["raw"], unusable["attempts"]) == ("invalid_json", '{"n": ', 0)


def test_files_globs_and_compressed_files_are_read_in_their_order(folder):
    text = b'{"n": %d}\n'
    folder.write("one.jsonl", text % 1)
    folder.write("part-2.jsonl.gz", gzip.compress(text % 2))
    folder.write("part-3.jsonl.bz2", bz2.compress(text % 3))
    folder.write("part-4.jsonl", lzma.compress(text % 4 + text % 5))  # by content, not by name
    ran = folder.run("one.jsonl", "part-*", "-k", code=0)
    assert [record["id"] for record in ran.records] == ["one:1", "part-2:1", "part-3:1", "part-4:1", "part-4:2"]
    assert [record["result"]["payload"]["n"] for record in ran.records] == [1, 2, 3, 4, 5]


def test_two_inputs_with_one_stem_have_their_paths_in_their_ids(folder):
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    folder.write("a/jobs.jsonl", [1])
    folder.write("b/jobs.jsonl", [2])
    ran = folder.run("a/jobs.jsonl", "b/jobs.jsonl", "-k", code=0)
    assert [record["id"] for record in ran.records] == ["a/jobs.jsonl:1", "b/jobs.jsonl:1"]


@pytest.mark.parametrize("words", [[], ["-"]])
def test_stdin_is_read_with_and_without_a_dash(folder, words):
    ran = folder.run(*words, "-k", stdin=b'{"n": 1}\n\n{"n": 2}', code=0)
    assert [record["result"]["payload"]["n"] for record in ran.records] == [1, 2]
    assert ran.err == ""
    assert not list(folder.path.glob("*dlq*"))


def test_a_result_of_a_slow_stdin_comes_before_the_next_line_is_written(folder):
    """Fault 33."""
    child = folder.start("-")
    for n in range(5):
        child.stdin.write(b'{"n": %d}\n' % n)
        child.stdin.flush()
        assert json.loads(child.stdout.readline())["result"] == {"payload": {"n": n}}
    child.stdin.close()
    assert child.wait() == 0


def test_stdout_has_results_only_also_when_the_handler_prints(folder):
    """Fault 13."""
    folder.write("jobs.jsonl", [{"n": 1, "do": "speak"}, {"n": 2}])
    ran = folder.run("jobs.jsonl", code=0)
    assert {record["id"] for record in ran.records} == {"jobs:1", "jobs:2"}
    assert ran.err.splitlines().count("a handler speaks") == 1
    assert "and writes to fd 1" in ran.err
    assert "and its child as well" in ran.err


def test_results_go_to_files_where_stdout_is_a_terminal(folder):
    folder.write("jobs.jsonl", [{"n": 1}, {"n": 2, "do": "reject"}])
    screen = folder.screen("jobs.jsonl")
    assert screen.end() == 1
    count = folder.check("jobs.results.jsonl", "jobs.dlq.jsonl")
    assert count.statuses == {"completed": 1, "dead": 1}
    assert b"jobs.results.jsonl" in screen.seen
    assert b'"status"' not in screen.seen
    assert screen.is_cursor_visible


def test_the_dead_letters_stand_beside_the_results_and_are_gone_when_there_are_none(folder):
    folder.write("jobs.jsonl", [{"n": 1}])
    (folder / "out").mkdir()
    folder.run("jobs.jsonl", "-o", "out/r.jsonl", code=0)
    assert [path.name for path in (folder / "out").iterdir()] == ["r.jsonl"]
    folder.write("jobs.jsonl", [{"n": 1}, {"do": "reject"}])
    folder.run("jobs.jsonl", "-o", "out/r.jsonl", code=1)
    assert (folder / "out" / "jobs.dlq.jsonl").exists()
    assert (folder / "out" / "jobs.dlq.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_summary_for_programs_counts_what_the_files_hold(folder):
    folder.write("jobs.jsonl", [1, 1, 2, {"do": "skip"}, {"do": "reject"}, {"do": "flaky", "times": 1}])
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", "--summary", "json", "--backoff-base", "1ms", code=1)
    count = folder.check()
    said = ran.summary
    assert {name: said[name] for name in count.statuses} == count.statuses
    assert (said["read"], said["unfinished"], said["exit_code"]) == (6, 0, 1)
    assert (said["attempts"], said["retries"]) == (6, 1)
    assert said["outputs"] == {"results": "results.jsonl", "dlq": "jobs.dlq.jsonl"}


def test_nothing_is_said_off_a_terminal_when_all_is_well(folder):
    folder.write("jobs.jsonl", [1, 2])
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    assert (ran.out, ran.err) == (b"", "")


def test_a_digest_with_the_retry_command_is_said_when_something_failed(folder):
    folder.write("jobs.jsonl", [1, {"do": "reject"}])
    folder.write("tasks.py", DEEDS.read_text())
    ran = folder.run("jobs.jsonl", "-H", "tasks.py:do", "-o", "results.jsonl", code=1)
    command = next(line for line in ran.err.splitlines() if "retry with" in line).partition("retry with")[2].strip()
    assert command.startswith("jq-run dlq retry jobs.dlq.jsonl -H")
    again = folder.shell(command.replace("jq-run", "$RUN"), RUN=" ".join(folder.argv(deed=False)))
    assert again.code == 1
    assert (folder / "results.jsonl").read_text().count("\n") == 1
    assert (folder / "jobs.dlq.jsonl").read_text().count('"redrives":1}\n') == 1


@pytest.mark.parametrize(
    "words, said",
    [
        (["missing.jsonl"], "no such file"),
        (["jobs.jsonl", "./jobs.jsonl"], "named twice"),
        (["jobs.jsonl", "-j", "none"], "--workers"),
        (["jobs.jsonl", "-H", "tasks.py:nothing"], "there is no file tasks.py"),
        (["jobs.jsonl", "-H", f"{DEEDS}:dx"], "did you mean 'do'"),
        (["jobs.jsonl", "-H", f"{DEEDS}:Broken"], "no model here"),
        (["jobs.jsonl", "-H", f"{DEEDS}:no_argument", "-o", "results.jsonl"], "takes ()"),
        (["jobs.jsonl", "-j", "0", "-t", "1s"], "inline"),
        (["jobs.jsonl", "-o", "jobs.jsonl"], "own --output"),
        (["jobs.jsonl", "--no-such-option"], "no-such-option"),
    ],
)
def test_a_mistake_is_exit_2_and_nothing_is_written(folder, words, said):
    folder.write("jobs.jsonl", [1])
    ran = folder.run(*words, code=2)
    assert said in ran.err
    assert ran.out == b""
    assert [path.name for path in folder.path.iterdir()] == ["jobs.jsonl"]
    assert (folder / "jobs.jsonl").read_text() == "1\n"


def test_a_handler_that_ends_its_worker_while_it_is_loaded_is_exit_2(folder):
    """Fault 14."""
    folder.write("jobs.jsonl", [1])
    folder.write("tasks.py", "import os\nos._exit(0)\n")
    ran = folder.run("jobs.jsonl", "-H", "tasks.py:do", "-o", "results.jsonl", code=2)
    assert "while it loaded the handlers" in ran.err
    assert not (folder / "results.jsonl").exists()


def test_our_own_records_are_refused_as_an_input(folder):
    folder.write("jobs.jsonl", [1, {"do": "reject"}])
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    for name in ("results.jsonl", "jobs.dlq.jsonl"):
        ran = folder.run(name, "-o", "other.jsonl", code=2)
        assert "records that jq-run wrote" in ran.err
    assert not (folder / "other.jsonl").exists()


def test_a_class_is_made_once_in_each_worker_entered_and_left(folder):
    folder.write("jobs.jsonl", list(range(20)))
    ran = folder.run("jobs.jsonl", "-H", f"{DEEDS}:Counter", "-j", "1", "-k", code=0)
    assert [record["result"] for record in ran.records] == list(range(1, 21))
    for name in ("made", "entered", "left"):
        assert len((folder / name).read_text().split()) == 1, name


def test_a_handler_is_told_about_its_job(folder):
    folder.write("jobs.jsonl", [{"id": "a", "payload": 1, "tenant": "t", "max_attempts": 9}])
    ran = folder.run("jobs.jsonl", "-H", f"{DEEDS}:tell_context", code=0)
    assert ran.records[0]["result"] == {"id": "a", "attempt": 1, "max_attempts": 9, "tenant": "t"}


def test_a_line_chooses_another_handler_by_a_registered_name_only(folder):
    folder.write("jqcli.toml", f'[handlers.other]\nspec = "{DEEDS}:other"\n')
    folder.write(
        "jobs.jsonl",
        [
            {"payload": 1, "handler": "other"},
            {"payload": 1},
            {"payload": 2, "handler": "othr"},
            {"payload": 3, "handler": f"{DEEDS}:other"},
        ],
    )
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    results = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert {record["id"]: record["result"] for record in results} == {"jobs:1": "other", "jobs:2": {"payload": 1}}
    letters = [json.loads(line) for line in (folder / "jobs.dlq.jsonl").read_text().splitlines()]
    assert [letter["reason"] for letter in letters] == ["invalid_job"] * 2
    assert "other" in letters[0]["error"]["message"]


def test_envelopes_and_raw_values_are_told_apart_and_the_format_settles_it(folder):
    folder.write("jobs.jsonl", [{"payload": 1}, {"n": 2}])
    assert [r["result"]["payload"] for r in folder.run("jobs.jsonl", "-k", code=0).records] == [1, {"n": 2}]
    raw = folder.run("jobs.jsonl", "-k", "--input-format", "raw", code=0)
    assert [r["result"]["payload"] for r in raw.records] == [{"payload": 1}, {"n": 2}]
    envelope = folder.run("jobs.jsonl", "-k", "--input-format", "envelope", code=1)
    assert [r["result"]["payload"] for r in envelope.records] == [1]


def test_in_this_process_the_same_comes_out(folder):
    folder.write("jobs.jsonl", [1, 1, {"do": "skip"}, {"do": "reject"}, {"do": "flaky", "times": 1}, {"do": "speak"}])
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", "-j", "0", "--backoff-base", "1ms", code=1)
    assert ran.out == b""
    assert folder.check().statuses == {"completed": 3, "duplicate": 1, "skipped": 1, "dead": 1}
    piped = folder.run("jobs.jsonl", "-j", "0", "--backoff-base", "1ms", code=1)
    assert len(piped.records) == 5


def test_a_full_disk_is_74_and_names_the_file(folder):
    folder.write("jobs.jsonl", [1])
    ran = folder.run("jobs.jsonl", "-o", "/dev/full", code=74)
    assert "/dev/full" in ran.err


def test_a_file_that_may_not_grow_ends_in_whole_lines_and_the_same_command_goes_on(folder):
    folder.write("jobs.jsonl", [{"n": n, "do": "return_large"} for n in range(300)])
    ran = folder.shell("ulimit -f 1100; $JQ jobs.jsonl -o results.jsonl")  # KiB; a worker's memory needs 1,025
    assert ran.code == 74, ran.err
    assert "results.jsonl" in ran.err
    assert (folder / "results.jsonl").read_bytes().endswith(b"\n")
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    assert folder.check(deaths=1).statuses == {"completed": 300}


def test_letters_that_cannot_be_written_do_not_count_and_the_same_command_goes_on(folder):
    """Law 1: the summary says what the files hold, also where the disk is full in the middle of it."""
    folder.write("jobs.jsonl", [{"n": n, "do": "reject"} for n in range(4000)])
    ran = folder.shell("ulimit -f 1100; $JQ jobs.jsonl -o results.jsonl --summary json")  # KiB, as above
    assert ran.code == 74, ran.err
    assert "jobs.dlq.jsonl" in ran.err
    written = len(oracle.read_lines(folder / "jobs.dlq.jsonl"))
    assert 0 < ran.summary["dead"] == written < 4000
    assert sum(group["count"] for group in ran.summary["errors"]) == written
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    assert folder.check(deaths=1).statuses == {"dead": 4000}


def test_a_dead_letter_file_that_cannot_be_closed_is_74_and_the_summary_is_said(folder):
    (folder / "dlq").mkdir()
    folder.write("jobs.jsonl", [{"do": "wait", "file": "go"}])
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "-d", "dlq/jobs.jsonl", "--summary", "json")
    wait_for(folder.pids)
    shutil.rmtree(folder / "dlq")
    folder.write("go", "")
    said = child.communicate(timeout=LIMIT)[1].decode()
    assert child.returncode == 74, said
    assert json.loads(said.splitlines()[0])["completed"] == 1
    assert said.splitlines()[1].startswith("jq-run: dlq/jobs.jsonl: No such file")


def test_what_ended_the_run_is_said_also_where_the_dead_letter_file_cannot_be_closed(folder):
    (folder / "dlq").mkdir()
    folder.write("jobs.jsonl", [{"do": "wait", "file": "go"}, *({"do": "return_large", "n": n} for n in range(100))])
    child = folder.start("jobs.jsonl", "-d", "dlq/jobs.jsonl", "-k", "-j", "1")
    wait_for(folder.pids)
    shutil.rmtree(folder / "dlq")
    child.stdout.close()
    folder.write("go", "")
    assert child.wait(LIMIT) == 141
    assert child.stderr.read() == b""


def test_lines_that_are_too_long_are_buried_as_they_come_and_a_signal_is_heard_among_them(folder):
    """Nothing else gives the loop a turn where there is nothing else, and memory has a bound."""
    folder.write("jobs.jsonl", (b"x" * 20 + b"\n") * 200_000)
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", "--max-line", "10")
    dlq = folder / "jobs.dlq.jsonl"
    wait_for(lambda: dlq.exists() and dlq.stat().st_size > 10_000)
    child.terminate()
    assert child.wait(LIMIT) == 143
    assert len(oracle.read_lines(dlq)) < 200_000


def test_a_run_whose_lines_are_all_buried_unread_ends_at_once(folder):
    """Else it waits for the next look at the files, a second after the first; the best of some shows that."""
    folder.write("jobs.jsonl", ["x" * 100] * 3)
    words = ("jobs.jsonl", "-o", "results.jsonl", "--max-line", "10", "--fresh", "--summary", "json")
    assert min(json.loads(folder.run(*words, code=1).err)["duration"] for _ in range(4)) < 0.9


@pytest.mark.parametrize("name", ["it's \x1b[31m\n", "\udcff", "a b" * 70])
def test_the_retry_command_can_be_copied_whatever_the_files_name(folder, name):
    folder.write("jobs.jsonl", [{"do": "reject"}])
    folder.take(DEEDS)
    ran = folder.run("jobs.jsonl", "-H", "deeds.py:do", "-o", "results.jsonl", "-d", name, code=1)
    command = ran.err.partition("retry with")[2].strip().removeprefix("jq-run")
    jq_run = " ".join(folder.argv(deed=False))
    again = folder.shell(f"{jq_run} {command}")
    assert again.code == 1, again.err
    assert "1 dead letter" in again.err
    listed = folder.run("dlq", name, deed=False, code=0).out.decode()
    command = next(line for line in listed.splitlines() if "jq-run" in line).strip().removeprefix("jq-run")
    assert folder.shell(f"{jq_run} {command}").code == 1


def test_an_unreadable_input_is_named(folder):
    folder.write("jobs.jsonl.gz", gzip.compress(b'{"n": 1}\n' * 1000)[:-20])
    ran = folder.run("jobs.jsonl.gz", code=74)
    assert "jobs.jsonl.gz" in ran.err


def test_without_words_at_a_terminal_help_is_shown_and_nothing_waits(folder):
    screen = folder.screen(deed=False)
    assert screen.end() == 2
    assert b"HANDLER" in screen.seen.upper()


def test_a_run_to_stdout_does_not_go_on_from_letters_of_an_earlier_one(folder):
    """DESIGN section 5: nothing is read back, letters of earlier runs settle nothing."""
    folder.write("jobs.jsonl", [1, {"do": "reject"}])
    folder.run("jobs.jsonl", code=1)
    folder.run("jobs.jsonl", code=1)
    assert folder.log.count({"do": "reject"}) == 2


def test_a_worker_that_is_idle_costs_nothing_and_the_end_of_stdin_ends_the_run(folder):
    child = folder.start("-")
    child.stdin.write(b"1\n")
    child.stdin.flush()
    child.stdout.readline()
    child.stdin.close()
    wait_for(lambda: child.poll() is not None, 5)
    assert child.returncode == 0


def test_pipes_with_a_name_are_inputs_too(folder):
    ran = folder.shell("$JQ <(echo 1; echo 2) <(echo 3) -k")
    assert ran.code == 0, ran.err
    assert [record["result"]["payload"] for record in ran.records] == [1, 2, 3]


def test_equal_lines_of_two_files_are_done_once(folder):
    folder.write("jobs.jsonl", [1, 2])
    folder.write("more.jsonl", [1, 2])
    ran = folder.run("jobs.jsonl", "more.jsonl", code=0)
    assert sorted(record["status"] for record in ran.records) == ["completed", "completed", "duplicate", "duplicate"]
    assert len(folder.log) == 2


def test_results_may_go_to_a_pipe_with_a_name(folder):
    folder.write("jobs.jsonl", [1, 2])
    ran = folder.shell("mkfifo pipe; cat pipe > got & $JQ jobs.jsonl -o pipe; code=$?; wait; cat got; exit $code")
    assert ran.code == 0, ran.err
    assert len(ran.records) == 2


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_handler_that_goes_to_another_folder_takes_no_file_of_the_run_there(folder, workers):
    (folder / "sub").mkdir()
    code = "import os\ndef go(n):\n    os.chdir('sub') if n == 1 else None\n    assert n != 3\n    return os.getcwd()\n"
    (folder / "go.py").write_text(code)
    folder.write("jobs.jsonl", [1, 2, 3, 4])
    files = ("--status-file", "status", "--metrics-file", "m.prom", "--report", "r.html", "--store", "s.db")
    words = ("-j", workers, "-b", "1", "-r", "1", *files)
    folder.run("jobs.jsonl", "-H", "go.py:go", "-o", "results.jsonl", *words, code=1, deed=False)
    records = oracle.read_lines(folder / "results.jsonl")
    assert [record["result"] for record in records] == [str(folder / "sub")] * 3
    assert len(oracle.read_lines(folder / "jobs.dlq.jsonl")) == 1
    assert all((folder / name).exists() for name in ("status", "m.prom", "r.html", "s.db"))
    assert list((folder / "sub").iterdir()) == []
