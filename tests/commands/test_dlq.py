"""Laws of `jq-run dlq export`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jqcli.edge.letter import find_members


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def letter(job, *, id="a", key="t:1", reason="rejected", body="job"):  # noqa: A002 - the member's name
    error = '{"message":"\\"job\\":1,}"}'
    return f'{{"id":"{id}","key":"{key}","reason":"{reason}","error":{error},"{body}":{job}}}\n'


def write(name, *lines):
    Path(name).write_text("".join(lines))


def export(*paths):
    command = [sys.executable, "-m", "jqcli", "dlq", "export", *paths]
    path = str(Path(__file__).parents[2])
    done = subprocess.run(command, capture_output=True, check=False, env=os.environ | {"PYTHONPATH": path})
    return done.returncode, done.stdout.decode(), done.stderr.decode()


DEEP = "[" * 3000 + "]" * 3000


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
        "9" * 5000,
    ],
    ids=range(8),
)
def test_a_job_is_printed_as_the_very_bytes_of_its_line(job):
    write("d.jsonl", letter(job))
    assert export("d.jsonl") == (0, job + "\n", "")


def test_the_last_letter_of_each_job_wins_over_all_files():
    write("d.jsonl", letter("1"), letter("2", id="b"), letter("3"))
    write("e.jsonl", letter("4", id="b"), letter("5", key="t:2"))
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


def test_a_missing_dlq_is_an_empty_one():
    assert export("none.jsonl") == (0, "", "")


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
