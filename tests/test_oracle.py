"""The oracle itself: it must fail where a record is missing, double, torn, foreign, or of work that was not done."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest

from tests import oracle

TAG = "5f01ab"
INPUT = b"".join(
    json.dumps(line).encode() + b"\n"
    for line in [{"n": 1}, {"id": "a", "payload": {"n": 2}}, {"n": 1}, {"n": 3}, {"key": "k", "payload": {"n": 4}}]
)
LOG = [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}]


def key(payload, given=None):
    return f"{TAG}:{oracle.payload_hash(payload)}" if given is None else f"{TAG}:={given}"


def records():
    base = {"status": "completed", "attempts": 1, "duration": 0.1}
    return [
        {"id": "jobs:1", "key": key({"n": 1}), "result": 1} | base,
        {"id": "a", "key": key({"n": 2}), "result": 2} | base,
        {"id": "jobs:3", "key": key({"n": 1}), "status": "duplicate", "duplicate_of": "jobs:1", "result": 1},
        {"id": "jobs:5", "key": key(0, "k"), "payload_hash": oracle.payload_hash({"n": 4}), "result": 4} | base,
    ]


def letters():
    job = {"n": 3}
    return [{"id": "jobs:4", "key": key(job), "reason": "rejected", "attempts": 1, "job": job, "error": {}}]


def check(folder, results, dead, log=LOG, now=INPUT, **more):
    paths = []
    for name, lines in (("results", results), ("letters", dead), ("log", log)):
        paths.append(folder / name)
        text = lines if isinstance(lines, bytes) else b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        paths[-1].write_bytes(text)
    return oracle.check_lines(now, *paths, **more)


def test_it_imports_nothing_but_the_standard_library():
    tree = ast.parse(Path(oracle.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_it_is_content_with_what_is_right(tmp_path):
    count = check(tmp_path, records(), letters())
    assert count.statuses == {"completed": 3, "duplicate": 1, "dead": 1}


def changed(at, **members):
    lines = records()
    lines[at] |= members
    return lines


WRONG = {
    "missing": (records()[:-1], letters(), LOG),
    "missing letter": (records(), [], LOG),
    "double": ([*records(), records()[1]], letters(), LOG),
    "double letter": (records(), letters() * 2, LOG),
    "in both": ([*records(), records()[0] | {"id": "jobs:4", "key": key({"n": 3})}], letters(), LOG),
    "foreign key": (changed(0, key=key({"n": 9})), letters(), LOG),
    "foreign id": (changed(0, id="jobs:2"), letters(), LOG),
    "other payload of a key": (changed(3, payload_hash=oracle.payload_hash(9)), letters(), LOG),
    "no status": (changed(0, status="done"), letters(), LOG),
    "first of nobody": (changed(2, duplicate_of="jobs:4"), letters(), LOG),
    "other result": (changed(2, result=2), letters(), LOG),
    "both ran": (changed(2, status="completed", attempts=1), letters(), [*LOG, {"n": 1}]),
    "ran too often": (records(), letters(), [*LOG, {"n": 2}]),
    "never ran": (records(), letters(), LOG[1:]),
    "work without a record": (records(), letters(), [*LOG, {"n": 7}]),
    "no line at all": (b"what is this\n", letters(), LOG),
}


@pytest.mark.parametrize("results, dead, log", WRONG.values(), ids=WRONG)
def test_it_fails_where_anything_is_wrong(tmp_path, results, dead, log):
    with pytest.raises((AssertionError, ValueError, KeyError)):
        check(tmp_path, results, dead, log)


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_it_fails_where_a_line_is_torn(tmp_path, cut):
    text = b"".join(json.dumps(line).encode() + b"\n" for line in records())[:-cut]
    with pytest.raises(AssertionError, match="torn"):
        check(tmp_path, text, letters())


def test_deaths_and_crashes_excuse_work_that_was_done_again_and_no_more(tmp_path):
    again = [*LOG, {"n": 2}]
    check(tmp_path, records(), letters(), again, deaths=1)
    check(tmp_path, records(), letters(), again, crashes=1)
    with pytest.raises(AssertionError, match="ran 3 times"):
        check(tmp_path, records(), letters(), [*again, {"n": 2}], deaths=1)


def test_of_an_edited_input_it_wants_a_record_for_every_line_that_is_there_now(tmp_path):
    lines = INPUT.splitlines(keepends=True)
    moved = b"".join([lines[3], lines[1], lines[0]])  # two lines gone, one of them a duplicate
    check(tmp_path, records(), letters(), now=moved, earlier=(INPUT,))
    with pytest.raises(AssertionError, match="nobody asked"):
        check(tmp_path, records(), letters(), now=moved)
    with pytest.raises(AssertionError, match="0 records for 1 lines"):
        check(tmp_path, records(), letters(), now=moved + b'{"new": 1}\n', earlier=(INPUT,))
    with pytest.raises(AssertionError, match="2 records for 3 lines"):
        check(tmp_path, records(), letters(), now=moved + lines[0] * 2, earlier=(INPUT,))
