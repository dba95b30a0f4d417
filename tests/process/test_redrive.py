"""Laws of `jq-run dlq retry`: what completes leaves the file, what fails stays, and nothing is lost or double."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys

import pytest

from tests import oracle
from tests.command import ROOT, wait_for

pytestmark = pytest.mark.walk

MEND = ROOT / "tests" / "process" / "mend.py"
ONCE = ("-r", "1", "-j", "1", "--summary", "none")


@pytest.fixture(autouse=True)
def mend(folder):
    folder.take(MEND)


def lines_of_all_kinds(count):
    """Jobs with ids of their own and made-up ones, with given keys, with duplicates, and lines that are no jobs."""
    jobs = []
    for n in range(count):
        payload = {"n": n}
        if n % 4 == 1:
            jobs.append({"id": f"own-{n}", "payload": payload})
        elif n % 4 == 2:
            jobs.append({"key": f"k{n}", "payload": payload})
        else:
            jobs.append(payload)
    return [*jobs, {"n": 1}, {"id": "twin", "payload": {"n": 2}}, {"id": 10**20, "payload": {"n": 5}}]


def bury(folder, jobs, *words):
    """Run jobs that all die; each gets its letter."""
    (folder / "round").write_text("0")
    folder.write("jobs.jsonl", jobs)
    folder.run("jobs.jsonl", "-H", "mend.py:third", "-o", "results.jsonl", *ONCE, *words, code=1)
    assert not (folder / "results.jsonl").read_bytes()


def retry(folder, *words, code=None, **more):
    return folder.run("dlq", "retry", "jobs.dlq.jsonl", *ONCE, *words, code=code, deed=False, **more)


def test_json_and_another_summary_contradict_each_other_and_nothing_runs(folder):
    bury(folder, [{"n": 1}])
    before = (folder / "jobs.dlq.jsonl").read_bytes()
    ran = retry(folder, "--json", code=2)
    assert "--json contradicts --summary none: leave one of them out" in ran.err
    assert (folder / "jobs.dlq.jsonl").read_bytes() == before


def write_waiting(folder, end):
    """Write wait.py, whose handler says `started`, waits for the file `go`, and ends so."""
    (folder / "wait.py").write_text(
        "import os, time\n"
        "def third(payload):\n"
        "    open('started', 'w').close()\n"
        "    while not os.path.exists('go'):\n"
        "        time.sleep(0.01)\n"
        f"    {end}\n"
    )


def letters(folder, name="jobs.dlq.jsonl"):
    return oracle.read_lines(folder / name)


def check(folder, retries=1, deaths=0):
    """Let the oracle count; attempts start afresh in each retry, so it may have executed as often as that more."""
    return folder.check(deaths=retries + deaths)


def nothing_is_left_beside(folder):
    return not [name for name in os.listdir(folder.path) if ".redrive" in name]


def without_life(letter):
    """Return what of a letter must not change, whatever its job dies of next."""
    names = ("id", "key", "payload_hash", "job", "source", "handler", "cwd", "output", "input_format", "tenant")
    return {name: letter.get(name) for name in names}


def test_three_rounds_with_a_handler_that_mends_a_third_each_time(folder):
    jobs = lines_of_all_kinds(30)
    bury(folder, jobs)
    first = {oracle.canonical(letter["id"]): letter for letter in letters(folder)}
    numbers = {
        oracle.canonical(letter["id"]): letter["job"].get("payload", letter["job"])["n"] for letter in first.values()
    }
    for mended in (1, 2, 3):
        (folder / "round").write_text(str(mended))
        retry(folder, code=0 if mended == 3 else 1)
        count = check(folder, retries=mended)
        assert set(count.letters) == {name for name, n in numbers.items() if n % 3 >= mended}
        for name, letter in count.letters.items():
            assert without_life(letter) == without_life(first[name])
            assert letter["redrives"] == mended
            assert len(letter["history"]) == (0 if letter["reason"] == "duplicate_of_dead" else 1 + mended)
        assert nothing_is_left_beside(folder)
    assert not (folder / "jobs.dlq.jsonl").exists()
    assert count.statuses == {"completed": 31, "duplicate": 2}


def test_a_made_up_id_is_the_letters_also_in_the_handlers_context(folder):
    bury(folder, [{"n": 0}, {"n": 3}])
    (folder / "round").write_text("3")
    retry(folder, "--id", "jobs:2", code=0)
    (record,) = oracle.read_lines(folder / "results.jsonl")
    assert (record["id"], record["result"]["id"]) == ("jobs:2", "jobs:2")
    assert [letter["id"] for letter in letters(folder)] == ["jobs:1"]


def test_a_job_that_completed_meanwhile_is_not_run_again_for_its_duplicate(folder):
    """Law 2 holds over redrives: the duplicate's letter gets the first's result."""
    bury(folder, [{"id": "a", "payload": {"n": 0}}, {"id": "b", "payload": {"n": 0}}])
    (folder / "round").write_text("3")
    retry(folder, "--id", "a", code=0)
    retry(folder, "--id", "b", code=0)
    assert len(folder.log) == 2
    assert check(folder).statuses == {"completed": 1, "duplicate": 1}


def test_lines_with_one_id_and_one_key_are_letters_of_their_own(folder):
    bury(folder, [{"id": "same", "payload": {"n": 1}}] * 3)
    retry(folder, code=1)
    assert len(letters(folder)) == 3
    folder.run("jobs.jsonl", "-H", "mend.py:third", "-o", "results.jsonl", *ONCE, code=1)
    assert (len(letters(folder)), len(folder.log)) == (3, 2)
    (folder / "round").write_text("3")
    retry(folder, "--limit", "2", code=0)
    assert len(letters(folder)) == 1
    retry(folder, code=0)
    assert [record["status"] for record in oracle.read_lines(folder / "results.jsonl")] == [
        "completed",
        "duplicate",
        "duplicate",
    ]


@pytest.mark.parametrize("words", [["--key", "user", "--tenant", "shop"], ["--input-format", "raw"]])
def test_what_the_first_run_said_of_lines_is_known_to_the_letters(folder, words):
    jobs = [{"n": n, "user": f"u{n}", "shop": "s", "id": f"x{n}", "payload": 1} for n in range(3)]
    if "raw" not in words:
        jobs = [{"n": n, "user": f"u{n}", "shop": "s"} for n in range(3)]
    bury(folder, jobs, *words)
    keys = {letter["key"] for letter in letters(folder)}
    retry(folder, code=1)
    assert {letter["key"] for letter in letters(folder)} == keys
    assert {letter["tenant"] for letter in letters(folder)} == ({"s"} if "--tenant" in words else {None})
    (folder / "round").write_text("3")
    retry(folder, code=0)
    assert {record["key"] for record in oracle.read_lines(folder / "results.jsonl")} == keys
    said = retry(folder, *(["--key", "n"] if "raw" not in words else ["--input-format", "auto"]))
    assert said.code == 0  # nothing is left that could contradict


def test_an_option_that_would_change_who_the_jobs_are_is_refused(folder):
    bury(folder, [{"n": 1, "user": "u"}], "--key", "user")
    before = (folder / "jobs.dlq.jsonl").read_bytes()
    assert "--key n" in retry(folder, "--key", "n", code=2).err
    assert "--input-format" in retry(folder, "--input-format", "raw", code=2).err
    assert (folder / "jobs.dlq.jsonl").read_bytes() == before
    assert nothing_is_left_beside(folder)


def test_results_that_went_to_stdout_go_there_again_and_their_letters_leave(folder):
    (folder / "round").write_text("0")
    folder.write("jobs.jsonl", lines_of_all_kinds(6))
    folder.run("jobs.jsonl", "-H", "mend.py:third", *ONCE, code=1)
    (folder / "round").write_text("2")
    ran = retry(folder, code=1)
    done = {record["id"] for record in ran.records}
    assert done
    assert not done & {letter["id"] for letter in letters(folder)}
    assert len(done) + len(letters(folder)) == 9


def test_letters_of_lines_that_are_no_jobs_are_left_and_counted(folder):
    (folder / "round").write_text("0")
    folder.write("jobs.jsonl", b'{"n":1}\n{broken\n{"payload":1,"idd":2}\n')
    folder.run("jobs.jsonl", "-H", "mend.py:third", "-o", "results.jsonl", *ONCE, code=1)
    (folder / "round").write_text("3")
    ran = retry(folder, code=0)
    assert "1 letter is left as before: of lines that are no JSON" in ran.err
    assert "1 letter is left as before: of lines that are no jobs" in ran.err
    assert "unknown member" in ran.err
    assert [letter["reason"] for letter in letters(folder)] == ["invalid_json", "invalid_job"]


def test_a_line_that_has_become_a_job_is_run_and_its_letter_leaves(folder):
    (folder / "round").write_text("3")
    folder.write("jobs.jsonl", [{"id": "a", "handler": "late", "payload": {"n": 1}}])
    folder.run("jobs.jsonl", "-H", "mend.py:third", "-o", "results.jsonl", *ONCE, code=1)
    assert letters(folder)[0]["reason"] == "invalid_job"
    folder.write("jqcli.toml", '[handlers.late]\nspec = "mend.py:third"\n')
    retry(folder, code=0)
    assert oracle.read_lines(folder / "results.jsonl")[0]["id"] == "a"
    assert not (folder / "jobs.dlq.jsonl").exists()


def test_a_line_that_has_become_a_job_which_completed_before_is_its_duplicate(folder):
    (folder / "round").write_text("3")
    words = ("-H", "mend.py:third", "-o", "results.jsonl", "-d", "jobs.dlq.jsonl", *ONCE)
    folder.write("jobs.jsonl", [{"id": "a", "handler": "late", "payload": {"n": 1}}])
    folder.run("jobs.jsonl", *words, code=1)
    folder.write("jqcli.toml", '[handlers.late]\nspec = "mend.py:third"\n')
    folder.write("more.jsonl", [{"id": "b", "handler": "late", "payload": {"n": 1}}])
    folder.run("more.jsonl", *words, code=0)
    retry(folder, code=0)
    records = oracle.read_lines(folder / "results.jsonl")
    assert [(record["id"], record["status"]) for record in records] == [("b", "completed"), ("a", "duplicate")]


def test_whose_key_it_is_runs_before_who_came_into_conflict_with_it(folder):
    jobs = [{"id": "owner", "key": "K", "payload": {"n": 1}}, {"id": "thief", "key": "K", "payload": {"n": 2}}]
    folder.write("jobs.jsonl", jobs)
    words = ("jobs.jsonl", "-H", "mend.py:third", "-o", "results.jsonl", "-r", "2", "--backoff-base", "200ms")
    folder.run(*words, code=1)
    assert [letter["id"] for letter in letters(folder)] == ["thief", "owner"], "the owner has died last"
    (folder / "round").write_text("3")
    retry(folder, code=1)
    assert [record["id"] for record in oracle.read_lines(folder / "results.jsonl")] == ["owner"]
    assert [(letter["id"], letter["reason"]) for letter in letters(folder)] == [("thief", "key_conflict")]


def test_where_nothing_is_to_be_run_nothing_is_and_the_dlq_stays_as_it_was(folder):
    bury(folder, [{"n": 1}, {"n": 2}])
    before = (folder / "jobs.dlq.jsonl").read_bytes()
    wanted = "retry has no dry run; `jq-run dlq list`"
    assert wanted in retry(folder, code=2, JQ_RUN_DRY_RUN="1").err
    (folder / "jqcli.toml").write_text("dry_run = true\n")
    assert wanted in retry(folder, code=2).err
    (folder / "jqcli.toml").unlink()
    assert wanted in retry(folder, "-n", code=2).err
    assert (folder / "jobs.dlq.jsonl").read_bytes() == before
    assert nothing_is_left_beside(folder)


def test_a_job_that_is_named_and_is_not_there_is_said_to_be_missing_and_no_other_filter_is(folder):
    bury(folder, [{"n": 1}])
    assert "nothing to do, no letter is to be retried" in retry(folder, "--id", "jobs:7", code=0).err
    assert retry(folder, "--tenant", "nobody", code=0).err == ""


def test_max_redrives_leaves_what_was_retried_so_often(folder):
    bury(folder, [{"n": 1}])
    retry(folder, "--max-redrives", "1", code=1)
    ran = retry(folder, "--max-redrives", "1", code=0)
    assert "1 letter is left as before: retried as often as --max-redrives allows" in ran.err
    assert letters(folder)[0]["redrives"] == 1


def test_a_finished_command_settles_no_line_twice_and_the_first_command_has_nothing_to_do(folder):
    bury(folder, lines_of_all_kinds(12))
    (folder / "round").write_text("2")
    retry(folder, code=1)
    before = [(folder / name).read_bytes() for name in ("results.jsonl", "jobs.dlq.jsonl", "log.jsonl")]
    folder.run("jobs.jsonl", "-H", "mend.py:third", "-o", "results.jsonl", *ONCE, code=1)
    assert [(folder / name).read_bytes() for name in ("results.jsonl", "jobs.dlq.jsonl", "log.jsonl")] == before


@pytest.mark.parametrize("words", [["-k"], ["-j", "0"], ["--dedupe", "off"], ["-j", "2", "-b", "3"], ["-o", "o.jsonl"]])
def test_a_retry_takes_the_options_of_a_run(folder, words):
    jobs = lines_of_all_kinds(12)
    bury(folder, jobs)
    (folder / "round").write_text("1")
    folder.run("dlq", "retry", "jobs.dlq.jsonl", *ONCE[:2], "--summary", "none", *words, deed=False, code=1)
    count = folder.check("o.jsonl" if "-o" in words else "results.jsonl", deaths=9)
    assert len(count.results) == 4
    assert {letter["redrives"] for letter in count.dead} == {1}
    if "-k" in words:
        assert [record["id"] for record in count.results] == ["jobs:1", "jobs:4", "jobs:7", "own-9"]


# Whose handler it is


def test_a_handler_that_others_can_write_to_is_not_used_unasked(folder):
    code = MEND.read_text()
    (folder / "tasks.py").write_text(code)
    (folder / "round").write_text("0")
    folder.write("jobs.jsonl", [{"n": 1}])
    folder.run("jobs.jsonl", "-H", "tasks.py:third", "-o", "results.jsonl", *ONCE, code=1)
    (folder / "tasks.py").chmod(0o666)
    ran = retry(folder, code=2)
    assert "can be written to by others" in ran.err
    assert "name it with -H" in ran.err
    assert "-H HANDLER" in folder.run("dlq", "jobs.dlq.jsonl", deed=False).out.decode()
    retry(folder, "-H", "tasks.py:third", code=1)
    (folder / "tasks.py").chmod(0o644)
    folder.path.chmod(0o777)
    retry(folder, code=2)
    folder.path.chmod(0o755)
    (folder / "round").write_text("3")
    retry(folder, code=0)


def test_a_handler_of_another_name_runs_only_where_it_is_named_on_the_command_line(folder):
    bury(folder, [{"n": 1}])
    (folder / "round").write_text("3")
    folder.write("jqcli.toml", f'handler = "{ROOT}/tests/process/deeds.py:plain"\n')
    assert "say with -H which is to run" in retry(folder, code=2).err
    retry(folder, "-H", f"{ROOT}/tests/process/deeds.py:plain", code=0)
    assert check(folder).statuses == {"completed": 1}


def test_a_handler_of_one_name_in_two_folders_is_not_guessed(folder):
    bury(folder, [{"n": 1}, {"n": 2}])
    text = (folder / "jobs.dlq.jsonl").read_text()
    folder.write("jobs.dlq.jsonl", text.replace(f'"cwd":"{folder.path}"', '"cwd":"/elsewhere"', 1))
    assert "in several folders" in retry(folder, code=2).err
    retry(folder, "-H", "mend.py:third", code=1)


def test_letters_of_several_handlers_are_retried_one_after_the_other(folder):
    bury(folder, [{"n": 1}])
    folder.write("more.jsonl", [{"do": "fail"}])
    folder.run("more.jsonl", "-o", "more.results.jsonl", "-d", "jobs.dlq.jsonl", *ONCE, code=1)
    assert "several handlers" in retry(folder, code=2).err
    (folder / "round").write_text("3")
    retry(folder, "--from-handler", "mend.py:third", code=0)
    assert [letter["id"] for letter in letters(folder)] == ["more:1"]


# Crashes


def die(folder, number, how, *words):
    """Run a retry that is killed at its Nth change of a file; tell whether it was."""
    argv = [sys.executable, "-m", "tests.process.dying", str(number), how, "dlq", "retry", "jobs.dlq.jsonl", *words]
    done = subprocess.run(argv, cwd=folder.path, env=folder.env(), capture_output=True, timeout=60, check=False)
    assert done.returncode in (0, 1, -signal.SIGKILL), done.stderr
    return done.returncode == -signal.SIGKILL


def is_over(folder, kept):
    """Tell whether nothing was left to do when it was killed, so that the same command begins a round of its own."""
    log = folder / "jobs.dlq.jsonl.redrive"
    return (folder / "jobs.dlq.jsonl").read_bytes() != kept["jobs.dlq.jsonl"] and not (
        log.exists() and log.stat().st_size
    )


def restore(folder, kept):
    for name in os.listdir(folder.path):
        if name not in kept and "jsonl" in name:
            os.unlink(folder / name)
    for name, data in kept.items():
        (folder / name).write_bytes(data)


def keep(folder):
    return {name: (folder / name).read_bytes() for name in os.listdir(folder.path) if "jsonl" in name}


@pytest.mark.parametrize("how, fewest", [("before", 15), ("half", 5)])
def test_killed_at_every_change_of_a_file_the_same_command_ends_with_the_right_answer(folder, how, fewest):
    jobs = [{"n": 0}, {"id": "own", "payload": {"n": 1}}, {"n": 2}, {"key": "k", "payload": {"n": 3}}, {"n": 0}]
    bury(folder, jobs)
    kept = keep(folder)
    (folder / "round").write_text("1")
    number, words = 0, (*ONCE, "-b", "1", "--durability", "full")
    while True:
        number += 1
        restore(folder, kept)
        if not die(folder, number, how, *words):
            break
        rounds = 2 if is_over(folder, kept) else 1
        retry(folder, *words[len(ONCE) :], code=1)
        count = check(folder, deaths=1)
        assert count.statuses == {"completed": 2, "duplicate": 1, "dead": 2}, number
        assert {letter["redrives"] for letter in count.dead} == {rounds}, number
        assert {len(letter["history"]) for letter in count.dead} == {1 + rounds}, number
        assert nothing_is_left_beside(folder)
    assert number > fewest


@pytest.mark.parametrize("command", [["summary"], ["drop", "--reason", "expired"]])
def test_killed_at_every_change_any_other_command_first_finishes_what_is_settled(folder, command):
    bury(folder, [{"n": 0}, {"n": 1}])
    kept = keep(folder)
    (folder / "round").write_text("1")
    number = 0
    while True:
        number += 1
        restore(folder, kept)
        if not die(folder, number, "half", *ONCE, "-b", "1"):
            break
        folder.run("dlq", command[0], "jobs.dlq.jsonl", *command[1:], deed=False, code=0)
        assert nothing_is_left_beside(folder)
        whole = [json.loads(line) for line in (folder / "results.jsonl").read_bytes().split(b"\n")[:-1]]
        assert {letter["id"] for letter in letters(folder)} == {"jobs:1", "jobs:2"} - {each["id"] for each in whole}
        retry(folder, code=1)
        assert check(folder, retries=2, deaths=1).statuses == {"completed": 1, "dead": 1}


def test_a_run_with_the_same_dlq_first_finishes_what_a_dead_redrive_left(folder):
    bury(folder, [{"n": 0}, {"n": 1}, {"n": 3}])
    kept = keep(folder)
    (folder / "round").write_text("1")
    for number in range(3, 12):
        restore(folder, kept)
        if not die(folder, number, "half", *ONCE, "-b", "1"):
            break
        folder.run("jobs.jsonl", "-H", "mend.py:third", "-o", "results.jsonl", *ONCE, code=1)
        check(folder, deaths=1)
        assert nothing_is_left_beside(folder)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_again_and_again_while_it_goes_on(folder, seed):
    chance = random.Random(seed)
    bury(folder, lines_of_all_kinds(40))
    (folder / "round").write_text("2")
    words = (*ONCE[:2], "-j", "2", "--summary", "none", "-b", str(chance.choice([1, 7])))
    deaths = sum(die(folder, chance.randint(2, 30), chance.choice(["before", "half"]), *words) for _ in range(8))
    assert deaths
    folder.run("dlq", "retry", "jobs.dlq.jsonl", *words, deed=False)
    count = check(folder, retries=9 - deaths, deaths=deaths)
    wanted = sum(n % 3 == 2 for n in [*range(40), 1, 2, 5])
    assert len(count.dead) == wanted
    assert nothing_is_left_beside(folder)


def test_jobs_that_died_again_before_the_kill_are_not_tried_twice(folder):
    bury(folder, [{"n": 2}, {"n": 5}, {"n": 8}])
    log, number, died = folder / "jobs.dlq.jsonl.redrive", 0, b""
    while b'{"again"' not in died:
        number += 1
        assert number < 40
        assert die(folder, number, "before", *ONCE, "-b", "1"), "it ended before it was killed behind a letter"
        died = log.read_bytes() if log.exists() else b""
    settled = [n for n in (2, 5, 8) if re.search(rb'"job":\{"n": ?%d\}' % n, died)]
    assert settled
    started = len(folder.log)
    retry(folder, "-b", "1", code=1)
    assert len(letters(folder)) == 3
    assert {letter["redrives"] for letter in letters(folder)} == {1}
    ran = [payload["n"] for payload in folder.log[started:]]
    assert set(ran).isdisjoint(settled)


@pytest.mark.parametrize("point", ["redrive.sync:1", "redrive.sync:2", "merge.sync:1", "merge.sync:2"])
def test_a_sync_that_fails_ends_the_retry_and_the_same_command_goes_on(folder, point):
    jobs = [{"n": 1}, {"id": "own", "payload": {"n": 2}}, {"n": 3}]
    bury(folder, jobs)
    (folder / "round").write_text("1")
    words = ("--durability", "full")
    assert "while syncing" in retry(folder, *words, code=74, JQ_RUN_FAILPOINT=f"{point}:EIO").err
    retry(folder, *words, code=1)
    check(folder, retries=2)
    assert nothing_is_left_beside(folder)


def test_an_emptying_of_its_file_that_fails_names_it_and_the_same_command_goes_on(folder):
    bury(folder, [{"n": 1}, {"n": 2}, {"n": 3}])
    (folder / "round").write_text("1")
    failed = retry(folder, code=74, JQ_RUN_FAILPOINT="redrive.restart:1:EIO")
    assert "jobs.dlq.jsonl.redrive: Input/output error" in failed.err
    retry(folder, code=1)
    check(folder, retries=2)
    assert nothing_is_left_beside(folder)


def test_killed_behind_its_last_change_of_the_dlq_the_same_command_takes_up_no_other_letter(folder):
    """With --limit the letters that are left would be the next ones: their results would have no merge any more."""
    bury(folder, [{"n": 0}, {"n": 1}, {"n": 3}])
    (folder / "round").write_text("1")
    retry(folder, "--limit", "2", code=-signal.SIGKILL, JQ_RUN_FAILPOINT="redrive.restart:1:kill")
    assert "nothing to do" in retry(folder, "--limit", "2", code=1).err
    assert check(folder, deaths=1).statuses == {"completed": 1, "dead": 2}
    assert nothing_is_left_beside(folder)
    retry(folder, code=1)
    assert check(folder, retries=2, deaths=1).statuses == {"completed": 2, "dead": 1}


def test_another_choice_than_the_killed_one_is_a_redrive_of_its_own(folder):
    bury(folder, [{"n": 2}, {"n": 5}])
    number = 4
    while (
        not (folder / "jobs.dlq.jsonl.redrive").exists()
        or b'{"again"' not in (folder / "jobs.dlq.jsonl.redrive").read_bytes()
    ):
        number += 1
        assert die(folder, number, "before", *ONCE, "-b", "1")
    retry(folder, "--reason", "max_attempts", code=1)
    assert len(letters(folder)) == 2
    assert max(letter["redrives"] for letter in letters(folder)) == 2


def kill(folder, point):
    """Let a retry of one job at a time be killed as it comes to a point."""
    retry(folder, "-b", "1", code=-signal.SIGKILL, JQ_RUN_FAILPOINT=f"{point}:kill")


def test_a_record_from_before_the_redrive_settles_no_letter_of_the_same_identity(folder):
    bury(folder, [{"id": "same", "payload": {"n": 1}}] * 2)
    (folder / "round").write_text("3")
    retry(folder, "--limit", "1", code=0)
    kill(folder, "results.append:1")
    retry(folder, "-b", "1", code=0)
    assert check(folder, retries=2, deaths=1).statuses == {"completed": 1, "duplicate": 1}


def test_a_redrive_that_goes_on_takes_up_no_letter_that_another_run_appended_meanwhile(folder):
    bury(folder, [{"n": 1}, {"n": 2}])
    kill(folder, "append:2")  # behind the header
    *_, last = (folder / "jobs.dlq.jsonl").read_text().splitlines(keepends=True)
    with open(folder / "jobs.dlq.jsonl", "a") as file:
        file.write(last.replace('"jobs:2"', '"late:1"'))
    (folder / "round").write_text("3")
    retry(folder, "-b", "1", code=0)
    assert [letter["id"] for letter in letters(folder)] == ["late:1"]
    assert [record["id"] for record in oracle.read_lines(folder / "results.jsonl")] == ["jobs:1", "jobs:2"]


def test_with_other_results_than_the_killed_one_it_is_a_redrive_of_its_own(folder):
    bury(folder, [{"n": 0}, {"n": 3}])
    (folder / "round").write_text("1")
    kill(folder, "results.append:2")
    retry(folder, "-o", "other.jsonl", code=0)
    done = [oracle.read_lines(folder / name) for name in ("results.jsonl", "other.jsonl")]
    assert [[record["id"] for record in records] for records in done] == [["jobs:1"], ["jobs:2"]]
    assert not (folder / "jobs.dlq.jsonl").exists()
    assert nothing_is_left_beside(folder)


def test_a_redrive_that_goes_on_counts_what_the_killed_one_came_to(folder):
    bury(folder, [{"n": 1}, {"n": 0}, {"n": 4}, {"n": 3}])
    (folder / "round").write_text("1")
    kill(folder, "append:3")  # behind the header and a letter
    log = (folder / "jobs.dlq.jsonl.redrive").read_bytes()
    dead, done = log.count(b'{"again"'), len(oracle.read_lines(folder / "results.jsonl"))
    words = ("dlq", "retry", "jobs.dlq.jsonl", *ONCE[:4], "--json", "--max-failures", "2")
    summary = json.loads(folder.run(*words, deed=False, code=1).err)
    assert dead == 1
    assert (summary["read"], summary["completed"], summary["dead"]) == (4, 2, 2)
    assert (summary["settled_before"], summary["attempts"]) == (dead + done, 4 - dead - done)


# Others at the same time


def test_letters_that_another_run_appends_meanwhile_are_kept(folder):
    bury(folder, [{"n": 0}, {"n": 1}])
    (folder / "round").write_text("1")
    folder.write("jobs2.jsonl", [{"do": "fail"}])
    write_waiting(folder, "return payload")
    child = folder.start("dlq", "retry", "jobs.dlq.jsonl", "-H", "wait.py:third", *ONCE, deed=False)
    wait_for((folder / "started").exists)
    folder.run("jobs2.jsonl", "-o", "other.jsonl", "-d", "jobs.dlq.jsonl", *ONCE, code=1)
    ran = folder.run("dlq", "list", "jobs.dlq.jsonl", deed=False, code=0)
    assert "is being retried" in ran.err
    assert len(ran.out.splitlines()) == 3
    assert folder.run("dlq", "retry", "jobs.dlq.jsonl", *ONCE, deed=False).code == 75
    assert folder.run("dlq", "drop", "--all", "jobs.dlq.jsonl", deed=False).code == 75
    (folder / "go").write_text("")
    assert child.wait(20) == 0
    assert [letter["id"] for letter in letters(folder)] == ["jobs2:1"]
    assert nothing_is_left_beside(folder)


RETRY = ("retry", "-H", "dying.py:do", "-o", "other.jsonl", *ONCE)


@pytest.mark.parametrize("words", [RETRY, ("drop", "--all")])
def test_a_run_goes_on_whose_letters_are_all_retried_or_dropped_meanwhile(folder, words):
    """The file of letters is gone then, as it would be had nothing died."""
    child = start_dying(folder)
    (folder / "mended").write_text("")
    folder.run("dlq", words[0], "jobs.dlq.jsonl", *words[1:], deed=False, code=0)
    assert not (folder / "jobs.dlq.jsonl").exists()
    (folder / "go").write_text("")
    assert child.wait(60) == 1, child.stderr.read()
    assert [record["id"] for record in oracle.read_lines(folder / "results.jsonl")] == ["jobs:2"]
    assert nothing_is_left_beside(folder)


def test_a_run_stops_whose_letters_somebody_takes_away(folder):
    child = start_dying(folder)
    (folder / "jobs.dlq.jsonl").unlink()
    (folder / "go").write_text("")
    assert child.wait(60) == 74
    assert b"jobs.dlq.jsonl: was removed while this run wrote to it" in child.stderr.read()


def start_dying(folder):
    """Start a run whose first job has died, and whose second one waits for the file `go`."""
    folder.write("jobs.jsonl", ["die", "wait"])
    (folder / "dying.py").write_text(
        "import os, time\n"
        "def do(payload):\n"
        "    if payload == 'die' and not os.path.exists('mended'):\n"
        "        raise KeyError('no')\n"
        "    while payload == 'wait' and not os.path.exists('go'):\n"
        "        time.sleep(0.01)\n"
    )
    child = folder.start("jobs.jsonl", "-H", "dying.py:do", "-o", "results.jsonl", "-b", "1", *ONCE, deed=False)
    wait_for(lambda: letters(folder) if (folder / "jobs.dlq.jsonl").exists() else [])
    return child


def test_a_second_retry_waits_for_the_first_where_it_is_told_to(folder):
    bury(folder, [{"n": 0}])
    write_waiting(folder, "return None")
    words = ("dlq", "retry", "jobs.dlq.jsonl", "-H", "wait.py:third", *ONCE)
    first = folder.start(*words, deed=False)
    wait_for((folder / "started").exists)
    second = folder.start(*words, "--lock-wait", "60s", "-v", deed=False)
    assert b"waiting for it to end" in second.stderr.readline()
    (folder / "go").write_text("")
    assert (first.wait(60), second.wait(60)) == (0, 0)
    assert not (folder / "jobs.dlq.jsonl").exists()
    assert nothing_is_left_beside(folder)


def test_a_letter_is_written_again_where_somebody_took_the_dlq_away(folder):
    """As `--fresh` of another run does: a job that is dead is never without a letter."""
    bury(folder, [{"n": 0}, {"n": 1}])
    write_waiting(folder, "raise KeyError")
    child = folder.start("dlq", "retry", "jobs.dlq.jsonl", "-H", "wait.py:third", *ONCE, "--limit", "1", deed=False)
    wait_for((folder / "started").exists)
    os.rename(folder / "jobs.dlq.jsonl", folder / "set-aside.jsonl")
    (folder / "go").write_text("")
    assert child.wait(20) == 1
    assert [(letter["id"], letter["redrives"]) for letter in letters(folder)] == [("jobs:1", 1)]
    assert len(letters(folder, "set-aside.jsonl")) == 2


def test_an_interrupted_retry_goes_on_from_where_it_was(folder):
    bury(folder, [{"n": n} for n in range(6)])
    (folder / "wait.py").write_text(
        "import os, time\n"
        "def third(payload):\n"
        "    open(f'started-{payload[\"n\"]}', 'w').close()\n"
        "    if payload['n'] == 0:\n"
        "        raise KeyError('no')\n"
        "    while payload['n'] == 3 and not os.path.exists('go'):\n"
        "        time.sleep(0.01)\n"
        "    return payload\n"
    )
    words = ("dlq", "retry", "jobs.dlq.jsonl", "-H", "wait.py:third", *ONCE, "-b", "1", "--grace", "0")
    child = folder.start(*words, deed=False)
    wait_for((folder / "started-3").exists)
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 143
    (folder / "go").write_text("")
    folder.run(*words, deed=False, code=1)
    assert check(folder).statuses == {"completed": 5, "dead": 1}
    assert letters(folder)[0]["redrives"] == 1, "what died before the stop is not tried again after it"


# Changed jobs


def test_set_changes_the_payload_and_the_letter_of_the_old_one_leaves(folder):
    bury(folder, [{"id": "a", "payload": {"n": 1}}, {"n": 2, "big": 10**25}])
    (folder / "round").write_text("1")
    retry(folder, "--set", "n=3", "--set", 'why.not="so"', code=0)
    assert not (folder / "jobs.dlq.jsonl").exists()
    records = {record["id"]: record["result"]["payload"] for record in oracle.read_lines(folder / "results.jsonl")}
    assert records == {"a": {"n": 3, "why": {"not": "so"}}, "jobs:2": {"n": 3, "big": 10**25, "why": {"not": "so"}}}


def test_a_changed_job_that_dies_again_leaves_one_letter_with_the_new_line_and_the_old_history(folder):
    bury(folder, [{"id": "a", "payload": {"n": 1}}])
    (old,) = letters(folder)
    retry(folder, "--set", "n=4", code=1)
    (new,) = letters(folder)
    assert new["job"] == {"id": "a", "payload": {"n": 4}}
    assert new["key"] != old["key"]
    assert (new["source"], new["redrives"], len(new["history"])) == (old["source"], 1, 2)


def test_a_job_that_is_changed_into_one_that_completed_before_is_its_duplicate(folder):
    (folder / "round").write_text("1")
    folder.write("jobs.jsonl", [{"id": "a", "payload": {"n": 0}}, {"id": "b", "payload": {"n": 1}}])
    folder.run("jobs.jsonl", "-H", "mend.py:third", "-o", "results.jsonl", *ONCE, code=1)
    retry(folder, "--set", "n=0", code=0)
    assert len(folder.log) == 2
    assert oracle.read_lines(folder / "results.jsonl")[1]["duplicate_of"] == "a"


def test_a_wrong_change_is_refused_or_leaves_the_letter(folder):
    bury(folder, [{"n": 1}])
    before = (folder / "jobs.dlq.jsonl").read_bytes()
    assert "is no JSON; a text needs its quotes" in retry(folder, "--set", "n=x", code=2).err
    assert "take one of them" in retry(folder, "--set", "n=1", "--edit", code=2).err
    assert "of lines that --set does not fit" in retry(folder, "--set", "n.m=1", code=0).err
    assert (folder / "jobs.dlq.jsonl").read_bytes() == before


def test_jobs_that_become_one_by_a_change_have_a_letter_each_again(folder):
    bury(folder, [{"id": "same", "payload": {"n": 1}}, {"id": "same", "payload": {"n": 4}}])
    retry(folder, "--set", "n=2", code=1)
    assert [(letter["source"], letter["redrives"]) for letter in letters(folder)] == [
        ("jobs.jsonl:1", 1),
        ("jobs.jsonl:2", 1),
    ]


def test_a_line_that_a_change_makes_too_long_is_left(folder):
    bury(folder, [{"n": 1}, {"n": 4}])
    text = json.dumps("x" * 5000)
    ran = retry(folder, "--set", f"x={text}", "--max-line", "4KB", code=0)
    assert "2 letters are left as before: of lines longer than --max-line" in ran.err
    assert [letter["redrives"] for letter in letters(folder)] == [0, 0]


def test_a_letter_whose_line_is_of_another_job_is_left(folder):
    bury(folder, [{"id": "a", "payload": {"n": 1}}])
    text = (folder / "jobs.dlq.jsonl").read_text()
    (folder / "jobs.dlq.jsonl").write_text(re.sub(r'("job":\{"id": ?)"a"', r'\1"b"', text))
    assert "not of the identity that their line has" in retry(folder, code=0).err
    assert [(letter["id"], letter["redrives"]) for letter in letters(folder)] == [("a", 0)]


def test_equal_lines_that_end_their_reader_have_a_letter_each_again(folder):
    bury(folder, [{"n": 1, "x": "poison"}, {"n": 2}, {"n": 1, "x": "poison"}])
    retry(folder, "-H", f"{ROOT}/tests/process/poison.py:do", code=1)
    assert sorted((letter["id"], letter["source"], letter["redrives"]) for letter in letters(folder)) == [
        ("jobs:1", "jobs.jsonl:1", 1),
        ("jobs:3", "jobs.jsonl:3", 1),
    ]


EDITOR = """\
import sys
path = sys.argv[1]
lines = open(path).read().split("\\n")
assert [line for line in lines if line.startswith("#1 ")], lines
open(path, "w").write("\\n".join(line.replace("{broken", '{"n":3}').replace('"n":1', '"n":6') for line in lines))
"""


def edit(folder, *words, editor=EDITOR, **more):
    folder.write("editor.py", editor)
    return retry(folder, "--edit", *words, VISUAL=f"{sys.executable} editor.py", **more)


def test_edit_mends_jobs_and_lines_that_were_none(folder):
    (folder / "round").write_text("0")
    folder.write("jobs.jsonl", b'{"n":1}\n{broken\n{"id":"c","payload":{"n":2}}\n')
    folder.run("jobs.jsonl", "-H", "mend.py:third", "-o", "results.jsonl", *ONCE, code=1)
    (folder / "round").write_text("1")
    edit(folder, code=1)
    assert [letter["id"] for letter in letters(folder)] == ["c"]
    records = {record["id"]: record["result"]["payload"]["n"] for record in oracle.read_lines(folder / "results.jsonl")}
    assert records == {"jobs:1": 6, "jobs:2": 3}


def test_what_is_taken_out_in_the_editor_is_left(folder):
    bury(folder, [{"n": 1}, {"n": 4}])
    (folder / "round").write_text("3")
    ran = edit(folder, editor=EDITOR.replace("line.replace", "'' if '\"n\": 4' in line else line.replace"), code=0)
    assert "1 letter is left as before: taken out in the editor" in ran.err
    assert [letter["job"] for letter in letters(folder)] == [{"n": 4}]


def test_a_line_that_is_no_json_as_it_left_the_editor_is_left_and_named(folder):
    bury(folder, [{"id": "a", "payload": {"n": 1}}])
    before = (folder / "jobs.dlq.jsonl").read_bytes()
    ran = edit(folder, editor=EDITOR.replace("'\"n\":1'", "'\"payload\"'").replace("'\"n\":6'", "'payload'"), code=0)
    assert "1 letter is left as before: of lines that are no jobs" in ran.err
    assert "such as a: not JSON (" in ran.err
    assert (folder / "jobs.dlq.jsonl").read_bytes() == before


def test_what_came_out_of_the_editor_is_written_down_before_any_of_it_runs_and_shown_once(folder):
    bury(folder, b'{"n":1}\n{"n":1,"x":1}\n')
    (folder / "round").write_text("1")
    edit(folder, "-b", "1", code=-signal.SIGKILL, JQ_RUN_FAILPOINT="results.append:1:kill")
    edit(folder, "-b", "1", editor="import sys; sys.exit(3)", code=0)
    records = [record["result"]["payload"]["n"] for record in oracle.read_lines(folder / "results.jsonl")]
    assert records == [6, 6]


def test_an_editor_that_fails_changes_nothing(folder):
    bury(folder, [{"n": 1}])
    before = (folder / "jobs.dlq.jsonl").read_bytes()
    assert "ended with 3" in edit(folder, editor="import sys; sys.exit(3)", code=2).err
    assert (folder / "jobs.dlq.jsonl").read_bytes() == before
    assert nothing_is_left_beside(folder)


def test_killed_at_every_change_of_a_file_a_changed_job_has_one_outcome(folder):
    bury(folder, [{"id": "a", "payload": {"n": 1}}, {"id": "b", "payload": {"n": 1, "x": 1}}, {"n": 4}])
    kept = keep(folder)
    (folder / "round").write_text("1")
    words = (*ONCE, "-b", "1", "--set", "n=2", "--limit", "2")
    number = 0
    while True:
        number += 1
        restore(folder, kept)
        if not die(folder, number, "half", *words):
            break
        rounds = 2 if is_over(folder, kept) else 1
        retry(folder, *words[len(ONCE) :], code=1)
        assert [(each["id"], each["redrives"]) for each in letters(folder)] == [
            ("a", rounds),
            ("b", rounds),
            ("jobs:3", 0),
        ], number
        assert [letter["job"].get("payload", letter["job"])["n"] for letter in letters(folder)] == [2, 2, 4], number


# Many letters

MEASURED = """\
import sys
from jqcli.commands import main
code = main(sys.argv[1:])
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print("peak", peak, file=sys.stderr)
sys.exit(code)
"""


def test_memory_grows_with_the_number_of_letters_and_not_with_their_size(folder):
    """200 bytes a letter and 90 MiB for the program are allowed; a run takes some 45, and the letters are 100 MB."""
    count = 10_000
    bury(folder, [{"n": n} for n in range(count)], "-b", "auto")
    trace = "x" * 10_000
    with open(folder / "large.jsonl", "w") as file:
        for letter in letters(folder):
            letter["error"]["stacktrace"] = trace
            file.write(json.dumps(letter, separators=(",", ":")) + "\n")
    os.replace(folder / "large.jsonl", folder / "jobs.dlq.jsonl")
    assert (folder / "jobs.dlq.jsonl").stat().st_size > 100 * 10**6
    (folder / "round").write_text("2")
    for words in (["summary"], ["retry", *ONCE]):
        argv = [sys.executable, "-c", MEASURED, "dlq", words[0], "jobs.dlq.jsonl", *words[1:]]
        done = subprocess.run(argv, cwd=folder.path, env=folder.env(), capture_output=True, timeout=120, check=False)
        assert done.returncode == (1 if words[0] == "retry" else 0), done.stderr
        peak = int(done.stderr.decode().rpartition("peak ")[2])
        assert peak * 1024 < 90 * 2**20 + 200 * count, peak
    assert len(letters(folder)) == count // 3
