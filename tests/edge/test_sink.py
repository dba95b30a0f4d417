"""Laws of the results file: a record is found wherever it is thought to stand, and a torn one is cut exactly."""

from __future__ import annotations

import os
import threading
from contextlib import nullcontext

import pytest

from jqcli.edge import failpoint, sync
from jqcli.edge import sink as module
from jqcli.edge.failpoint import Failpoint
from jqcli.edge.sink import UNNUMBERED, ResultsFile, ResultsStream
from jqcli.edge.tail import cut_torn_tail
from jqcli.errors import FileError


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


def test_all_that_a_batch_wrote_piece_by_piece_is_found(results):
    for batch, number in ((1, 1), (2, 2), (1, 3)):
        results.append(batch, [record(number)])
    assert [results.find(1, 0.0, f"5f01ab:{number}").id for number in (1, 3)] == ["jobs:1", "jobs:3"]


def test_what_an_earlier_run_left_is_synced_and_the_name_of_the_file_once(tmp_path, monkeypatch):
    placed = []
    monkeypatch.setattr(module, "sync_file", lambda *_, is_placed, **__: placed.append(is_placed))
    path = tmp_path / "results.jsonl"
    path.write_bytes(record(1))
    results = ResultsFile(os.open(path, os.O_RDWR), str(path))
    results.sync()
    assert placed == [False]
    results.append(1, [record(2)])
    results.sync()
    results.sync()
    assert placed == [False, True]
    results.close()


def append_to(path):
    with open(path, "ab") as file:
        file.write(b"x")


@pytest.mark.parametrize(
    "deed, said",
    [(append_to, "was changed"), (lambda path: os.truncate(path, 9), "was changed"), (os.unlink, "was removed")],
)
def test_results_that_others_touch_are_missed(results, deed, said):
    results.append(1, [record(1)])
    results.check()
    deed(results._path)
    with pytest.raises(FileError, match=said):
        results.check()


@pytest.mark.parametrize("deed", [append_to, lambda path: os.truncate(path, 9)])
def test_nothing_is_appended_to_results_that_others_touched(results, deed):
    results.append(1, [record(1)])
    deed(results._path)
    size = os.path.getsize(results._path)
    with pytest.raises(FileError, match="was changed"):
        results.append(2, [record(2)])
    assert os.path.getsize(results._path) == size


@pytest.fixture
def pipe():
    read, write = os.pipe()
    yield read, ResultsStream(write, "stdout")
    os.close(read)
    os.close(write)


def test_of_a_stream_the_latest_records_are_found(pipe, monkeypatch):
    monkeypatch.setattr(module, "_RECENT_BYTES", 3 * len(record(10)))
    _, stream = pipe
    for number in range(10, 20):
        stream.append(number, [record(number)])
    found = [stream.find(number, 0.0, f"5f01ab:{number}") is not None for number in range(10, 20)]
    assert found == [False] * 7 + [True] * 3
    stream.append(19, [record(20)])
    assert [stream.find(19, 0.0, f"5f01ab:{number}").id for number in (19, 20)] == ["jobs:19", "jobs:20"]


def test_a_stream_is_full_while_its_reader_is_far_behind(pipe, monkeypatch):
    monkeypatch.setattr(module, "_FULL_BYTES", 1000)
    read, stream = pipe
    for _ in range(20):  # of which a pipe takes 64 KiB
        stream.append(1, [record(1, size=10_000)])
    assert stream.is_full
    while stream.flush():
        os.read(read, 1 << 16)
    assert not stream.is_full


def test_where_a_redirected_stream_fails_in_mid_line_that_line_is_taken_back(tmp_path, monkeypatch):
    def write_some(_, fd, data):
        if os.fstat(fd).st_size:
            raise OSError(28, "No space left on device")
        return os.write(fd, data[: len(record(1)) + 9])

    monkeypatch.setattr(failpoint, "write", write_some)
    fd = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    stream = ResultsStream(fd, "stdout")
    with pytest.raises(FileError, match="No space"):
        stream.append(1, [record(1) + record(2)])
    assert (tmp_path / "out").read_bytes() == record(1)
    os.close(fd)


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


class SlowDisk:
    """Stands in for `os` where files are synced: a sync ends, or fails, when it is told to."""

    def __init__(self, error=None):
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Event()
        self.count = 0
        self._error = error

    def __getattr__(self, name):
        return getattr(os, name)

    def fdatasync(self, _fd):
        self.count += 1
        self.begun.release()
        assert self.may_end.wait(60)
        if self._error is not None:
            raise self._error


def test_records_are_written_while_earlier_ones_are_being_synced(results, monkeypatch):
    disk = SlowDisk()
    monkeypatch.setattr(sync, "os", disk)
    results.append(1, [record(1)])
    results.begin_sync(10_000)
    assert disk.count == 0, "so little may wait"
    results.begin_sync(1)
    assert disk.begun.acquire(timeout=60)
    results.append(2, [record(2)])
    results.begin_sync(1)
    assert disk.count == 1, "one at a time"
    threading.Timer(0.05, disk.may_end.set).start()
    results.sync()
    assert disk.count == 2, "what came after the first one began is synced by another"
    results.sync()
    results.begin_sync(1)
    assert disk.count == 2, "nothing is new"


@pytest.mark.parametrize("then", ["begin_sync", "sync"])
def test_a_sync_that_failed_beside_the_run_stops_it_whatever_comes_next(results, monkeypatch, then):
    disk = SlowDisk(OSError(5, "Input/output error"))
    monkeypatch.setattr(sync, "os", disk)
    results.append(1, [record(1)])
    results.begin_sync(1)
    disk.may_end.set()
    assert disk.begun.acquire(timeout=60)
    results._syncing._thread.join(60)
    results.append(2, [record(2)])
    for _ in range(2):
        with pytest.raises(FileError, match="Input/output error while syncing"):
            results.sync() if then == "sync" else results.begin_sync(1)
    assert disk.count == 1, "the kernel has dropped the data: another sync would not fail"


@pytest.mark.parametrize("error", [None, OSError(5, "Input/output error")], ids=["well", "badly"])
def test_where_no_thread_can_be_had_a_sync_is_waited_for(results, monkeypatch, error):
    def fail(_):
        raise RuntimeError("can't start new thread")

    disk = SlowDisk(error)
    disk.may_end.set()
    monkeypatch.setattr(sync, "os", disk)
    monkeypatch.setattr(threading.Thread, "start", fail)
    results.append(1, [record(1)])
    results.begin_sync(1)
    assert disk.count == 1
    for _ in range(2):
        with pytest.raises(FileError, match="while syncing") if error else nullcontext():
            results.sync()
    assert disk.count == 1


def test_a_file_is_not_closed_under_a_sync(tmp_path, monkeypatch):
    disk = SlowDisk()
    monkeypatch.setattr(sync, "os", disk)
    fd = os.open(tmp_path / "results.jsonl", os.O_RDWR | os.O_CREAT)
    results = ResultsFile(fd, str(tmp_path / "results.jsonl"))
    results.append(1, [record(1)])
    results.begin_sync(1)
    assert disk.begun.acquire(timeout=60)
    closing = threading.Thread(target=results.close)
    closing.start()
    os.fstat(fd)  # raises where it is closed
    disk.may_end.set()
    closing.join(60)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


def test_a_stream_that_does_not_block_and_takes_nothing_is_written_to_again(monkeypatch):
    """Whoever shares it may fill it between the look and the write."""
    reader, writer = os.pipe()
    try:
        stream = ResultsStream(writer, "stdout")
        monkeypatch.setattr(failpoint, "_armed", Failpoint("stream.write", 1, "EAGAIN"))
        stream.append(1, [record(1)])
        assert stream.flush() is False
        assert os.read(reader, 1000) == record(1)
    finally:
        os.close(reader)
        os.close(writer)
