"""Lines that nobody would write on purpose: each is a record or a letter with its number and its bytes."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random

import pytest

from tests import oracle
from tests.command import DEEDS, memory_of, wait_for

pytestmark = pytest.mark.walk

BOM = b"\xef\xbb\xbf"
# Line, and what must become of it: None for a job, else the reason of its letter.
LINES = {
    b"[]": None,
    b"3": None,
    b"null": None,
    b"false": None,
    b'""': None,
    b" 7 \r": None,
    b'"\x7f"': None,
    b'{"payload":null}\r': None,
    b'{"a":1}\x00': "invalid_json",
    b"\x00": "invalid_json",
    b'"\x00"': "invalid_json",
    b'"\xff\xfe"': "invalid_json",
    b'"\xc3"': "invalid_json",
    b'{"a":1} {"b":2}': "invalid_json",
    b"{}{}": "invalid_json",
    b"1,2": "invalid_json",
    b"{": "invalid_json",
    b"]": "invalid_json",
    b"'a'": "invalid_json",
    b"NaN": "invalid_json",
    b"-Infinity": "invalid_json",
    b"1e999": "invalid_json",
    b"\x0b": None,  # blank to Python, and not to JSON; see below
    BOM + b"1": "invalid_json",
    b'"\\ud800"': "invalid_json",
    b'{"\\udfff":1}': "invalid_json",
    b"[" * 1025 + b"]" * 1025: "invalid_json",
    b"[" * 100_000 + b"]" * 100_000: "invalid_json",
    b"[" * 100_000: "invalid_json",
    b'{"a":' * 1025 + b"1" + b"}" * 1025: "invalid_json",
    b"9" * 5000: "invalid_json",
    b'{"payload":1,"not_before":1e308}': "invalid_job",
    b'{"payload":1,"not_before":-1e308}': "invalid_job",
    b'{"payload":1,"expires":1e300}': "invalid_job",
    b"-" + b"8" * 5000: "invalid_json",
    b"0." + b"7" * 5000: None,
    b'{"a":1,"a":2}': None,
    b"[" * 300 + b"]" * 300: None,
    b'{"payload":1,"payloda":2}': "invalid_job",
    b'{"payload":1,"id":1.5}': "invalid_job",
    b'{"payload":1,"handler":"os:system"}': "invalid_job",
}
del LINES[b"\x0b"]


def body_of(letter):
    """Return the bytes of a letter's line, as the letter alone says them."""
    if "raw_base64" in letter:
        return base64.b64decode(letter["raw_base64"])
    return letter["raw"].encode()


@pytest.mark.parametrize("words", [[], ["-b", "1"], ["-k", "-b", "100"], ["-j", "0"]], ids=" ".join)
@pytest.mark.parametrize("is_piped", [False, True], ids=["file", "stdin"])
def test_every_line_is_a_record_or_a_letter_with_its_number_and_bytes(folder, is_piped, words):
    """Faults 30 and 31: jobs, blank lines and unusable lines beside each other, with a BOM and no final newline."""
    lines = [*LINES, b"", b"  \t", b"\r", b'{"last":1}']
    content = BOM + b"\n".join(lines)
    folder.write("stdin.jsonl", content)
    inputs = ["-"] if is_piped else ["stdin.jsonl"]
    ran = folder.run(
        *inputs, "-H", f"{DEEDS}:other", "-o", "results.jsonl", "-d", "dlq.jsonl", "--summary", "json", *words,
        stdin=content if is_piped else b"", code=1,
    )  # fmt: skip
    results = oracle.index(oracle.read_lines(folder / "results.jsonl"))
    letters = oracle.index(oracle.read_lines(folder / "dlq.jsonl"))
    dead = 0
    for number, (line, reason) in enumerate(LINES.items(), 1):
        name = f'"stdin:{number}"'
        if reason is None:
            assert results[name]["status"] in ("completed", "duplicate"), line[:40]
            continue
        dead += 1
        letter = letters[name]
        assert (letter["reason"], letter["attempts"]) == (reason, 0), line[:40]
        assert letter["source"].endswith(f":{number}")
        if reason == "invalid_job":
            assert letter["job"] == json.loads(line)
        else:
            assert body_of(letter) == line
    assert len(letters) == dead
    assert len(results) == len(LINES) + 1 - dead
    assert (ran.summary["read"], ran.summary["dead"]) == (len(LINES) + 1, dead)


VERBATIM = [
    b'{"do":"reject","deep":' + b"[" * 300 + b"]" * 300 + b"}",
    b'{"do":"reject","deep":' + b"[" * 999 + b"]" * 999 + b"}",
    b'{"do":"reject","n":' + b"9" * 300 + b"}",
    b'{"do":"reject","n":0.' + b"7" * 5000 + b"}",
    b'{"do":"reject","do":"reject","a":1,"a":2}',
    b'{"payload" : {"do":"reject", "f":1.0e0, "s":"\\u00e9\\/\xe2\x80\xae"} , "id":100000000000000000001}',
    b'{"payload":{"do":"reject"},"tenant":' + b"7" * 40 + b"}",
]


def test_the_letter_of_a_job_holds_its_line_byte_for_byte_whatever_it_is(folder):
    """Fault 31."""
    folder.write("jobs.jsonl", b"\n".join(VERBATIM) + b"\n")
    folder.write("tasks.py", "from jqcli import Reject\ndef do(payload):\n    raise Reject('no')\n")
    words = ("-H", "tasks.py:do", "-o", "results.jsonl", "--summary", "json")
    said = folder.run("jobs.jsonl", *words, code=1).summary
    assert (said["dead"], said["errors"][0]["count"]) == (len(VERBATIM), len(VERBATIM))
    letters = (folder / "jobs.dlq.jsonl").read_bytes().splitlines()
    assert len(letters) == len(VERBATIM)
    for line in VERBATIM:
        assert sum(b'"job":' + line + b',"source"' in letter for letter in letters) == 1, line[:60]
    assert folder.run("dlq", "export", "jobs.dlq.jsonl", deed=False, code=0).out.splitlines() == VERBATIM
    again = folder.run("jobs.jsonl", *words, code=1).summary
    assert again["settled_before"] == len(VERBATIM)


@pytest.mark.parametrize("deed", [{"n": 1}, {"do": "reject"}, {"do": "skip"}], ids=["done", "dead", "skipped"])
def test_a_duplicate_of_a_job_with_an_id_over_64_bits_names_it_exactly(folder, deed):
    """Fault 34: also where the first was settled by an earlier run."""
    first, second, third = 10**20 + 1, 10**20 + 2, -(10**30)
    folder.write("jobs.jsonl", [{"id": name, "payload": deed} for name in (first, second)])
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=int(deed.get("do") == "reject"))
    folder.write("jobs.jsonl", [{"id": name, "payload": deed} for name in (first, second, third)])
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=int(deed.get("do") == "reject"))
    count = folder.check()
    assert count.executions.total() == 1
    for name in (second, third):
        line = count.records.get(str(name)) or count.letters[str(name)]
        assert line["duplicate_of"] == first


def feed(child, size):
    """Write a line of so many bytes, in pieces of 1 MiB."""
    piece = b"x" * (1 << 20)
    for _ in range(size >> 20):
        child.stdin.write(piece)


def test_a_line_of_a_gibibyte_is_too_long_and_the_parent_stays_small(folder):
    """Fault 32: the whole of it goes through the parent, of which 4 KiB, the size and the place are kept."""
    child = folder.start("-", "-o", "results.jsonl", "-d", "dlq.jsonl")
    child.stdin.write(b"1\n")
    feed(child, 1 << 30)
    child.stdin.write(b"\n2\n")
    child.stdin.flush()
    results = folder / "results.jsonl"
    wait_for(lambda: results.exists() and results.read_bytes().count(b"\n") == 2, 60)
    assert memory_of(child.pid) < 150 << 20
    child.stdin.close()
    assert child.wait(10) == 1
    (letter,) = oracle.read_lines(folder / "dlq.jsonl")
    assert (letter["reason"], letter["id"], letter["attempts"]) == ("line_too_long", "stdin:2", 0)
    assert (letter["size"], letter["offset"], letter["raw"]) == (1 << 30, 2, "x" * 4096)
    assert [record["id"] for record in oracle.read_lines(results)] == ["stdin:1", "stdin:3"]


@pytest.mark.parametrize("tail", [b'{"n": ', b"12", b'"\xff', b"", b"\r"], ids=["open", "whole", "bytes", "none", "cr"])
def test_a_producer_that_is_killed_in_a_line_leaves_every_line_one_record(folder, tail):
    """Fault 33: a last line without newline that happens to be JSON is a job, as in a file."""
    folder.write("part", b"1\n2\n" + tail)
    ran = folder.shell("(cat part; kill -9 $BASHPID) | $JQ - -o results.jsonl -d dlq.jsonl -k")
    dead = tail in (b'{"n": ', b'"\xff')
    assert ran.code == int(dead), ran.err
    folder.write("stdin.jsonl", b"1\n2\n" + tail)
    count = folder.check(dlq="dlq.jsonl", jobs=["stdin.jsonl"])
    assert count.statuses == {"completed": 3 if tail == b"12" else 2} | ({"dead": 1} if dead else {})
    if dead:
        assert body_of(count.dead[0]) == tail


def test_results_flow_while_stdin_never_ends_also_out_of_half_a_line(folder):
    """Fault 33: what came whole is done; the half line waits for its end and no longer."""
    child = folder.start("-", "-k")
    for n in range(3):
        child.stdin.write(b'{"n": %d}\n{"n"' % (2 * n))
        child.stdin.flush()
        assert json.loads(child.stdout.readline())["result"] == {"payload": {"n": 2 * n}}
        child.stdin.write(b": %d}\n" % (2 * n + 1))
        child.stdin.flush()
        assert json.loads(child.stdout.readline())["result"] == {"payload": {"n": 2 * n + 1}}
    assert child.poll() is None
    child.stdin.close()
    assert child.wait(10) == 0


def test_a_line_that_comes_byte_by_byte_is_one_job(folder):
    """Fault 33."""
    child = folder.start("-")
    for byte in b'{"text": "gr\xc3\xbcn"}\n':
        os.write(child.stdin.fileno(), bytes([byte]))
    assert json.loads(child.stdout.readline())["result"] == {"payload": {"text": "grün"}}
    child.stdin.close()
    assert child.wait(10) == 0


ALIKE = ["100000000000000000001", "100000000000000000002", "1", "1.0", '"1"', "true", '"\u00e9"', '"e\u0301"', "[1]"]


@pytest.mark.parametrize("words", [[], ["-b", "1"], ["-b", "100"]], ids=" ".join)
def test_payloads_that_only_look_alike_all_run_in_envelopes_and_in_depth_too(folder, words):
    """Fault 34."""
    shapes = ("{}", '{{"payload":{}}}', '{{"id":{}}}', '{{"a":[[{}]]}}')
    lines = [shape.format(text) for shape in shapes[::2] + shapes[3:] for text in ALIKE]
    folder.write("jobs.jsonl", "\n".join(lines) + "\n")
    folder.run("jobs.jsonl", "-o", "results.jsonl", *words, code=0)
    count = folder.check()
    assert count.statuses == {"completed": len(lines)}
    assert count.executions.total() == len(lines)


@pytest.mark.parametrize("words", [[], ["-k"], ["-j", "0"]], ids=" ".join)
def test_of_an_input_that_is_cut_short_all_lines_before_that_are_done_and_the_rest_once_it_is_whole(folder, words):
    whole = gzip.compress("".join(json.dumps({"n": n, "x": random.random()}) + "\n" for n in range(5000)).encode())
    folder.write("jobs.jsonl.gz", whole[: len(whole) // 2])
    args = ("jobs.jsonl.gz", "-o", "results.jsonl", "--summary", "text", *words)
    ran = folder.run(*args, code=74)
    done = len((folder / "results.jsonl").read_bytes().splitlines())
    assert 0 < done < 5000
    assert "unfinished" not in ran.err
    assert "cut short; the lines before that are done" in ran.err
    assert "goes on from here" not in ran.err
    again = folder.run(*args, code=74)
    assert f"({done:,} settled before)" in again.err
    assert len(folder.log) == done
    folder.write("jobs.jsonl.gz", whole)
    folder.run(*args, code=0)
    assert sorted(line["n"] for line in folder.log) == list(range(5000))
