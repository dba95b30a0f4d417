"""Law 6: the files are the journal. Killed anywhere, the same command ends with the right answer."""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter

import pytest

from tests import oracle
from tests.command import DEEDS, is_alive, wait_for

FAST = ("--backoff-base", "1ms")


def mixed_jobs(count):
    """Lines of every kind, each with an id of its own where it can have one."""
    jobs = []
    for n in range(count):
        payload = {"n": n}
        if n % 10 == 3:
            payload["do"] = "reject"
        elif n % 10 == 5:
            payload |= {"do": "flaky", "times": 1}
        elif n % 10 == 7:
            payload["do"] = "skip"
        elif n % 10 == 8:
            payload = jobs[n - 4]  # a raw value, four lines above
        else:
            payload |= {"do": "pause", "seconds": 0.002}
        jobs.append({"id": f"j{n}", "payload": payload} if n % 2 else payload)
    return jobs


def kill_after_some_work(folder, chance, *words):
    """Start the command and kill it with SIGKILL at a random moment of its work; return whether it was killed."""
    before = len(folder.log) if (folder / "log.jsonl").exists() else 0
    child = folder.start("jobs.jsonl", "-o", "results.jsonl", *FAST, *words)
    wanted = before + chance.randint(0, 40)

    def is_far_enough():
        path = folder / "log.jsonl"
        return child.poll() is not None or (path.exists() and path.read_bytes().count(b"\n") > wanted)

    wait_for(is_far_enough)
    child.kill()
    child.wait()
    return child.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "seed, words", [(1, []), (2, ["-b", "1"]), (3, ["-b", "50", "-k"]), (4, ["--durability", "full"])]
)
def test_killed_again_and_again_the_same_command_ends_with_the_right_answer(folder, seed, words):
    """Fault 16: at random moments."""
    chance = random.Random(seed)
    folder.write("jobs.jsonl", mixed_jobs(150))
    deaths = sum(kill_after_some_work(folder, chance, *words) for _ in range(3))
    folder.run("jobs.jsonl", "-o", "results.jsonl", *FAST, *words, code=1)
    count = folder.check(deaths=deaths)
    assert count.reasons == {"rejected": 15}
    assert count.statuses == {"completed": 105, "skipped": 15, "duplicate": 15, "dead": 15}


def test_a_finished_command_calls_nothing_says_so_and_gives_the_same_code(folder):
    folder.write("jobs.jsonl", mixed_jobs(40))
    folder.run("jobs.jsonl", "-o", "results.jsonl", *FAST, code=1)
    before = [(folder / name).read_bytes() for name in ("results.jsonl", "jobs.dlq.jsonl", "log.jsonl")]
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", *FAST, "--summary", "json", code=1)
    assert [(folder / name).read_bytes() for name in ("results.jsonl", "jobs.dlq.jsonl", "log.jsonl")] == before
    said = ran.summary
    assert (said["read"], said["settled_before"], said["attempts"], said["dead"]) == (40, 40, 0, 4)
    again = folder.run("jobs.jsonl", "-o", "results.jsonl", *FAST, code=1)
    assert "nothing to do" in again.err.splitlines()[0]
    assert len(again.err.splitlines()) < 20


def test_a_finished_command_without_dead_letters_says_in_one_line_that_there_is_nothing_to_do(folder):
    """It gives the same code, and says in one line that there was nothing to do."""
    folder.write("jobs.jsonl", [1, 2])
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    screen = folder.screen("jobs.jsonl", "-o", "results.jsonl")
    assert screen.end() == 0
    assert b"nothing to do" in screen.seen


def test_of_an_edited_input_every_line_has_a_record_and_none_that_had_one_runs_again(folder):
    """Fault 18: after a kill at a random moment."""
    chance = random.Random(5)
    jobs = mixed_jobs(120)
    folder.write("jobs.jsonl", jobs)
    kill_after_some_work(folder, chance)
    settled = oracle.read_lines_whole(folder / "results.jsonl") + oracle.read_lines_whole(folder / "jobs.dlq.jsonl")
    done = {oracle.canonical(line["result"]["payload"]) for line in settled if "result" in line}
    before = oracle.read_executions(folder / "log.jsonl")
    edited = jobs[:]
    for _ in range(10):
        del edited[chance.randrange(len(edited))]
    chance.shuffle(edited)
    for n in range(10):
        edited.insert(chance.randrange(len(edited)), {"new": n})
    edited += [{"appended": n} for n in range(5)]
    folder.write("jobs.jsonl", edited)
    folder.run("jobs.jsonl", "-o", "results.jsonl", *FAST, code=1)
    after = oracle.read_executions(folder / "log.jsonl")
    again = {payload for payload in done if after[payload] > before[payload]}
    assert not again
    records = oracle.read_lines(folder / "results.jsonl")
    letters = oracle.read_lines(folder / "jobs.dlq.jsonl")
    found = {oracle.canonical(each["id"]) for each in (*records, *letters)}
    for job in edited:
        if "id" in job:
            assert oracle.canonical(job["id"]) in found
        else:
            name = oracle.canonical(job)
            assert (
                any(oracle.canonical(r["result"]["payload"]) == name for r in records if "result" in r)
                or any(oracle.canonical(letter["job"]) == name for letter in letters)
                or job.get("do") == "skip"
            ), job
    said = folder.run("jobs.jsonl", "-o", "results.jsonl", *FAST, "--summary", "json", code=1).summary
    assert said["read"] == said["settled_before"] == len(edited)


def test_an_appended_line_that_repeats_a_settled_one_is_its_duplicate_also_of_a_dead_one(folder):
    folder.write("jobs.jsonl", [{"n": 1}, {"do": "reject"}, {"do": "skip"}])
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    folder.write("jobs.jsonl", [{"n": 1}, {"do": "reject"}, {"do": "skip"}] * 2)
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    count = folder.check()
    assert count.executions.total() == 3
    assert count.records['"jobs:4"'] | {"key": 0} == {
        "id": "jobs:4", "key": 0, "status": "duplicate", "duplicate_of": "jobs:1", "result": {"payload": {"n": 1}},
    }  # fmt: skip
    assert count.letters['"jobs:5"']["reason"] == "duplicate_of_dead"
    assert count.records['"jobs:6"']["status"] == "duplicate"


def test_a_torn_last_line_is_cut_and_only_its_job_runs_again(folder):
    """Fault 27: some lengths with the real command; many more without a worker, in the test below."""
    folder.write("jobs.jsonl", [{"n": 1}, {"n": 2}, {"do": "reject", "n": 3}, {"do": "reject", "n": 4}])
    folder.run("jobs.jsonl", "-o", "results.jsonl", "-j", "1", "-k", code=1)
    results, letters = (folder / "results.jsonl").read_bytes(), (folder / "jobs.dlq.jsonl").read_bytes()
    last = len(results.splitlines(keepends=True)[-1])
    last_letter = len(letters.splitlines(keepends=True)[-1])
    for deaths, (cut, cut_letter) in enumerate(
        [(1, 0), (last - 1, 1), (last // 2, last_letter - 1), (0, last_letter // 2)], 1
    ):
        (folder / "results.jsonl").write_bytes(results[: len(results) - cut])
        (folder / "jobs.dlq.jsonl").write_bytes(letters[: len(letters) - cut_letter])
        folder.run("jobs.jsonl", "-o", "results.jsonl", "-j", "1", "-k", code=1)
        count = folder.check(deaths=deaths)
        assert count.statuses == {"completed": 2, "dead": 2}
    assert count.executions == {
        '{"n": 1}': 1,
        '{"n": 2}': 4,
        '{"do": "reject", "n": 3}': 1,
        '{"do": "reject", "n": 4}': 4,
    }


def test_a_last_line_torn_at_any_length_is_cut_in_results_and_letters(folder):
    """Fault 27: without a worker, many lengths, each in a child of its own; tests/edge/test_sink.py cuts at all."""
    folder.write(
        "jobs.jsonl", [{"n": 1}, {"n": 2, "text": "\u00e9\\"}, {"do": "reject", "n": 3}, {"do": "reject", "n": 4}]
    )
    folder.run("jobs.jsonl", "-o", "results.jsonl", "-k", code=1)
    folder.write("good.results", (folder / "results.jsonl").read_bytes())
    folder.write("good.letters", (folder / "jobs.dlq.jsonl").read_bytes())
    folder.write("each.py", EACH_LENGTH)
    ran = folder.shell(f'"$PY" each.py {DEEDS}:do', PY=folder.argv()[0], limit=60)
    assert ran.code == 0, ran.err[-2000:]
    assert ran.out.split()[-1] == b"ok"


EACH_LENGTH = """
import json, os, sys
from jqcli.commands import main

def last_size(data):
    return len(data.splitlines(keepends=True)[-1])

def run(results, letters):
    open("results.jsonl", "wb").write(results)
    open("jobs.dlq.jsonl", "wb").write(letters)
    open("log.jsonl", "w").close()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os._exit(main(["jobs.jsonl", "-o", "results.jsonl", "-j", "0", "-H", sys.argv[1], "--durability", "none"]))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == 1, (code, open("said").read())
    ids = []
    for name in ("results.jsonl", "jobs.dlq.jsonl"):
        data = open(name, "rb").read()
        assert data.endswith(b"\\n"), name
        ids += [json.loads(line)["id"] for line in data.splitlines()]
    assert sorted(ids) == ["jobs:1", "jobs:2", "jobs:3", "jobs:4"], ids
    return [json.loads(line)["n"] for line in open("log.jsonl")]

import tenacity
# Once here, with nothing to do, so that no child has to import anything.
main(["jobs.jsonl", "-o", "results.jsonl", "-j", "0", "-H", sys.argv[1], "-q"])
results, letters = open("good.results", "rb").read(), open("good.letters", "rb").read()
whole = last_size(results)
for cut in sorted({1, 2, whole - 1, whole, *range(3, whole, 6)}):
    assert run(results[:-cut], letters) == [2], cut
for cut in range(1, last_size(letters) + 1, 46):
    assert run(results, letters[:-cut]) == [4], cut
print("ok")
"""


def test_fresh_renames_and_deletes_nothing(folder):
    folder.write("jobs.jsonl", [1, {"do": "reject"}])
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    before = {(folder / name).read_bytes() for name in ("results.jsonl", "jobs.dlq.jsonl")}
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--fresh", code=1)
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--fresh", code=1)
    kept = [path.read_bytes() for path in folder.path.iterdir() if ".jsonl." in path.name]
    assert len(kept) == 4
    assert before <= set(kept)
    assert len(folder.log) == 6


@pytest.mark.parametrize(
    "content",
    [
        b'{"some": "thing"}\n',
        b"name,age\nA,1\n",
        bytes(range(256)) * 40,
        b'{"id":1,"key":"k","status":"completed"}\n',
        b"text",
    ],
    ids=["foreign", "csv", "binary", "nearly", "no-newline"],
)
@pytest.mark.parametrize("name", ["results.jsonl", "jobs.dlq.jsonl"])
def test_a_file_that_is_not_ours_is_refused_and_not_touched(folder, name, content):
    """Fault 28: foreign lines, binary."""
    folder.write("jobs.jsonl", [1, {"do": "reject"}])
    folder.write(name, content)
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", code=65)
    assert name in ran.err
    assert (folder / name).read_bytes() == content
    assert not (folder / "log.jsonl").exists()


def test_where_the_dead_letters_are_not_ours_no_results_file_is_left_behind(folder):
    """With 65, nothing was touched."""
    folder.write("jobs.jsonl", [1])
    folder.write("jobs.dlq.jsonl", "name,age\n")
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=65)
    assert not (folder / "results.jsonl").exists()


def test_a_folder_or_a_loop_of_links_in_place_of_a_file_is_an_error_and_stays(folder):
    """Fault 28: a folder, a loop."""
    folder.write("jobs.jsonl", [1])
    (folder / "results.jsonl").mkdir()
    assert folder.run("jobs.jsonl", "-o", "results.jsonl").code in (2, 74)
    (folder / "loop").symlink_to("loop")
    assert folder.run("jobs.jsonl", "-o", "loop").code in (2, 74)
    assert (folder / "loop").is_symlink()
    assert not (folder / "log.jsonl").exists()


def test_results_of_another_handler_key_or_format_are_refused_by_name(folder):
    folder.write("jobs.jsonl", [{"n": 1}])
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    before = (folder / "results.jsonl").read_bytes()
    other = folder.run("jobs.jsonl", "-o", "results.jsonl", "-H", f"{DEEDS}:other", code=65)
    assert "handler" in other.err
    key = folder.run("jobs.jsonl", "-o", "results.jsonl", "--key", "n", code=65)
    assert "no --key" in key.err
    form = folder.run("jobs.jsonl", "-o", "results.jsonl", "--input-format", "raw", code=65)
    assert "--input-format auto" in form.err
    assert (folder / "results.jsonl").read_bytes() == before
    assert len(folder.log) == 1


def test_a_second_run_on_the_same_results_ends_at_once_with_the_holders_pid(folder):
    """Fault 29: two on one output."""
    folder.write("jobs.jsonl", [{"do": "wait", "file": "go"}])
    first = folder.start("jobs.jsonl", "-o", "results.jsonl")
    wait_for(folder.pids)
    second = folder.run("jobs.jsonl", "-o", "results.jsonl", code=75, limit=5)
    assert str(first.pid) in second.err
    first.kill()
    first.wait()
    folder.write("go", "")
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    folder.check(deaths=1)


def test_two_runs_that_share_a_dead_letter_file_lose_and_double_nothing(folder):
    """Fault 29: two with one DLQ."""
    for name in ("a", "b"):
        folder.write(f"{name}.jsonl", [{"do": "reject", "n": n, "in": name} for n in range(60)])
    children = [
        folder.start(f"{name}.jsonl", "-o", f"{name}.results.jsonl", "-d", "shared.dlq.jsonl", "-b", "3", "-j", "1")
        for name in ("a", "b")
    ]
    assert [child.wait(20) for child in children] == [1, 1]
    letters = oracle.read_lines(folder / "shared.dlq.jsonl")
    assert sorted(letter["id"] for letter in letters) == sorted(f"{name}:{n}" for name in "ab" for n in range(1, 61))
    for name in ("a", "b"):
        said = folder.run(
            f"{name}.jsonl", "-o", f"{name}.results.jsonl", "-d", "shared.dlq.jsonl", "--summary", "json", code=1
        ).summary
        assert (said["settled_before"], said["dead"], said["attempts"]) == (60, 60, 0)


def test_a_run_without_letters_leaves_a_shared_dead_letter_file_to_the_other(folder):
    """The one that has none removes an empty file under the other's hands; no letter may be lost with it."""
    folder.write("a.jsonl", [{"do": "wait", "file": "go", "then": "fail"}])
    folder.write("b.jsonl", [1])
    first = folder.start("a.jsonl", "-o", "a.results.jsonl", "-d", "shared.dlq.jsonl", "-r", "1")
    wait_for(folder.pids)
    folder.run("b.jsonl", "-o", "b.results.jsonl", "-d", "shared.dlq.jsonl", code=0)
    folder.write("go", "")
    assert first.wait(10) == 1
    assert len(oracle.read_lines(folder / "shared.dlq.jsonl")) == 1


def test_the_dead_are_counted_again_when_the_run_goes_on_after_a_failure_limit(folder):
    folder.write("jobs.jsonl", [{"do": "reject", "n": n} for n in range(6)])
    codes = [
        folder.run("jobs.jsonl", "-o", "results.jsonl", "--max-failures", "3", "-b", "1", "-j", "1").code
        for _ in range(3)
    ]
    assert codes[0] == 3
    assert codes[-1] in (1, 3)
    assert folder.run("jobs.jsonl", "-o", "results.jsonl").code == 1
    assert folder.check().reasons == {"rejected": 6}


def test_ids_are_echoed_and_matched_as_given(folder):
    ids = (1, "1", 12345678901234567890123)
    jobs = [{"id": own_id, "payload": {"n": n}} for n, own_id in enumerate(ids)]
    folder.write("jobs.jsonl", jobs)
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    count = folder.check()
    assert set(count.records) == {"1", '"1"', "12345678901234567890123"}
    assert count.executions.total() == 3


@pytest.mark.parametrize("digits", [21, 400, 4300])
def test_integers_of_any_size_come_back_exact_from_handler_records_letters_and_summary(folder, digits):
    number = int("7" * digits)
    jobs = [
        {"id": number, "payload": {"n": number}, "tenant": number, "key": number},
        {"id": number - 1, "payload": {"do": "reject", "n": number - 1}, "tenant": number},
        number - 2,
    ]
    folder.write("jobs.jsonl", jobs)
    command = ("jobs.jsonl", "-o", "results.jsonl", "--summary", "json", *FAST)
    ran = folder.run(*command, code=1)
    assert ran.summary["errors"][0]["sample_id"] == number - 1
    count = folder.check()
    assert count.records[str(number)]["result"] == {"payload": {"n": number}}
    assert count.letters[str(number - 1)]["tenant"] == number
    assert count.letters[str(number - 1)]["job"] == jobs[1]
    folder.write("jobs.jsonl", [*jobs, jobs[0] | {"id": "again"}, jobs[1] | {"id": "dead"}])
    folder.run(*command, code=1)
    count = folder.check()
    assert count.records['"again"']["duplicate_of"] == number
    assert count.letters['"dead"']["duplicate_of"] == number - 1
    assert len(folder.log) == 3
    folder.write("jobs.jsonl", jobs[:1])
    ran = folder.run("jobs.jsonl", "-H", f"{DEEDS}:tell_context", code=0)
    assert (ran.records[0]["result"]["id"], ran.records[0]["result"]["tenant"]) == (number, number)


@pytest.mark.parametrize("key", [{"key": "K"}, {}])
def test_a_job_that_died_in_an_earlier_run_lends_its_fate_to_nobody_behind_one_that_runs(folder, key):
    """FAULTS 35. By input order the new job is the owner of the key; the dead one keeps its letter."""
    dead = {"id": "dead", **key, "payload": {"do": "wait", "file": "go", "then": "fail"}}
    own = {"id": "own", **key, "payload": {"n": 1} if key else dead["payload"]}
    folder.write("go", "")
    folder.write("jobs.jsonl", [dead])
    command = ("jobs.jsonl", "-o", "results.jsonl", "-r", "1", *FAST)
    folder.run(*command, code=1)
    folder.write("jobs.jsonl", [own, dead, own | {"id": "again"}, *([dead | {"id": "other"}] if key else [])])
    folder.run(*command, code=1)
    count = folder.check()
    assert len(folder.log) == 2
    if key:
        assert count.records['"own"']["status"] == "completed"
        assert count.records['"again"']["duplicate_of"] == "own"
        assert count.letters['"dead"']["reason"] == "max_attempts"
        assert count.letters['"other"']["conflicts_with"] == "own"
    else:
        assert count.letters['"again"']["duplicate_of"] == "own"
    again = folder.run(*command, "--summary", "json", code=1)
    assert again.summary["settled_before"] == again.summary["read"] == len(folder.check().results) + len(count.dead)


def test_two_lines_with_one_id_and_other_payloads_have_a_record_each(folder):
    jobs = [{"id": "same", "payload": {"n": n}} for n in range(3)]
    folder.write("jobs.jsonl", jobs)
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    records = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert sorted(record["result"]["payload"]["n"] for record in records) == [0, 1, 2]


def test_the_parent_killed_while_a_worker_is_in_a_job_leaves_the_lock_free_and_nobody_alive(folder):
    """Fault 17: inside `$(…)`."""
    folder.write("jobs.jsonl", [{"do": "fork_background", "file": "never"}])
    child = folder.start_shell("echo got $($JQ jobs.jsonl & echo $! > parent; wait)")
    wait_for(lambda: len(folder.pids()) == 2)
    os.kill(int((folder / "parent").read_text()), signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, folder.pids())), 5)
    assert child.communicate(timeout=5)[0] == b"got\n"


def test_of_many_starts_at_once_one_works_and_the_others_say_who(folder):
    folder.write("jobs.jsonl", [{"do": "wait", "file": "go"}])
    children = [folder.start("jobs.jsonl", "-o", "results.jsonl", "-j", "1") for _ in range(6)]
    wait_for(lambda: sum(child.poll() == 75 for child in children) == 5)
    (holder,) = [child for child in children if child.poll() is None]
    assert all(str(holder.pid) in child.stderr.read().decode() for child in children if child is not holder)
    folder.write("go", "")
    assert holder.wait(10) == 0
    assert folder.check().executions.total() == 1


def test_what_is_left_of_a_large_batch_is_spread_over_all_workers(folder):
    """Lines that were settled before cost nothing, so a batch behind them is large; idle workers take their share."""
    folder.write("tasks.py", "import os, time\ndef do(n):\n    n < 4000 or time.sleep(0.01)\n    return os.getpid()\n")
    folder.write("jobs.jsonl", list(range(4300)))
    words = ("jobs.jsonl", "-H", "tasks.py:do", "-o", "results.jsonl")
    folder.run(*words, "--limit", "4000", code=0)
    folder.run(*words, code=0)
    records = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    shares = Counter(record["result"] for record in records[4000:])
    assert len(shares) == 2
    assert min(shares.values()) >= 50, shares


def test_what_is_gone_on_from_is_said_in_one_line_to_whoever_watches(folder):
    folder.write("jobs.jsonl", [{"n": n} for n in range(3)])
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    folder.write("jobs.jsonl", [{"n": n} for n in range(4)])
    told = "jq-run: going on: earlier runs have settled 3 lines of results.jsonl\n"
    assert told in folder.run("jobs.jsonl", "-o", "results.jsonl", "-v", code=0).err
    assert "going on" not in folder.run("jobs.jsonl", "-o", "results.jsonl", code=0).err
