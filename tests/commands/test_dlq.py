"""Laws of `jq-run dlq`, but for `retry`, whose are in tests/process/test_redrive.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jqcli.commands import main
from jqcli.core.letter import find_members

pytestmark = pytest.mark.walk


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def letter(job, *, id="a", key="5f01ab:=1", reason="rejected", body="job"):  # noqa: A002 - the member's name
    error = '{"message":"\\"job\\":1,}"}'
    return f'{{"id":"{id}","key":"{key}","reason":"{reason}","error":{error},"{body}":{job}}}\n'


def write(name, *lines):
    Path(name).write_text("".join(lines))


def dlq(*words):
    command = [sys.executable, "-m", "jqcli", "dlq", *words]
    path = str(Path(__file__).parents[2])
    done = subprocess.run(command, capture_output=True, check=False, env=os.environ | {"PYTHONPATH": path})
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def export(*paths):
    return dlq("export", *paths)


DEEP = "[" * 1000 + "]" * 1000


@pytest.mark.parametrize(
    "job",
    [
        '{"payload": {"n":1.0,  "big": 123456789012345678901234567890} }',
        '{"payload":"\\u00e9 é \\\\\\" }],"}',
        '"text"',
        "7",
        "null",
        "[1, {}]",
        DEEP,
        "9" * 4300,
    ],
    ids=range(8),
)
def test_a_job_is_printed_as_the_very_bytes_of_its_line(job):
    write("d.jsonl", letter(job))
    assert export("d.jsonl") == (0, job + "\n", "")


def test_the_last_letter_of_each_job_wins_over_all_files():
    write("d.jsonl", letter("1"), letter("2", id="b"), letter("3"))
    write("e.jsonl", letter("4", id="b"), letter("5", key="5f01ab:=2"))
    assert export("d.jsonl", "e.jsonl") == (0, "3\n4\n5\n", "")
    assert export("d.jsonl", "d.jsonl") == (0, "2\n3\n", "")


def test_letters_of_unusable_lines_are_left_out_and_counted():
    write(
        "d.jsonl",
        letter("1"),
        letter('"{x"', id="b", body="raw"),
        letter('"eA=="', id="c", body="raw_base64"),
    )
    code, out, err = export("d.jsonl")
    assert (code, out) == (0, "1\n")
    assert err == "jq-run: 2 letters are of lines that are no job: left out\n"


@pytest.mark.parametrize("words", [["export"], ["list"], ["drop", "--all"], ["retry"], ["summary", "--json"]])
def test_a_missing_dlq_is_an_empty_one_and_a_human_is_told(words, monkeypatch, capsys):
    write("jobs.dlq.jsonl", letter("1"))
    code, out, err = dlq(*words, "job.dlq.jsonl")
    assert (code, out) == (0, "")
    assert "no such file" not in err
    monkeypatch.setattr("os.isatty", lambda fd: fd == 2)
    assert main(["dlq", *words, "job.dlq.jsonl"]) == 0
    said = capsys.readouterr().err
    assert "job.dlq.jsonl: no such file (did you mean 'jobs.dlq.jsonl'?), so there are no dead letters in it" in said


@pytest.mark.parametrize("line", ["[1]\n", "{}\n", "not json\n", '{"id":1,"key":"a","status":"completed"}\n', "{\n"])
def test_a_file_with_a_line_that_is_no_letter_is_not_ours_and_nothing_is_printed(line):
    write("d.jsonl", letter("1"), line)
    code, out, err = export("d.jsonl")
    assert (code, out) == (65, "")
    assert err.startswith("jq-run: d.jsonl:2: not a dead letter")


def test_an_unfinished_last_line_is_left_out_and_said():
    write("d.jsonl", letter("1"), letter("2", id="b").rstrip("\n"))
    code, out, err = export("d.jsonl")
    assert (code, out) == (0, "1\n")
    assert "the last line is not finished" in err


def test_a_file_that_cannot_be_read_is_74():
    Path("dir").mkdir()
    assert export("dir")[0] == 74


def test_a_reader_that_goes_away_is_141():
    write("d.jsonl", *(letter('"' + "x" * 1000 + '"', id=str(n)) for n in range(1000)))
    command = f"{sys.executable} -m jqcli dlq export d.jsonl | head -1 >/dev/null; exit ${{PIPESTATUS[0]}}"
    path = str(Path(__file__).parents[2])
    done = subprocess.run(
        ["/bin/bash", "-c", command], capture_output=True, check=False, env=os.environ | {"PYTHONPATH": path}
    )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("line", [b"", b"{", b'{"a":1', b'{"a":1}}', b'{"a":1} x', b"[1]", b'x{"a":1}', b'"{}"'])
def test_what_is_no_whole_object_has_no_members(line):
    assert find_members(line) is None


# Groups and filters


def dead(name, reason="max_attempts", kind="builtins.KeyError", message="no user 7", **more):
    """Return a letter as a run writes it, as far as these commands look at it."""
    said = {
        "id": name,
        "key": f"5f01ab:{len(name):032x}" if "key" not in more else more.pop("key"),
        "reason": reason,
        "error": {"type": kind, "message": message, "stacktrace": "Traceback\n  line\n"},
        "attempts": 2,
        "history": [
            {"attempt": 1, "at": "2026-11-26T10:00:00.000Z", "duration": 0.5, "type": kind, "message": message}
        ],
        "job": {"id": name, "payload": 1},
        "source": f"jobs.jsonl:{name}",
        "handler": "tasks.py:charge",
        "cwd": os.getcwd(),
        "dead_at": "2026-11-26T10:00:00.000Z",
        "redrives": 0,
        **more,
    }
    return json.dumps(said, separators=(",", ":")) + "\n"


LETTERS = {
    "a": {},
    "b": {"message": "no user 12", "dead_at": "2026-11-26T12:00:00.000Z", "tenant": "shop"},
    "c": {"reason": "timeout", "kind": "jqcli.errors.JobTimeout", "message": "after 3 s", "key": "5f01ab:=k"},
    "dd": {
        "reason": "duplicate_of_dead",
        "kind": "jqcli.errors.JobTimeout",
        "message": "after 3 s",
        "key": "5f01ab:=k",
    },
    "eee": {"kind": "shop.CardError", "message": "\x1b[2Jcard", "attempts": 5, "handler": "tasks.py:refund"},
}


@pytest.fixture
def letters():
    write("d.jsonl", *(dead(name, **more) for name, more in LETTERS.items()))


@pytest.mark.parametrize(
    "words, found",
    [
        ([], "a b c dd eee"),
        (["--reason", "max_attempts"], "a b eee"),
        (["--reason", "timeout"], "c dd"),
        (["--reason", "timeout", "--reason", "max_attempts", "--limit", "4"], "a b c dd"),
        (["--error", "KeyError"], "a b"),
        (["--error", "jqcli.errors.JobTimeout"], "c dd"),
        (["--match", "user [0-9]$"], "a"),
        (["--group", "KeyError: no user *"], "a b"),
        (["--id", "a", "--id", "eee"], "a eee"),
        (["--handler", "tasks.py:refund"], "eee"),
        (["--from-handler", "tasks.py:refund"], "eee"),
        (["--tenant", "shop"], "b"),
        (["--since", "2026-11-26T11:00:00Z"], "b"),
        (["--until", "2026-11-26T11:00:00+00:00"], "a c dd eee"),
        (["--since", "1796000000"], ""),
        (["--since", "0s"], ""),
        (["--min-attempts", "3"], "eee"),
        (["--limit", "2"], "a b"),
        (["--reason", "expired"], ""),
    ],
)
def test_the_filters_choose_and_a_duplicate_is_dead_of_what_its_first_died_of(letters, words, found):
    code, out, _ = dlq("list", "--json", "d.jsonl", *words)
    assert (code, [json.loads(line)["id"] for line in out.splitlines()]) == (0, found.split())
    assert len(export("d.jsonl", *words)[1].splitlines()) == len(found.split())


@pytest.mark.parametrize(
    "words, said",
    [
        (["--reason", "timeuot"], "did you mean 'timeout'"),
        (["--match", "("], "is no regular expression"),
        (["--since", "noon"], "is no time"),
        (["--limit", "0"], "--limit"),
    ],
)
def test_a_wrong_filter_is_exit_2(letters, words, said):
    for command in ("summary", "list", "export", "drop", "retry"):
        code, out, err = dlq(command, "d.jsonl", *words)
        assert (code, out) == (2, "")
        assert said in err


def test_the_summary_groups_by_reason_and_fingerprint_and_gives_commands_that_choose_the_same(letters):
    code, out, _ = dlq("--json", "d.jsonl")
    assert code == 0
    groups = [json.loads(line) for line in out.splitlines()]
    assert [(group["reason"], group["fingerprint"], group["count"]) for group in groups] == [
        ("max_attempts", "KeyError: no user *", 2),
        ("timeout", "JobTimeout: after * s", 2),
        ("max_attempts", "CardError: \x1b[*Jcard", 1),
    ]
    assert (groups[0]["first_at"], groups[0]["last_at"]) == ("2026-11-26T10:00:00.000Z", "2026-11-26T12:00:00.000Z")
    assert groups[0]["sample_id"] == "a"
    for group in groups:
        words = group["retry"].removesuffix(" -H HANDLER")
        done = subprocess.run(
            ["bash", "-c", words.replace("jq-run dlq retry", f"{sys.executable} -m jqcli dlq list --json")],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            check=True,
        )
        assert len(done.stdout.splitlines()) == group["count"]


def test_the_summary_is_the_default_and_shows_no_control_byte(letters):
    code, out, _ = dlq("d.jsonl")
    assert (code, out) == dlq("summary", "d.jsonl")[:2]
    assert "jq-run dlq retry d.jsonl --reason timeout --group 'JobTimeout: after * s' -H HANDLER" in out
    assert "\x1b" not in out + dlq("list", "d.jsonl")[1] + dlq("show", "eee", "d.jsonl")[1]


def test_a_name_of_a_handler_that_no_file_can_have_is_not_trusted():
    said = letter("1").rstrip("}\n") + ',"handler":"a\\u0000b.py:do","cwd":"/"}\n'
    write("d.jsonl", said)
    code, out, err = dlq("d.jsonl")
    assert (code, err) == (0, "")
    assert "-H HANDLER" in out
    assert dlq("retry", "d.jsonl")[0] == 2


def test_the_summary_for_programs_shows_no_control_byte_either():
    """People see it at a terminal, too, and `\\x9b` begins an escape there."""
    write("d.jsonl", letter("1").replace('\\"job\\":1,}', "\x9b2J\u202e"))
    code, out, _ = dlq("--json", "d.jsonl")
    assert (code, json.loads(out)["message"]) == (0, "\x9b2J\u202e")
    assert out.isascii()


@pytest.mark.parametrize("member", ["attempts", "redrives", "dead_at", "tenant", "history"])
def test_no_member_of_a_letter_drives_a_terminal_whatever_it_is(member):
    """A file of letters may come from anybody."""
    hostile = '"\\u001b[2J\\u009b"'
    value = f'[{{"attempt":{hostile},"at":{hostile}}}]' if member == "history" else hostile
    write("d.jsonl", letter("1").rstrip("}\n") + f',"{member}":{value}}}\n')
    for words in (["d.jsonl"], ["list", "d.jsonl"], ["show", "a", "d.jsonl"]):
        code, out, err = dlq(*words)
        assert (code, err) == (0, "")
        assert not {"\x1b", "\x9b"} & set(out)


def test_show_shows_all_of_a_letter(letters):
    code, out, _ = dlq("show", "b", "d.jsonl")
    assert code == 0
    for text in ("max_attempts", "no user 12", "attempt 1 at", "Traceback", "jobs.jsonl:b", "tasks.py:charge", "shop"):
        assert text in out
    assert out.endswith('{"id":"b","payload":1}\n')
    assert dlq("show", "b", "d.jsonl", "--json")[1] == dead("b", **LETTERS["b"])
    code, out, err = dlq("show", "zz", "d.jsonl")
    assert (code, out) == (1, "")
    assert "no dead letter of a job 'zz'" in err


def test_drop_removes_what_is_chosen_and_wants_to_be_told_what(letters):
    before = Path("d.jsonl").read_bytes()
    assert "say --all" in dlq("drop", "d.jsonl")[2]
    assert "takes no filter" in dlq("drop", "d.jsonl", "--all", "--id", "a")[2]
    assert Path("d.jsonl").read_bytes() == before
    assert dlq("drop", "d.jsonl", "--reason", "timeout", "--json") == (0, '{"dlq": "d.jsonl", "dropped": 2}\n', "")
    assert Path("d.jsonl").read_text() == "".join(dead(name, **LETTERS[name]) for name in ("a", "b", "eee"))
    assert dlq("drop", "d.jsonl", "--all")[0] == 0
    assert not list(Path().iterdir())


def test_a_letter_that_supersedes_another_goes_with_it():
    write("d.jsonl", dead("a", attempts=1), dead("a", attempts=3), dead("b"))
    assert [json.loads(line)["attempts"] for line in dlq("list", "--json", "d.jsonl")[1].splitlines()] == [3, 2]
    dlq("drop", "d.jsonl", "--id", "a")
    assert Path("d.jsonl").read_text() == dead("b")


def test_a_torn_line_behind_the_last_letter_is_not_copied():
    write("d.jsonl", dead("a"), dead("b"), dead("c")[:40])
    assert dlq("drop", "d.jsonl", "--id", "a")[0] == 0
    assert Path("d.jsonl").read_text() == dead("b")


def test_a_dlq_keeps_its_mode_and_a_symlink_stays_one(letters):
    os.chmod("d.jsonl", 0o640)
    os.symlink("d.jsonl", "link.jsonl")
    assert dlq("drop", "link.jsonl", "--id", "a")[0] == 0
    assert os.path.islink("link.jsonl")
    assert os.stat("d.jsonl").st_mode & 0o777 == 0o640
    assert "".join(sorted(os.listdir())) == "d.jsonllink.jsonl"


@pytest.mark.parametrize("command", ["summary", "list", "export", "drop", "retry"])
def test_a_foreign_file_is_65_and_stays_as_it_is(command):
    write("d.jsonl", "{}\n")
    words = ["--reason", "timeout"]
    assert dlq(command, "d.jsonl", *words)[0] == 65
    assert Path("d.jsonl").read_text() == "{}\n"
    assert os.listdir() == ["d.jsonl"]


@pytest.mark.parametrize("command", ["summary", "list", "drop", "retry"])
def test_a_missing_dlq_is_an_empty_one_for_all(command):
    assert dlq(command, "none.jsonl", "--reason", "timeout")[0] == 0
    assert not list(Path().iterdir())
