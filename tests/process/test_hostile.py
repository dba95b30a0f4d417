"""Law 8, and lines that no one would write: everything is a record, nothing reaches the terminal."""

from __future__ import annotations

import base64
import json

import pytest

from tests import oracle
from tests.command import DEEDS

pytestmark = pytest.mark.walk

BAD = {
    b"{": "invalid_json",
    b'{"a":1} {"b":2}': "invalid_json",
    b"nothing": "invalid_json",
    b'"\xff\xfe"': "invalid_json",
    b"\x00": "invalid_json",
    b"NaN": "invalid_json",
    b"1e400": "invalid_json",
    b'"\\ud800"': "invalid_json",
    b"[" * 100_000: "invalid_json",
    b"[" * 1025 + b"]" * 1025: "invalid_json",
    b'{"payload":1,"idd":2}': "invalid_job",
    b'{"payload":1,"id":{}}': "invalid_job",
    b'{"payload":1,"timeout":"soon"}': "invalid_job",
    b'{"payload":1,"handler":"nobody"}': "invalid_job",
}


def test_each_bad_line_is_a_letter_with_its_number_and_its_bytes(folder):
    """Faults 30 and 31."""
    lines = list(BAD)
    folder.write("jobs.jsonl", b"\n".join(lines))
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    letters = oracle.index(oracle.read_lines(folder / "jobs.dlq.jsonl"))
    assert len(letters) == len(lines)
    for number, (line, reason) in enumerate(BAD.items(), 1):
        letter = letters[f'"jobs:{number}"']
        assert letter["reason"] == reason, line[:60]
        assert letter["source"] == f"jobs.jsonl:{number}"
        if "job" in letter:
            assert letter["job"] == json.loads(line)
        else:
            kept = letter["raw"].encode() if "raw" in letter else base64.b64decode(letter["raw_base64"])
            assert kept == line
        assert letter["attempts"] == 0
    again = folder.run("jobs.jsonl", "-o", "results.jsonl", "--summary", "json", code=1).summary
    assert (again["read"], again["settled_before"], again["dead"]) == (len(lines),) * 3
    assert len(oracle.read_lines(folder / "jobs.dlq.jsonl")) == len(lines)


def test_values_of_any_shape_are_jobs(folder):
    """Faults 30 and 31."""
    deep = b"[" * 300 + b"]" * 300
    deepest = b"[" * 999 + b"]" * 999
    lines = [b"[]", b"3", b"null", b'""', b"{}", b"false", b'{"a":1,"a":2}', b"9" * 300, deep, deepest]
    folder.write("jobs.jsonl", b"\n".join(lines) + b"\n")
    folder.run("jobs.jsonl", "-H", f"{DEEDS}:other", "-o", "results.jsonl", code=0)
    assert len(oracle.read_lines(folder / "results.jsonl")) == len(lines)


def test_a_number_of_any_length_is_a_record_and_the_run_goes_on(folder):
    """Fault 31: a dead letter, or run."""
    folder.write("jobs.jsonl", b"\n".join([b"9" * 5000, b"-" + b"8" * 20_000, b"0." + b"7" * 5000, b"1"]) + b"\n")
    assert folder.run("jobs.jsonl", "-H", f"{DEEDS}:other", "-o", "results.jsonl").code in (0, 1)
    assert folder.check().statuses["completed"] >= 2


@pytest.mark.parametrize(
    "content, records",
    [
        (b"", 0),
        (b"\n\n  \n", 0),
        (b"1", 1),
        (b"1\r\n2\r\n", 2),
        (b"\xef\xbb\xbf1\n2\n", 2),
        (b"\n1\n\n\n2\n\n", 2),
    ],
    ids=["empty", "blank", "no-final-newline", "crlf", "bom", "blank-between"],
)
@pytest.mark.parametrize("is_piped", [False, True])
def test_what_surrounds_the_lines_is_no_line(folder, content, records, is_piped):
    folder.write("jobs.jsonl", content)
    words = ["-"] if is_piped else ["jobs.jsonl"]
    ran = folder.run(*words, "--summary", "json", stdin=content if is_piped else b"", code=0)
    assert len(ran.records) == records
    assert all(record["status"] == "completed" for record in ran.records)
    assert ran.summary["read"] == records
    numbers = [int(record["id"].rpartition(":")[2]) for record in ran.records]
    wanted = [n for n, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1) if line.strip()]
    assert sorted(numbers) == wanted


def test_a_producer_that_dies_in_the_middle_of_a_line_leaves_a_letter(folder):
    """Fault 33."""
    ran = folder.run("-", "-d", "dlq.jsonl", stdin=b'1\n{"n": ', code=1)
    assert len(ran.records) == 1
    assert oracle.read_lines(folder / "dlq.jsonl")[0]["raw"] == '{"n": '


def test_a_line_as_long_as_allowed_is_a_job(folder):
    """Fault 32."""
    folder.write("jobs.jsonl", b'"' + b"x" * 998 + b'"\n"' + b"y" * 999 + b'"\n')
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--max-line", "1000", code=1)
    count = folder.check()
    assert count.reasons == {"line_too_long": 1}
    assert '"jobs:1"' in count.records


EVIL = "\x1b]52;c;ZXZpbA==\x07\x1b[31;7;99m\x9b31m[/][link=x]y[/nope]\u202egnp.exe\u2066\r\n\x00\x08" + "z" * 100_000


def test_nothing_of_a_payload_or_an_error_reaches_the_terminal_as_it_is(folder):
    """Fault 41."""
    folder.write(
        "jobs.jsonl",
        [
            {"id": EVIL[:200], "payload": {"do": "say_badly", "message": EVIL}},
            {"id": "[/]", "payload": {"do": "say_badly", "message": "[/] [bold"}},
            {"id": "ok", "payload": {"text": EVIL}},
            {"id": "slow" + EVIL[:100], "payload": {"do": "pause", "seconds": 0.4}},
        ],
    )
    screen = folder.screen("jobs.jsonl", "-o", "results.jsonl", "-r", "2", "--backoff-base", "1ms")
    assert screen.end() == 1
    for evil in (
        b"\x1b]52",
        b"\x1b[31;7;99m",
        "\x9b".encode(),
        "\u202e".encode(),
        "\u2066".encode(),
        b"\x00",
        b"\x07",
        b"\x08",
    ):
        assert evil not in screen.seen, evil
    assert b"[/]" in screen.seen
    assert b"MarkupError" not in screen.seen
    assert len(screen.seen) < 100_000
    count = folder.check()
    assert count.records['"ok"']["result"]["payload"]["text"] == EVIL
    assert count.letters[oracle.canonical(EVIL[:200])]["job"]["payload"]["message"] == EVIL


def test_a_digest_in_a_pipe_has_no_control_byte_also_with_force_color(folder):
    """Faults 41 and 42."""
    folder.write("jobs.jsonl", [{"id": EVIL[:50], "payload": {"do": "say_badly", "message": EVIL}}])
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", "-r", "1", code=1, FORCE_COLOR="1")
    assert not set(ran.err) & set("\x1b\x9b\x07\x08\x00\r\u202e\u2066")


def test_a_terminal_of_one_column_does_not_stop_a_run(folder):
    """Fault 42."""
    folder.write("jobs.jsonl", [1, {"do": "reject"}])
    screen = folder.screen("jobs.jsonl", "-o", "results.jsonl", columns=1)
    assert screen.end() == 1
    assert folder.check().statuses == {"completed": 1, "dead": 1}


@pytest.mark.parametrize("closed", ["2>&-", "<&-", ">&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors_do_not_stop_a_run_nor_does_print_reach_a_file(folder, closed):
    """Fault 42: a file that is opened then must not become descriptor 1 or 2, where handlers print."""
    folder.write("jobs.jsonl", [{"do": "speak"}, {"do": "reject"}, {"n": 1}])
    ran = folder.shell(f"$JQ jobs.jsonl -o results.jsonl {closed}")
    assert ran.code == 1, ran.err
    assert folder.check().statuses == {"completed": 2, "dead": 1}


def test_results_for_a_closed_stdout_are_an_error_and_not_thrown_away(folder):
    folder.write("jobs.jsonl", [1])
    ran = folder.shell("$JQ jobs.jsonl >&-")
    assert ran.code == 74, ran.err
    assert "stdout" in ran.err


@pytest.mark.parametrize("where", [">&-", ">/dev/full"])
@pytest.mark.parametrize("words", ["check jobs.jsonl", "check jobs.jsonl --explain", "dlq export jobs.dlq.jsonl", "-V"])
def test_a_stdout_that_takes_nothing_is_74_for_every_command(folder, words, where):
    folder.write("jobs.jsonl", [{"do": "reject"}])
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    ran = folder.shell(f"{' '.join(folder.argv(*words.split(), deed=words.startswith('check')))} {where}")
    assert ran.code == 74, ran.err
    assert ran.err.startswith("jq-run: stdout: ")


def test_a_closed_stdin_is_no_empty_input(folder):
    ran = folder.shell("$JQ - -o results.jsonl <&-")
    assert ran.code == 74, ran.err
    assert "stdin" in ran.err


@pytest.mark.parametrize("workers", ["-j 1", "-j 0"])
@pytest.mark.parametrize("where", ["2>/dev/full", "2> >(head -c 1 >/dev/null)"])
def test_a_print_that_nobody_reads_is_no_failure_of_the_job(folder, workers, where):
    deed = "import sys\ndef do(n):\n    print('x' * 9000)\n    print('x' * 9000, file=sys.stderr, flush=True)\n"
    folder.write("tasks.py", deed)
    folder.write("jobs.jsonl", list(range(40)))
    ran = folder.shell(f"$JQ jobs.jsonl -o results.jsonl -r 1 -H tasks.py:do {workers} {where}")
    assert ran.code == 0
    assert len((folder / "results.jsonl").read_text().splitlines()) == 40


def test_the_bytes_of_a_job_line_stand_in_its_letter_as_they_were(folder):
    """Fault 31."""
    line = (
        b'{"payload": {"do": "reject", "big": 100000000000000000001, "f": 1.0, "s": "\\u00e9 \xc3\xa9", "a":1,"a":2}}'
    )
    folder.write("jobs.jsonl", line + b"\n")
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    assert b'"job":' + line + b"," in (folder / "jobs.dlq.jsonl").read_bytes()
    exported = folder.run("dlq", "export", "jobs.dlq.jsonl", deed=False, code=0)
    assert exported.out == line + b"\n"
