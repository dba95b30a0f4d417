"""What handlers print and log arrives in the log with the ids of the job that they were at, whatever they do."""

from __future__ import annotations

import json

import pytest

from tests.command import ROOT, memory_of, wait_for

TALK = f"{ROOT / 'tests' / 'process' / 'talkers.py'}:talk"
LEAVE = f"{ROOT / 'tests' / 'process' / 'talkers.py'}:Leaver"
LOGGED = ("-o", "r.jsonl", "--log-file", "run.log", "--log-format", "json", "--backoff-base", "5ms")


def talk(folder, *jobs, code=0, options=(), handler=TALK, **env):
    """Run jobs and return what they printed, in order; nothing of it may be on stderr, or the run tell of it."""
    folder.write("jobs.jsonl", list(jobs))
    ran = folder.run("jobs.jsonl", "-H", handler, *LOGGED, *options, code=code, is_calm=False, **env)
    assert code or ran.err == ""
    assert ran.out == b""
    return printed(folder)


def printed(folder):
    lines = [json.loads(line) for line in (folder / "run.log").read_text().splitlines()]
    return [line for line in lines if line["event"] in ("printed", "logged")]


def messages(lines, source="stdout"):
    return [line["message"] for line in lines if line.get("from") == source]


def test_each_line_carries_run_job_key_attempt_and_worker_in_every_attempt(folder):
    jobs = [{"id": f'a"{n}', "key": f'k"\\{n}', "payload": {"do": "say", "fails": n % 3}} for n in range(40)]
    jobs += [{"id": 2**70 + n, "payload": {"do": "say", "n": n}} for n in range(40)]
    lines = talk(folder, *jobs, options=("-r", "3", "-b", "7"))
    assert len(lines) == 80 + sum(n % 3 for n in range(40))
    records = {json.dumps(r["id"]): r for r in map(json.loads, (folder / "r.jsonl").read_text().splitlines())}
    for line in lines:
        assert line["message"] == f"said {line['job']} {line['key']} {line['attempt']}"
        assert line["key"] == records[json.dumps(line["job"])]["key"]
        assert line["worker"] in (0, 1)
        assert (line["level"], line["event"], line["from"]) == ("info", "printed", "stdout")
    assert len({line["run"] for line in lines}) == 1


@pytest.mark.parametrize("size, count", [(4_000, 600), (300_000, 12)])
def test_results_that_do_not_fit_do_not_change_whose_a_line_is(folder, size, count):
    jobs = [{"id": f"j{n}", "payload": {"do": "say_and_return", "n": n, "size": size}} for n in range(count)]
    lines = talk(folder, *jobs, options=("-j", "1"))
    assert sorted((line["job"], line["message"]) for line in lines) == sorted((f"j{n}", f"n {n}") for n in range(count))


@pytest.mark.parametrize("size", [1_000, 130_000, 300_000])
def test_a_job_with_a_long_id_and_key_is_heard_under_their_beginning(folder, size):
    job = {"id": "é" * size, "key": "k" * size, "payload": {"do": "say_lines"}}
    lines = talk(folder, job)
    assert messages(lines) == ["first", "second", "", "fourth"]
    assert {line["job"] for line in lines} == {"é" * 1000}
    assert {len(line["key"]) for line in lines} == {1000}


def test_lines_of_one_print_stay_lines_and_empty_ones_stay(folder):
    lines = talk(folder, {"do": "say_lines"})
    assert messages(lines) == ["first", "second", "", "fourth"]
    assert messages(lines, "stderr") == ["on stderr"]


def test_parts_of_a_line_become_one_line_of_the_job_that_began_it(folder):
    lines = talk(folder, *({"id": f"j{n}", "payload": {"do": "say_parts", "n": n}} for n in range(3)))
    assert messages(lines) == ["one two three", "without an end"] * 3
    assert [line["job"] for line in sorted(lines, key=lambda line: line["at"])].count("j1") == 2


def test_what_is_left_of_a_line_is_there_when_its_job_is_done_and_not_only_when_its_worker_ends(folder):
    child = folder.start("-", "-H", TALK, *LOGGED, "-d", "d.jsonl")
    child.stdin.write(b'{"do":"say_parts"}\n')
    child.stdin.flush()
    wait_for(lambda: (folder / "run.log").exists() and "without an end" in (folder / "run.log").read_text())
    assert child.poll() is None
    child.stdin.close()
    assert child.wait(60) == 0


def test_bytes_that_are_no_text_are_written_harmlessly(folder):
    assert messages(talk(folder, {"do": "say_bytes"})) == ["\\xff\x00\x1b[2J"]
    folder.run("jobs.jsonl", "-H", TALK, *LOGGED, "--fresh", "--log-format", "text", "--log-file", "run.txt", code=0)
    assert (folder / "run.txt").read_bytes().isascii()
    assert b"\x1b" not in (folder / "run.txt").read_bytes()


def test_messages_of_loggers_keep_level_and_name_and_their_traceback(folder):
    lines = talk(folder, {"id": "job-1", "payload": {"do": "log"}})
    said = [(line["event"], line["level"], line["logger"], line["message"].splitlines()[0]) for line in lines]
    assert said == [
        ("logged", "info", "shop.bank", "calling bank"),
        ("logged", "warning", "jqcli.handler", "slow"),
        ("logged", "error", "shop.bank", "failed"),
    ]
    assert lines[2]["message"].endswith("KeyError: 'balance'")
    assert {(line["job"], line["attempt"]) for line in lines} == {("job-1", 1)}


@pytest.mark.parametrize("level, count", [("WARNING", 2), ("DEBUG", 4)])
def test_a_level_that_the_handlers_module_sets_holds_and_nothing_arrives_twice(folder, level, count):
    folder.write(
        "tasks.py",
        "import logging\n"
        f"logging.basicConfig(level={level!r})\n"
        f"exec(open({str(ROOT / 'tests' / 'process' / 'talkers.py')!r}).read())\n",
    )
    lines = talk(folder, {"do": "log"}, handler="tasks.py:talk")
    assert [line["event"] for line in lines] == ["logged"] * count
    assert {line["message"].splitlines()[0] for line in lines} <= {"not wanted", "calling bank", "slow", "failed"}


HIDING = """
import logging, sys
class Hide(logging.Filter):
    def filter(self, record):
        record.msg = str(record.msg).replace("s3cret", "***")
        return "secret thing" not in record.msg
class HideAtLast(logging.Formatter):
    def format(self, record):
        return "mine: " + super().format(record).replace("s3cret", "***")
class Hiding(logging.StreamHandler):
    def format(self, record):
        return super().format(record).replace("s3cret", "***")
def do(payload):
    logging.getLogger("shop").warning("card s3cret")
    logging.getLogger("shop").info("card s3cret")
"""
BY_FILTER = 'logging.basicConfig(level="INFO"); logging.getLogger().handlers[0].addFilter(Hide())'
BY_FORMATTER = 'logging.basicConfig(level="INFO"); logging.getLogger().handlers[0].setFormatter(HideAtLast())'
BY_CLASS = "logging.getLogger().setLevel('INFO'); logging.getLogger().addHandler(Hiding())"
BY_OWN = "logging.getLogger('shop').addHandler(Hiding(sys.stdout))"


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "how, event, message",
    [
        (BY_FILTER, "logged", "card ***"),
        (BY_FORMATTER, "logged", "mine: card ***"),
        (BY_CLASS, "printed", "card ***"),
        (BY_OWN, "printed", "card ***"),
    ],
    ids=["filter", "formatter", "class", "own logger"],
)
def test_what_the_code_hides_from_its_output_is_hidden_from_the_log_and_arrives_once(
    folder, how, event, message, workers
):
    folder.write("tasks.py", HIDING + how + "\n")
    folder.write("jobs.jsonl", [1])
    folder.run("jobs.jsonl", "-H", "tasks.py:do", *LOGGED, "-j", workers, code=0)
    assert "s3cret" not in (folder / "run.log").read_text()
    assert [(line["event"], line["message"]) for line in printed(folder)] == [(event, message)] * 2


def test_a_record_that_a_filter_drops_is_in_no_log(folder):
    folder.write("tasks.py", (HIDING + BY_FILTER + "\n").replace("card s3cret", "a secret thing"))
    folder.write("jobs.jsonl", [1])
    folder.run("jobs.jsonl", "-H", "tasks.py:do", *LOGGED, code=0)
    assert printed(folder) == []


def test_what_programs_print_that_a_handler_starts_is_that_jobs(folder):
    jobs = [{"id": f"j{n}", "payload": {"do": "call", "n": n}} for n in range(6)]
    lines = [line for line in talk(folder, *jobs) if line["from"] == "output"]
    assert sorted(messages(lines, "output")) == ["its error"] * 6 + [f"raw j{n}" for n in range(6)]
    for line in lines:
        if line["message"] != "its error":
            assert line["message"] == f"raw {line['job']}"
            assert (line["attempt"], line["event"]) == (1, "printed")
            assert line["key"]


def test_what_was_printed_before_a_crash_is_there_down_to_the_dump_of_the_crash_itself(folder):
    jobs = [{"do": "say"}, {"id": "bad", "payload": {"do": "crash"}}, {"do": "say", "n": 1}]
    lines = talk(folder, *jobs, code=1, options=("--max-crashes", "2"))
    bad = [line for line in lines if line.get("job") == "bad"]
    for attempt in (1, 2):
        said = [line for line in bad if line["attempt"] == attempt]
        assert messages(said) == ["last words", "no end"]
        assert "Fatal Python error: Segmentation fault" in messages(said, "output")


def test_forks_and_threads_speak_for_the_job_that_made_them(folder):
    lines = talk(folder, {"id": "f", "payload": {"do": "fork"}}, {"id": "t", "payload": {"do": "thread"}})
    assert {(line["job"], line["message"]) for line in lines} == {("f", "from a fork"), ("t", "from a thread")}


def test_a_flood_is_all_there_slows_its_worker_alone_and_fills_no_memory(folder):
    folder.write("jobs.jsonl", [{"do": "flood", "lines": 150_000}, *({"do": "say", "n": n} for n in range(50))])
    child = folder.start("jobs.jsonl", "-H", TALK, *LOGGED)
    peak = 0

    def is_over():
        nonlocal peak
        if child.poll() is None:
            peak = max(peak, memory_of(child.pid))
        return child.poll() is not None

    wait_for(is_over)
    lines = printed(folder)
    assert messages(lines)[:1]
    flood = [line["message"] for line in lines if line["message"].startswith("line")]
    assert flood == [f"line {number}" for number in range(150_000)]
    assert len(lines) == 150_050
    assert 0 < peak < 120 << 20


def test_a_line_of_any_length_arrives_in_pieces(folder):
    lines = talk(folder, {"do": "say_long", "size": 100_000})
    assert len(lines) > 1
    assert all(len(line["message"]) <= 1 << 14 for line in lines)
    assert "".join(messages(lines)) == "漢" * 100_000
    assert {line["job"] for line in lines} == {"jobs:1"}


def test_what_is_printed_as_handlers_are_loaded_and_left_is_there_too(folder):
    lines = talk(folder, 1, handler=LEAVE, options=("-j", "1"))
    assert messages(lines) == [f"leaving {number}" for number in range(20_000)]
    assert not any("job" in line for line in lines)
    folder.write("tasks.py", "print('loading')\ndef do(payload):\n    return payload\n")
    folder.run("jobs.jsonl", "-H", "tasks.py:do", *LOGGED, "--fresh", "--log-file", "two.log", code=0)
    assert '"message":"loading"' in (folder / "two.log").read_text()


def test_a_handler_has_its_time_to_leave_while_it_speaks(folder):
    lines = talk(folder, 1, 2, handler=f"{LEAVE.rpartition(':')[0]}:SlowLeaver", options=("-j", "2", "-b", "1"))
    assert set(messages(lines)) == {f"leaving {number}" for number in range(15)}
    assert len(lines) == 15 * len({line["worker"] for line in lines})


def test_a_handler_that_cannot_be_loaded_has_its_say_on_stderr(folder):
    folder.write("tasks.py", "print('about to fail')\n1 / 0\n")
    folder.write("jobs.jsonl", [1])
    ran = folder.run("jobs.jsonl", "-H", "tasks.py:do", *LOGGED, code=2)
    assert "about to fail\n" in ran.err
    assert not (folder / "run.log").exists()


def test_a_handler_that_closes_stdout_and_stderr_is_heard_all_the_same(folder):
    lines = talk(folder, {"do": "shut"}, {"do": "say"}, options=("-j", "1"))
    assert messages(lines)[0] == "still heard"


def test_without_a_process_of_its_own_a_handler_is_heard_and_seen(folder):
    folder.write("jobs.jsonl", [{"do": "say"}, {"do": "log"}])
    ran = folder.run("jobs.jsonl", "-H", TALK, *LOGGED, "-j", "0", code=0, is_calm=False)
    lines = printed(folder)
    assert [line["message"] for line in lines if line.get("from") == "stdout"] == [ran.err.rstrip("\n")]
    assert {line["job"] for line in lines} == {"jobs:1", "jobs:2"}
    assert [line["level"] for line in lines if line["event"] == "logged"] == ["info", "warning", "error"]


def test_at_a_terminal_it_is_seen_above_the_table_and_written_down(folder):
    folder.write("jobs.jsonl", [{"do": "say"}])
    screen = folder.screen("jobs.jsonl", "-H", TALK, *LOGGED)
    assert screen.end() == 0
    assert b"said jobs:1" in screen.seen
    assert messages(printed(folder))[0].startswith("said jobs:1")


def test_without_a_log_nothing_of_this_is_loaded_and_prints_go_to_stderr(folder):
    folder.write("tasks.py", "import sys\ndef do(payload):\n    print('logging' in sys.modules)\n")
    folder.write("jobs.jsonl", [1])
    assert folder.run("jobs.jsonl", "-H", "tasks.py:do", "-o", "r.jsonl", code=0).err == "False\n"


@pytest.mark.parametrize("most", [12, 15, 16, 17, 18, 19, 21, 24, 28, 40])
def test_with_few_descriptors_there_are_fewer_workers_or_74_and_then_the_same_command_goes_on(folder, most):
    folder.write("jobs.jsonl", [{"n": n} for n in range(20)] + [{"do": "reject"}])
    ran = folder.shell(f"ulimit -n {most}; $JQ jobs.jsonl -o results.jsonl -j 6 -b 1 --log-file run.log")
    assert ran.code in (1, 74), f"exit {ran.code}: {ran.err}"
    assert "bug" not in ran.err
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--log-file", "run.log", code=1)
    folder.check(deaths=1)
