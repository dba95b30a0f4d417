"""Law 8 at the terminal, and terminals that misbehave: nothing untrusted reaches one, and none of them stops a run."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

from tests import oracle
from tests.command import DEEDS, wait_for

pytestmark = pytest.mark.walk

ALL = "\x1b]52;c;ZXZpbA==\x07\x1b[31;7;99m\x1b[2J\x9b31m[/][bold][link=x]y[/nope]\u202egnp.exe\u2066\x00\x08\x7f\r"
POISON = ("\x1b]52", "\x1b[31;7;99m", "\x1b[2J", "\x9b", "\u202e", "\u2066", "\x00", "\x07", "\x08", "\x7f")
SHOWN = "\x1b[?25l"  # the cursor is hidden while a table is up
FAST = ("-o", "results.jsonl", "-r", "1")


def is_clean(said):
    """Tell whether nothing of `ALL` is there as it was."""
    text = said.decode() if isinstance(said, bytes) else said
    return not any(poison in text for poison in POISON)


def write_evil(folder):
    folder.write(
        "jobs.jsonl",
        [
            {"id": "evil " + ALL, "tenant": ALL, "payload": {"do": "say_badly", "message": ALL}},
            {"id": "large", "payload": {"do": "say_badly", "message": ALL + "m" * 1_000_000}},
            {"id": "[/]", "payload": {"do": "say_badly", "message": "[/] [bold"}},
            {"id": "plain", "payload": {"text": ALL}},
            {"id": "slow" + ALL, "payload": {"do": "pause", "seconds": 0.4}},
            {"payload": 1, ALL: 2},
            {"payload": 1, "handler": ALL},
        ],
    )


@pytest.mark.parametrize("progress", ["live", "plain", "json", "none"])
@pytest.mark.parametrize("summary", ["text", "json"])
def test_nothing_of_a_line_or_an_error_reaches_the_terminal_as_it_is_in_any_style(folder, progress, summary):
    """Fault 41."""
    write_evil(folder)
    screen = folder.screen("jobs.jsonl", *FAST, "--progress", progress, "--summary", summary)
    assert screen.end() == 1
    assert is_clean(screen.seen)
    assert b"MarkupError" not in screen.seen
    assert b"[/]" in screen.seen
    assert len(screen.seen) < 100_000
    count = folder.check()
    assert count.records['"plain"']["result"]["payload"]["text"] == ALL
    letter = count.letters[oracle.canonical("evil " + ALL)]
    assert (letter["error"]["message"], letter["tenant"]) == (ALL, ALL)
    for dead in count.dead:
        texts = [
            dead["error"]["message"],
            dead["error"].get("stacktrace", ""),
            *(e["message"] for e in dead["history"]),
        ]
        assert all(len(text.encode()) <= 4096 for text in texts)


def test_summary_and_progress_for_programs_are_ascii(folder):
    """Fault 41."""
    write_evil(folder)
    ran = folder.run("jobs.jsonl", *FAST, "--progress", "json", "--summary", "json", code=1)
    assert ran.err.isascii()
    assert is_clean(ran.err)
    assert ran.summary["dead"] == 5
    assert any(ALL in error["message"] for error in ran.summary["errors"])


MISTAKES = {
    "input": [f"jobs{ALL.replace(chr(0), '')}.jsonl"],
    "option": ["jobs.jsonl", "--\x1b[2J\u202e=3"],
    "value": ["jobs.jsonl", "-j", "\x1b[2J\u202e"],
    "handler": ["jobs.jsonl", "-H", "\x1b[2J\u202e.py:do"],
    "name": ["jobs.jsonl", "-H", f"{DEEDS}:\x1b[2J\u202e"],
    "profile": ["jobs.jsonl", "--profile", "\x1b[2J\u202e"],
    "moment": ["dlq", "list", "jobs.dlq.jsonl", "--since", "\x1b[2J\u202e"],
    "load": ["jobs.jsonl", "-H", "evil.py:do"],
    "file": ["jobs.jsonl", "--config", "evil.toml"],
}


@pytest.mark.parametrize("words", MISTAKES.values(), ids=MISTAKES)
def test_a_message_about_a_mistake_shows_what_was_given_and_does_not_obey_it(folder, words):
    """Fault 41: an error's text may be a megabyte of anything."""
    folder.write("jobs.jsonl", [1])
    folder.write("evil.py", f"raise ValueError({ALL + 'm' * 1_000_000!r})\n")
    folder.write("evil.toml", f"{json.dumps('key' + ALL)} = 3\n")
    screen = folder.screen(*words, *(() if words[0] == "dlq" else FAST), deed=words[0] != "dlq")
    assert screen.end() == 2
    assert is_clean(screen.seen)
    assert b"\\x1b" in screen.seen
    assert len(screen.seen) < 20_000


def test_what_handlers_print_above_the_table_is_made_harmless(folder):
    """Fault 41."""
    folder.write("jobs.jsonl", [1, 2])
    folder.write(
        "tasks.py", f"import time\ndef do(payload):\n    print({ALL!r}, payload, flush=True)\n    time.sleep(0.4)\n"
    )
    screen = folder.screen("jobs.jsonl", "-H", "tasks.py:do", *FAST)
    assert screen.end() == 0
    assert is_clean(screen.seen)
    assert screen.seen.count(b"\\x1b]52") == 2


TALKING = """
class Do:
    def __enter__(self):
        return self
    def __call__(self, payload):
        print("first")
    def __exit__(self, *error):
        print("at the very end", end="", flush=True)
"""


def test_what_handlers_print_at_the_very_end_is_shown(folder):
    """Fault 13: also what a handler prints when it is left, after the last job."""
    folder.write("jobs.jsonl", [1])
    folder.write("tasks.py", TALKING)
    screen = folder.screen("jobs.jsonl", "-H", "tasks.py:Do", *FAST, "-j", "1")
    assert screen.end() == 0
    assert screen.seen.count(b"first") == 1
    assert screen.seen.count(b"at the very end") == 1


def start_waiting(folder, screen_words=(), **env):
    """Start a run at a terminal whose last job waits for a file; return its screen when the table is up."""
    folder.write("jobs.jsonl", [{"n": 1}, {"do": "reject"}, {"do": "wait", "file": "go"}])
    screen = folder.screen("jobs.jsonl", *FAST, *screen_words, **env)
    screen.wait_for(lambda seen: SHOWN.encode() in seen)
    wait_for(folder.pids)
    return screen


def test_a_run_whose_own_terminal_goes_away_is_hung_up_and_the_same_command_goes_on(folder):
    """Fault 42: a closed window is SIGHUP to those that it was the terminal of."""
    screen = start_waiting(folder)
    screen.hang_up()
    folder.write("go", "")
    wait_for(lambda: screen.process.poll() is not None)
    assert screen.process.returncode in (1, 129)
    folder.run("jobs.jsonl", *FAST, code=1)
    assert folder.check(deaths=1).statuses == {"completed": 2, "dead": 1}


def test_a_run_at_a_terminal_of_others_goes_on_when_that_goes_away(folder):
    """Fault 42: what is left to say is not said, and that is all. The last job lasts for some frames of the table."""
    talk, wait, last = {"do": "speak"}, {"do": "wait", "file": "go"}, {"do": "pause", "seconds": 0.9}
    folder.write("jobs.jsonl", [talk, wait, talk | {"n": 2}, last])
    screen = folder.screen("jobs.jsonl", *FAST, "-j", "1", "-b", "1", is_own=False)
    screen.wait_for(lambda seen: SHOWN.encode() in seen)
    wait_for(lambda: wait in folder.log)
    screen.hang_up()
    folder.write("go", "")
    wait_for(lambda: screen.process.poll() is not None)
    assert screen.process.returncode == 0
    assert folder.check().statuses == {"completed": 4}


@pytest.mark.parametrize("progress", ["live", "plain", "json"])
def test_a_run_whose_reader_of_stderr_goes_away_goes_on(folder, progress):
    """Fault 42."""
    folder.write("jobs.jsonl", [{"do": "reject"}, {"do": "wait", "file": "go"}, {"do": "speak"}, {"n": 1}])
    child = folder.start("jobs.jsonl", *FAST, "--progress", progress, "-j", "1", "-b", "1")
    wait_for(folder.pids)
    child.stderr.close()
    folder.write("go", "")
    assert child.wait(20) == 1
    count = folder.check()
    assert count.statuses["dead"] == 1 + ('"jobs:3"' in count.letters), (
        "a handler that prints may fail of that, and alone"
    )


@pytest.mark.parametrize("size", [(1, 1), (1, 24), (2, 2), (5, 3), (500, 200)], ids=str)
def test_a_terminal_of_any_size_shows_a_run_to_its_end(folder, size):
    """Fault 42."""
    screen = start_waiting(folder)
    screen.resize(*size)
    before = len(screen.read())
    screen.wait_for(lambda seen: len(seen) > before)
    folder.write("go", "")
    assert screen.end() == 1
    assert screen.is_cursor_visible
    assert folder.check().statuses == {"completed": 2, "dead": 1}


def test_a_terminal_that_is_resized_all_the_time_does_not_stop_a_run(folder):
    """Fault 42."""
    screen = start_waiting(folder)
    for columns in (40, 200, 7, 80, 1, 120):
        screen.resize(columns, 1 + columns % 30)
        os.kill(screen.process.pid, signal.SIGWINCH)
        before = len(screen.read())
        screen.wait_for(lambda seen, before=before: len(seen) > before)
    folder.write("go", "")
    assert screen.end() == 1
    assert screen.is_cursor_visible
    assert b"dead letter" in screen.seen


def test_no_color_leaves_the_table_and_takes_its_colours(folder):
    """Fault 42."""
    screen = start_waiting(folder, NO_COLOR="1")
    folder.write("go", "")
    assert screen.end() == 1
    assert not re.search(rb"\x1b\[[0-9;]*3[0-7]", screen.seen)
    assert re.search(rb"completed", screen.seen)


@pytest.mark.parametrize("progress", ["auto", "live", "plain", "json", "none"])
@pytest.mark.parametrize("env", [{"FORCE_COLOR": "1"}, {"FORCE_COLOR": "0", "CLICOLOR_FORCE": "1"}], ids=["1", "0"])
def test_no_escape_byte_goes_into_a_pipe_whatever_is_forced(folder, progress, env):
    """Fault 42."""
    write_evil(folder)
    ran = folder.run("jobs.jsonl", "-r", "1", "--progress", progress, "--summary", "text", code=1, **env)
    assert "\x1b" not in ran.err
    assert b"\x1b" not in ran.out
    assert is_clean(ran.err)
    ran = folder.run("missing.jsonl", code=2, **env)
    assert "\x1b" not in ran.err


@pytest.mark.parametrize("locale", ["C", "POSIX", ""])
def test_a_table_in_the_c_locale_is_ascii_and_fits(folder, locale):
    folder.write(
        "jobs.jsonl", [{"id": f"grün-{n}", "payload": {"do": "say_badly", "message": "漢" * 70}} for n in range(9)]
    )
    folder.write("go.jsonl", [{"do": "wait", "file": "go"}])
    env = {"LC_ALL": locale, "LANG": ""}
    screen = folder.screen("jobs.jsonl", "go.jsonl", *FAST, "-d", "dlq.jsonl", **env)
    screen.wait_for(lambda seen: b"9 " in seen and b"running" in seen and b"\\u6f22" in seen and b"==" in seen)
    folder.write("go", "")
    assert screen.end() == 1
    assert screen.seen.isascii()
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", screen.seen.decode())
    table = text[: text.index("finished with")]
    assert max(len(line) for line in re.split(r"[\r\n]+", table)) < 80


@pytest.mark.parametrize("words, state, code", [([], "finished", 0), (["--max-failures", "1"], "stopped", 3)])
def test_the_last_progress_says_that_it_is_over(folder, words, state, code):
    folder.write("jobs.jsonl", [{"do": "reject"}, *range(5000)] if words else [1])
    ran = folder.run("jobs.jsonl", *FAST, "--progress", "json", "--summary", "none", "-b", "1", *words, code=code)
    assert json.loads([line for line in ran.err.splitlines() if line.startswith("{")][-1])["state"] == state
