"""Laws of the results file: a record is found wherever it is thought to stand, and a torn one is cut exactly."""

from __future__ import annotations

import os

import pytest

from jqcli.edge.sink import UNNUMBERED, ResultsFile
from jqcli.edge.tail import cut_torn_tail


def record(number, status="completed", size=0):
    end = b'"result":"%b"' % (b"x" * size) if status == "completed" else b'"reason":"r"'
    start = b'{"id":"jobs:%d","key":"5f01ab:%d","status":"%b",' % (number, number, status.encode())
    return start + end + b',"attempts":1,"duration":0.5}\n'


@pytest.fixture
def results(tmp_path):
    path = str(tmp_path / "results.jsonl")
    found = ResultsFile(os.open(path, os.O_RDWR | os.O_CREAT), path)
    yield found
    found.close()


@pytest.mark.parametrize("size", [0, 3000, 40_000], ids=["small", "some-in-one-read", "larger-than-a-read"])
def test_a_record_is_found_wherever_it_is_thought_to_stand(results, size):
    results.append(1, [record(number, size=size) for number in range(9)])
    results.append(2, [record(number, size=size) for number in range(9, 30)])
    results.append(UNNUMBERED, [record(30)])
    for share in (0.0, 0.3, 0.5, 0.99):
        for number in range(9, 30):
            assert results.find(2, share, f"5f01ab:{number}").id == f"jobs:{number}"
        assert results.find(2, share, "5f01ab:31") is None
    assert results.find(UNNUMBERED, 0.0, "5f01ab:30") is None
    assert results.find(3, 0.0, "5f01ab:30") is None


@pytest.mark.parametrize("size", [0, 100_000], ids=["small", "longer-than-a-read"])
def test_a_record_of_an_earlier_run_is_found_from_the_offset_of_its_block_on(results, size):
    records = [record(number, size=size) for number in range(9)]
    results.append(1, records)
    starts = [sum(map(len, records[:number])) for number in range(9)]
    for number in range(9):
        for block in range(number + 1):
            assert results.find_at(starts[block], f"5f01ab:{number}").id == f"jobs:{number}"
    assert results.find_at(starts[3], "5f01ab:2") is None, "it stands before the block"


def test_what_only_speaks_of_a_key_or_has_no_result_of_its_own_is_not_the_first(results):
    results.append(1, [record(7).replace(b'"completed"', b'"duplicate"')])
    results.append(1, [record(8).replace(b'"result":""', b'"result":{"key":"5f01ab:7"}')])
    results.append(1, [record(7, status="skipped")])
    assert results.find(1, 0.0, "5f01ab:7").status == "skipped"
    assert results.find_at(0, "5f01ab:7").status == "skipped"


@pytest.mark.parametrize("size", [0, 70_000], ids=["short", "longer-than-a-look"])
def test_a_last_line_torn_at_any_length_is_cut_and_nothing_else(tmp_path, size):
    whole, last = record(1, size=size) + record(2), record(3, size=size).replace(b"jobs", "\u00e9\\\\".encode())
    path = str(tmp_path / "torn")
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    lengths = range(len(last)) if not size else (0, 1, 2, 65_535, 65_536, 65_537, len(last) - 2, len(last) - 1)
    for before in (b"", whole):
        for length in lengths:
            os.ftruncate(fd, 0)
            os.pwrite(fd, before + last[:length], 0)
            assert cut_torn_tail(fd, path) == length
            assert os.pread(fd, 1 << 20, 0) == before
        os.pwrite(fd, before + last, 0)
        assert cut_torn_tail(fd, path) == 0
    os.close(fd)
