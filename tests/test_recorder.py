"""Law 5 where a write fails: what is counted is what is in the files."""

from __future__ import annotations

import pytest

from jqcli.core import effect as do
from jqcli.core.burial import LetterHead
from jqcli.core.event import Finished
from jqcli.core.settled import Settled
from jqcli.core.window import Window
from jqcli.edge.cutter import Oversized
from jqcli.edge.outputs import Outputs
from jqcli.errors import FileError
from jqcli.model import NO_ASKS, First, Job, Line
from jqcli.recorder import Recorder

HEAD = LetterHead("5f01ab", {None: "tasks.py:do"}, "/", "/results.jsonl", "auto", "run")
LINE = Line("jobs.jsonl", "jobs", 1, b"1")
JOB = Job(1, "jobs:1", has_own_id=False, key=bytes(16), key_text="00" * 16, payload_hash=None, asks=NO_ASKS)
PLACE = do.Place(1, 0)


class File:
    """Stands in for results or letters; takes `room` appends, and writes down what happened in which order."""

    is_full = False

    def __init__(self, room=10**6, happened=None):
        self.room = room
        self.happened = [] if happened is None else happened
        self.is_synced = True
        self.looks = 0

    def append(self, *_):
        if not self.room:
            raise FileError("full")
        self.room -= 1
        self.happened.append("append")
        self.is_synced = False

    def sync(self):
        if not self.is_synced:  # as the real ones: only where anything was written
            self.happened.append("sync")
        self.is_synced = True

    def flush(self):
        return False

    def check(self):
        self.looks += 1

    def begin_sync(self, least):
        """Leave it to `sync`, so that the order is plain."""


@pytest.fixture
def results():
    return File()


@pytest.fixture
def letters():
    return File()


def make(results, letters, window=None, durability="batch"):
    return Recorder(Outputs(results, letters, Settled(), []), HEAD, window, durability)


def record(number, status="completed"):
    return b'{"id":"a%d","key":"5f01ab:00","status":"%b","result":{"status":"dead"}}\n' % (number, status.encode())


def bury():
    return do.Bury(PLACE, LINE, JOB, JOB.key_text, "rejected", {"type": "t", "message": "m"}, 1, [])


def finished(batch, count):
    return Finished(batch, [record(at) for at in range(count)], count, 0, [], range(count))


def test_a_result_counts_when_it_is_in_its_file(results, letters):
    recorder = make(results, letters)
    recorder.finish(finished(1, 3), None)
    assert (recorder.tally.completed, recorder.tally.attempts) == (3, 3)
    results.room = 0
    with pytest.raises(FileError):
        recorder.finish(finished(2, 2), None)
    assert (recorder.tally.completed, recorder.tally.attempts) == (3, 3)


def test_every_line_is_read_once_and_settled_once_blank_ones_excepted(results, letters):
    recorder = make(results, letters)
    recorder.settle(do.Opened(1, 9))
    recorder.settle(do.Pass(1, [0, 1, 2, 3, 4, 5], {None: 2, "completed": 1, "duplicate": 1, "dead": 1, "conflict": 1}))
    recorder.finish(finished(1, 1), None)
    recorder.settle(bury())
    recorder.flush()
    tally = recorder.tally
    assert (tally.read, tally.completed, tally.duplicate, tally.dead) == (7, 2, 1, 3)
    assert (tally.settled_before, tally.dead_before, tally.unfinished) == (4, 2, 1)


def test_a_letter_counts_when_it_is_in_its_file(results, letters):
    recorder = make(results, letters)
    recorder.settle(bury())
    assert recorder.tally.dead == 0
    recorder.flush()
    assert (recorder.tally.dead, letters.happened) == (1, ["append"])
    letters.room = 0
    recorder.settle(bury())
    with pytest.raises(FileError):
        recorder.flush()
    assert recorder.tally.dead == 1
    assert [group.count for group in recorder.tally.top_errors(9)] == [1]


def test_a_line_that_was_too_long_is_read_at_once_and_dead_when_its_letter_is_in_its_file(results, letters):
    recorder = make(results, letters)
    part = Oversized(0, 1, 0, 9, b"1" * 9, bytes(16))
    assert recorder.bury_oversized(part, "jobs.jsonl", "jobs:1")
    assert (recorder.tally.read, recorder.tally.dead) == (1, 0)
    recorder.flush()
    assert (recorder.tally.dead, recorder.tally.unfinished, letters.happened) == (1, 0, ["append"])


def test_letters_that_came_last_are_written_in_the_end(results, letters):
    """As those of attempts that ended while the engine was closed."""
    recorder = make(results, letters)
    recorder.settle(bury())
    recorder.end()
    assert (recorder.tally.dead, letters.happened) == (1, ["append", "sync"])


def test_both_files_are_looked_at_once_a_second_and_in_the_end(results, letters):
    recorder = make(results, letters)
    recorder.sync(recorder.sync_at - 0.5)
    assert (results.looks, letters.looks) == (0, 0)
    recorder.sync(recorder.sync_at)
    assert (results.looks, letters.looks) == (1, 1)
    recorder.end()
    assert (results.looks, letters.looks) == (2, 2)


def test_all_whose_turn_has_come_is_written(results, letters):
    window = Window()
    recorder = make(results, letters, window)
    for batch in (1, 2, 3):
        window.open(batch, 1)
    recorder.finish(finished(3, 1), [do.Place(3, 0)])
    recorder.finish(finished(2, 1), [do.Place(2, 0)])
    assert results.happened == []
    recorder.finish(finished(1, 1), [do.Place(1, 0)])
    assert results.happened == ["append"] * 3


def test_a_duplicate_counts_when_it_is_in_its_file(results, letters):
    recorder = make(results, letters)
    recorder.settle(do.Double(PLACE, JOB, First("a", "completed", b"1")))
    assert recorder.tally.duplicate == 0
    recorder.flush_doubles()
    assert recorder.tally.duplicate == 1
    results.room = 0
    recorder.settle(do.Double(PLACE, JOB, First("a", "completed", b"1")))
    with pytest.raises(FileError):
        recorder.flush_doubles()
    assert recorder.tally.duplicate == 1


@pytest.mark.parametrize("room", [0, 1])
def test_records_that_are_held_and_never_written_do_not_count_in_the_end(results, letters, room):
    """The first batch waits for its second line; then all is released, and the file takes so many batches."""
    window = Window()
    recorder = make(results, letters, window)
    window.open(1, 2)
    window.open(2, 3)
    results.room = room
    recorder.finish(finished(1, 1), [do.Place(1, 0)][:1]) if room else window.put(1, 0, b"")
    recorder.finish(finished(2, 2), [do.Place(2, 0), do.Place(2, 1)])
    recorder.settle(do.Double(do.Place(2, 2), JOB, First("a", "completed", b"1")))
    assert (recorder.tally.completed, recorder.tally.duplicate) == (2 + room, 1)
    with pytest.raises(FileError):
        recorder.finish(finished(1, 1), [do.Place(1, 1)])
    recorder.give_up()
    assert (recorder.tally.completed, recorder.tally.duplicate) == (room, 0)


@pytest.mark.parametrize("durability, happened", [("full", ["append", "sync"]), ("batch", ["append"])])
@pytest.mark.parametrize("is_ordered", [False, True])
def test_with_full_durability_all_is_synced_before_it_counts(results, letters, durability, happened, is_ordered):
    window = Window() if is_ordered else None
    recorder = make(results, letters, window, durability)
    if window is not None:
        for batch in (1, 2, 3):
            window.open(batch, 1)
    recorder.finish(finished(1, 1), [do.Place(1, 0)])
    assert results.happened == happened
    recorder.settle(do.Double(do.Place(2, 0), JOB, First("a", "completed", b"1")))
    recorder.flush_doubles()
    assert results.happened == happened * 2
    recorder.settle(bury()._replace(place=do.Place(3, 0)))
    recorder.flush()
    assert letters.happened == happened


def test_a_duplicate_that_could_not_be_synced_does_not_count(results, letters, monkeypatch):
    def fail():
        raise FileError("an I/O error")

    recorder = make(results, letters, durability="full")
    monkeypatch.setattr(results, "sync", fail)
    recorder.settle(do.Double(PLACE, JOB, First("a", "completed", b"1")))
    with pytest.raises(FileError):
        recorder.flush_doubles()
    assert recorder.tally.duplicate == 0


class Told:
    """Stands in for a store's claimer: writes into the same list as the files what it is told, and when."""

    def __init__(self, happened):
        self.happened = happened
        self.gathered = 0

    def note(self, batches, *_):
        self.batches = list(batches)
        self.happened.append("note")

    def release(self, identities):
        self.happened += ["release"] * len(identities)

    def commit(self, *, waits):
        self.happened.append("commit and wait" if waits else "commit")


def with_store(happened, durability):
    results, letters, told = File(happened=happened), File(happened=happened), Told(happened)
    return Recorder(Outputs(results, letters, Settled(), []), HEAD, None, durability, told)


@pytest.mark.parametrize(
    "durability, order",
    [
        ("batch", ["append", "note", "sync", "commit and wait"]),
        ("full", ["append", "sync", "commit and wait", "note", "commit and wait", "commit and wait"]),
        ("none", ["append", "note", "commit and wait"]),
    ],
)
def test_the_store_counts_a_record_only_when_it_is_written_and_synced(durability, order):
    happened = []
    recorder = with_store(happened, durability)
    recorder.finish(finished(1, 2), None)
    recorder.remember(finished(1, 2), bytes(32), None, None)
    recorder.end()
    assert happened == order


def test_the_store_knows_a_job_by_the_batch_under_which_the_order_knows_it():
    recorder = with_store([], "batch")
    recorder.remember(finished(7, 2), bytes(32), None, None)
    assert recorder._claimer.batches == [7]
    recorder.remember(finished(7, 2), bytes(32), None, [do.Place(3, 0), do.Place(3, 5), do.Place(4, 1)])
    assert recorder._claimer.batches == [3, 4]


def test_much_is_committed_before_its_second_is_over_and_synced_before_that():
    happened = []
    recorder = with_store(happened, "batch")
    recorder._claimer.gathered = 1 << 30
    recorder.finish(finished(1, 2), None)
    recorder.remember(finished(1, 2), bytes(32), None, None)
    assert happened == ["append", "note", "sync", "commit"]
    recorder.end()
    assert happened[4:] == ["commit and wait"]


@pytest.mark.parametrize("durability", ["batch", "full", "none"])
def test_what_was_claimed_is_let_go_of_only_when_its_letter_is_written(durability):
    happened = []
    recorder = with_store(happened, durability)
    recorder.settle(bury())
    recorder.sync(1e12)
    assert "release" not in happened
    recorder.flush()
    recorder.end()
    assert happened.index("append") < happened.index("release") < len(happened) - 1
    assert happened[-1] == "commit and wait"


def test_each_key_that_is_let_go_of_is_so_once_and_a_key_that_belongs_to_another_job_is_not():
    happened = []
    recorder = with_store(happened, "batch")
    for reason in ("rejected", "key_conflict", "rejected"):
        recorder.settle(bury()._replace(reason=reason))
        recorder.flush()
    assert happened == ["append", "release", "append", "append", "release"]


def test_the_store_is_told_once_a_second_whatever_the_durability():
    happened = []
    recorder = with_store(happened, "none")
    assert recorder.sync_at is not None
    recorder.sync(recorder.sync_at - 0.5)
    assert happened == []
    recorder.sync(recorder.sync_at)
    assert happened == ["commit"]
