"""Laws of reading back: a file of any bytes is taken in, or refused by name; and what was taken in can be used."""

from __future__ import annotations

import json
import os
import tempfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jqcli.core.letter import find_members, letter_of
from jqcli.core.settled import Settled
from jqcli.edge.journal import read_blocks, read_letters, read_results
from jqcli.edge.letter import open_letters
from jqcli.edge.sink import ResultsFile, search_records
from jqcli.errors import ForeignFileError

TAG = "5f01ab"
HASH = "0123456789abcdef" * 2
KEY = f"{TAG}:{HASH}"
RESULT = {"id": "jobs:1", "key": KEY, "status": "completed", "result": 1, "attempts": 1, "duration": 0.1}
LETTER = {
    "id": "jobs:1", "key": KEY, "reason": "rejected", "error": {"type": "t", "message": "m"}, "job": {"n": 1},
    "output": "/out",
}  # fmt: skip
ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=6), st.just(10**30), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from([KEY, f"{TAG}:", f"{TAG}:zz", f"{TAG}:={HASH}", f"{TAG}:@a=b", "completed", "skipped", HASH]),
)  # fmt: skip


def spoil(record):
    """Return lines near a record: with members changed, added and left out, and with bytes changed."""
    names = [*record, "payload_hash", "redrives", "raw", "duplicate_of"]
    changed = st.dictionaries(st.sampled_from(names), ANYTHING, max_size=2).map(
        lambda members: json.dumps(record | members, separators=(",", ":")).encode()
    )
    lacking = st.sampled_from(list(record)).map(
        lambda name: json.dumps({n: v for n, v in record.items() if n != name}, separators=(",", ":")).encode()
    )
    whole = json.dumps(record, separators=(",", ":")).encode()
    cut = st.tuples(st.integers(0, len(whole)), st.binary(max_size=3)).map(lambda p: whole[: p[0]] + p[1])
    patched = st.tuples(st.integers(0, len(whole)), st.integers(0, 9), st.binary(max_size=3)).map(
        lambda p: whole[: p[0]] + p[2] + whole[p[0] + p[1] :]
    )
    line = st.one_of(st.just(whole), changed, lacking, cut, patched, st.binary(max_size=30))
    return st.lists(line, min_size=1, max_size=4).map(lambda lines: b"\n".join(lines) + b"\n")


def read(reader, data):
    """Return what was settled by a file of these bytes, None where it was refused by name."""
    settled = Settled()
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            reader(file.fileno(), settled)
        except ForeignFileError as error:
            assert str(error).startswith("name:")  # noqa: PT017 - either way is right
            return None
    return settled


def take_results(fd, settled):
    read_results(fd, "name", TAG, settled, lambda tag: f"is of {tag}", lambda: True)


def line_of(record, **members):
    return json.dumps(record | members, separators=(",", ":")).encode() + b"\n"


def test_a_given_key_belongs_to_who_ran_and_to_no_duplicate():
    given = {"key": f"{TAG}:=k", "payload_hash": HASH}
    assert read(take_results, line_of(RESULT, **given, status="duplicate")).owners == {}
    assert set(read(take_results, line_of(RESULT, **given)).owners.values()) == {bytes.fromhex(HASH)}


def test_a_line_that_killed_who_read_it_is_not_read_again():
    unread = {name: value for name, value in LETTER.items() if name != "job"} | {"raw": "{", "reason": "worker_crash"}
    assert read(take_letters, line_of(unread)).unread == {bytes.fromhex(HASH)}
    assert read(take_letters, line_of(LETTER, reason="worker_crash")).unread == set()


def test_nothing_is_read_behind_the_end_that_was_named():
    with tempfile.TemporaryFile() as file:
        file.write(b"one\ntwo\nthree\n")
        file.flush()
        assert list(read_blocks(file.fileno(), "name", 8)) == [(0, b"one\ntwo\n")]


@given(spoil(RESULT))
@example(b'{"id":"a","key":"5f01ab:zz","status":"completed"}\n')
@example(b'{"id":"a","key":"5f01ab:=a","payload_hash":3,"status":"completed"}\n')
@example(b'{"id":"a","key":"5f01ab:=a","payload_hash":"zz","status":"completed"}\n')
@example(b'{"id":[],"key":"5f01ab:%b","status":"completed"}\n' % HASH.encode())
@example(b'{"id":"a","key":"5f01ab:%b","status":["completed"]}\n' % HASH.encode())
def test_results_of_any_bytes_are_read_or_refused_by_name(data):
    settled = read(take_results, data)
    assert settled is None or settled.count == data.count(b"\n")


def take_letters(fd, settled):
    read_letters(fd, "name", TAG, "/out", settled, lambda: True)


@given(spoil(LETTER))
@example(b'{"id":"a","key":"5f01ab:zz","reason":"x","output":"/out"}\n')
@example(b'{"id":"a","key":"5f01ab:%b","reason":"x","output":"/out","job":1,"error":[]}\n' % HASH.encode())
@example(b'{"id":"a","key":"5f01ab:%b","reason":"x","output":"/out","payload_hash":1}\n' % HASH.encode())
def test_letters_of_any_bytes_are_read_or_refused_by_name(data):
    read(take_letters, data)


@pytest.mark.parametrize(
    "changed, status",
    [({}, "dead"), ({"output": "/other"}, None), ({"output": None}, None), ({"key": f"5f01ac:{HASH}"}, None)],
    ids=["own", "other-results", "stdout", "other-tag"],
)
def test_in_a_shared_file_only_the_letters_of_this_command_line_settle_anything(changed, status):
    settled = read(take_letters, json.dumps(LETTER | changed).encode() + b"\n")
    assert settled.claim(bytes.fromhex(HASH), bytes(8)) == status


@given(spoil(RESULT))
@example(json.dumps({"id": "a", "key": KEY, "status": "completed"}, separators=(",", ":")).encode() + b"\n")
@example(b'{"id":"a","key":"%b","status":"completed","result":}\n' % KEY.encode())
@example(b'3,"key":"%b"\n' % KEY.encode())
def test_a_record_is_looked_for_in_any_bytes(data):
    found = search_records(data, KEY)
    assert found is None or found.status in ("completed", "skipped")
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        assert ResultsFile(os.dup(file.fileno()), "name").find_at(0, KEY) == found


@given(spoil(LETTER))
@example(b"{" * 100_000 + b"\n")
@example(b'{"id":1,"key":2,"reason":3,"job":' + b"[" * 100_000 + b"\n")
@example(b'{"' + b'\\"' * 500_000 + b"\n")
@example(b"\n")
@example(b'{"id":1,"key":"5f01ab:=k","reason":"rejected","job":1}\n')
@example(b'{"id":1,"key":"5f01ab:=k","reason":"rejected"}\n')
@example(b'{"id":1,"key":"k","reason":"rejected","job":1}\n')
@example(b'{"id":1,"key":"5f01ab:=k","reason":"rejected","job":1,"error":"text"}\n')
def test_letters_of_any_bytes_are_exported_or_refused_by_name(data):
    for line in data.split(b"\n"):
        letter = letter_of(line)
        if letter is not None and letter.job is not None:
            assert letter.job in line
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            with open_letters([file.name]) as files:
                list(files.read_last())
            is_read = True
        except ForeignFileError as error:
            assert str(error).startswith(file.name)  # noqa: PT017 - either way is right
            is_read = False
    assert is_read is (read(take_letters, data) is not None), "a line is a letter to all who read it, or to nobody"


@given(
    st.dictionaries(st.text(max_size=4).filter(lambda name: '"' not in json.dumps(name)[1:-1]), ANYTHING, max_size=4)
)
def test_members_are_found_as_the_very_bytes_that_stand_there(members):
    line = json.dumps(members).encode()
    found = find_members(line)
    assert found is not None
    assert {name: json.loads(text) for name, text in found.items()} == {
        json.dumps(name)[1:-1].encode(): value for name, value in members.items()
    }


@pytest.mark.parametrize("size", [1, 4096, (1 << 18) - 1, 1 << 18, (1 << 18) + 1])
def test_records_over_the_borders_of_what_is_read_at_once_are_whole(size):
    lines = [RESULT | {"id": f"jobs:{n}", "result": "x" * size} for n in range(3)]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    settled = read(take_results, text.encode())
    assert settled is not None
    assert settled.count == 3


def test_a_record_of_many_megabytes_is_read_in_few_steps(monkeypatch):
    """Each step puts together what it has: with steps of one size the work would be the square of the length."""
    steps = []
    pread = os.pread

    def count(fd, size, offset):
        steps.append(size)
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", count)
    text = json.dumps(RESULT | {"result": "x" * (16 << 20)}, separators=(",", ":")) + "\n"
    settled = read(take_results, text.encode())
    assert settled is not None
    assert settled.count == 1
    with tempfile.TemporaryFile() as file:
        file.write(text.encode())
        file.flush()
        assert ResultsFile(os.dup(file.fileno()), "name").find_at(0, KEY) is not None
    assert len(steps) < 25
