"""What one run learns from its store and tells it. Law 5: nothing counts for others before it is committed."""

from __future__ import annotations

import os
import select
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from jqcli.claimer import Claimer, Terms
from jqcli.core.codec import Scheme, read_line
from jqcli.core.recall import ELSEWHERE, REMEMBERED
from jqcli.edge import storetree as module
from jqcli.edge.store import Store
from jqcli.edge.storekeep import forget_key, prune
from jqcli.edge.storereader import ScopeName
from jqcli.errors import FileError
from jqcli.model import Line
from tests.command import ROOT

TAG = "5f01ab"
MAIN = ScopeName(TAG, "", "tasks.py:charge", "")
OTHER = ScopeName(TAG, "other", "tasks.py:other", "")


def job(n, text=b'{"payload":%d}'):
    return read_line(Line("", "", 1, text % n), Scheme(handlers=("other",)))


def record(n):
    text = b'{"id":"job-%d","key":"5f01ab:%s","status":"completed","result":%d,"attempts":1,"duration":0.1}\n'
    return text % (n, job(n).key.hex().encode(), n)


def keys(*numbers):
    return b"".join(job(n).key for n in numbers)


@pytest.fixture
def open_run(tmp_path, monkeypatch):
    """Return a way to open runs of one store in one process, where the locks themselves would keep nobody out."""
    opened, warned, living = [], [], set()
    monkeypatch.setattr("jqcli.edge.storelock.StoreLock.is_alive", lambda _, run: run in living)
    monkeypatch.setattr("jqcli.edge.storelock.StoreLock.is_deserted", property(lambda _: not living))

    def open_one(run, *, ttl=None, version="", may_continue=False, waits=False):
        scopes = {None: MAIN._replace(version=version), "other": OTHER}
        terms = Terms(run, ttl, scopes=scopes, warn=warned.append if may_continue else None, waits=waits)
        claimer = Claimer(Store(str(tmp_path / "memory.db")), terms)
        opened.append(claimer)
        living.add(run)
        return claimer

    open_one.warned = warned
    open_one.living = living
    yield open_one
    for claimer in opened:
        claimer.end()
        abandoned = getattr(claimer, "_abandoned", None)
        if abandoned is not None:  # stays open to the end of its process, which is not this one
            abandoned.close()


def test_what_is_done_counts_for_others_only_when_it_is_committed(open_run):
    one, two = open_run(1), open_run(2)
    assert one.claim({None: keys(1, 2)}) == {}
    one.note([5], keys(1), None, [record(1)])
    assert two.claim({None: keys(1, 2, 3)}) == {job(1).key: ELSEWHERE, job(2).key: ELSEWHERE}
    one.commit(waits=True)
    assert two.claim({None: keys(1, 2)}) == {job(1).key: REMEMBERED, job(2).key: ELSEWHERE}
    first, _ = two.find(None, job(1))
    assert (first.id, first.result) == ("job-1", b"1")


@pytest.fixture
def door(monkeypatch):
    """Return what must be set before a commit beside the run goes on."""
    opened = threading.Event()
    append = Store.append_held

    def wait_and_append(*args):
        assert opened.wait(20)
        return append(*args)

    monkeypatch.setattr(Store, "append_held", wait_and_append)
    yield opened
    opened.set()


def test_a_run_claims_on_while_what_it_did_is_written(open_run, door):
    one, two = open_run(1), open_run(2)
    one.claim({None: keys(1)})
    one.note([5], keys(1), None, [record(1)])
    one.commit()
    assert one.claim({None: keys(2)}) == {}
    assert two.claim({None: keys(1, 2)}) == {job(1).key: ELSEWHERE, job(2).key: ELSEWHERE}
    one.note([6], keys(2), None, [record(2)])
    door.set()
    one.commit(waits=True)
    assert two.claim({None: keys(1, 2)}) == dict.fromkeys((job(1).key, job(2).key), REMEMBERED)


def test_what_a_run_did_is_written_by_one_thread_at_a_time(open_run, door):
    one = open_run(1)
    for batch in (5, 6):
        one.note([batch], keys(batch), None, [record(batch)])
        threading.Timer(0.05, door.set).start()
        one.commit()
        assert door.is_set() == (batch == 6), "it was not waited for"
    assert [one.find((batch, 0.5), job(batch))[0].id for batch in (5, 6)] == ["job-5", "job-6"]


def test_a_run_looks_into_the_large_memory_only_when_nothing_is_written_beside_it(open_run, door, monkeypatch):
    monkeypatch.setattr(module, "FOLD_AT", 10)
    door.set()
    one = open_run(1)
    one.note([5], keys(*range(100)), None, [b"".join(map(record, range(100)))])
    one.commit(waits=True)
    two = open_run(2)
    door.clear()
    two.note([5], keys(200), None, [record(200)])
    two.commit()
    threading.Timer(0.05, door.set).start()
    assert two.claim({None: keys(50)}) == {job(50).key: REMEMBERED}
    assert door.is_set()


def test_while_a_run_writes_what_it_did_no_other_looks(open_run, door, tmp_path):
    one = open_run(1)
    one.claim({None: keys(1)})
    one.note([5], keys(1), None, [record(1)])
    one.commit()
    code = "import sys; from jqcli.edge.store import Store; Store(sys.argv[1]).close(); print('in', flush=True)"
    words = [sys.executable, "-c", code, str(tmp_path / "memory.db")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}) as child:
        assert not select.select([child.stdout], [], [], 1.0)[0]
        door.set()
        assert child.stdout.readline() == b"in\n"


@pytest.mark.parametrize("may_continue", [False, True])
def test_what_went_wrong_beside_the_run_comes_with_the_next_question(open_run, monkeypatch, may_continue):
    def fail(*_):
        raise FileError("the disk is full")

    one = open_run(1, may_continue=may_continue)
    one.note([5], keys(1), None, [record(1)])
    monkeypatch.setattr(Store, "append_held", fail)
    one.commit()
    if may_continue:
        assert one.find((5, 0.5), job(1)) == (None, 0.0)
        assert one.claim({None: keys(2)}) == {}
        assert open_run.warned == [
            "the disk is full; going on without the store: nothing more is looked up or remembered"
        ]
        return
    with pytest.raises(FileError, match="disk is full"):
        one.commit(waits=True)
    assert one._committing == [], "its records would be kept to the end"


def test_a_store_that_failed_twice_is_said_once(open_run, monkeypatch, tmp_path):
    opened = threading.Event()

    def wait_and_fail(*_):
        assert opened.wait(20)
        raise FileError("the disk is full")

    monkeypatch.setattr(Store, "append_held", wait_and_fail)
    one = open_run(1, may_continue=True)
    one.note([5], keys(1), None, [record(1)])
    one.commit()
    (tmp_path / "memory.db").unlink()
    assert one.claim({None: keys(2)}) == {}
    opened.set()
    one.commit(waits=True)
    assert len(open_run.warned) == 1


def test_a_run_whose_handlers_may_fork_it_writes_nothing_beside_itself(open_run):
    one = open_run(1, waits=True)
    for n in range(3):
        one.note([n], keys(n), None, [record(n)])
        one.commit()
        assert [thread.name for thread in threading.enumerate() if thread.name == "errand"] == []


def test_a_run_that_gets_no_thread_writes_what_it_did_itself(open_run, monkeypatch):
    def fail(_):
        raise RuntimeError("can't start new thread")

    one, two = open_run(1), open_run(2)
    monkeypatch.setattr(threading.Thread, "start", fail)
    for n in range(2):
        one.claim({None: keys(n)})
        one.note([n], keys(n), None, [record(n)])
        one.commit()
    assert two.claim({None: keys(0, 1)}) == dict.fromkeys((job(0).key, job(1).key), REMEMBERED)
    assert one._store.lock._depth == 0


def test_a_run_finds_its_own_records_while_they_are_written(open_run, door):
    one = open_run(1)
    one.note([5], keys(1, 2), None, [record(1) + record(2)])
    one.commit()
    threading.Timer(0.05, door.set).start()
    assert one.find((5, 0.5), job(2))[0].id == "job-2"


def test_what_is_dead_is_free_when_that_is_committed(open_run):
    one, two = open_run(1), open_run(2)
    one.claim({None: keys(1)})
    one.release([(None, job(1).key)])
    assert two.claim({None: keys(1)}) == {job(1).key: ELSEWHERE}
    one.commit(waits=True)
    assert two.claim({None: keys(1)}) == {}
    assert one.claim({None: keys(1)}) == {job(1).key: ELSEWHERE}


def is_closed(store):
    with pytest.raises(sqlite3.ProgrammingError):
        store.sql.execute("select 1")
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(store.lock.fd)
    return True


def test_a_run_that_cannot_begin_lets_its_store_go(tmp_path, monkeypatch):
    def fail(_):
        raise FileError("the disk is full")

    monkeypatch.setattr(module, "fold", fail)
    store = Store(str(tmp_path / "memory.db"))
    with pytest.raises(FileError):
        Claimer(store, Terms(1, None, {None: MAIN}, None))
    assert is_closed(store)


def test_the_end_of_a_run_lets_all_go(open_run):
    one = open_run(1)
    one.claim({None: keys(1, 2)})
    two = open_run(2)
    assert two.claim({None: keys(1)}) == {job(1).key: ELSEWHERE}
    store = one._store
    one.end()
    assert is_closed(store)
    open_run.living.remove(1)
    assert two.claim({None: keys(1)}) == {}
    assert open_run(3).claim({None: keys(1, 2)}) == {job(1).key: ELSEWHERE}


def test_a_run_that_comes_later_knows_what_was_done_and_what_is_in_flight(open_run):
    one = open_run(1)
    one.claim({None: keys(1, 2)})
    one.note([5], keys(1), None, [record(1)])
    one.commit(waits=True)
    assert open_run(2).claim({None: keys(1, 2)}) == {job(1).key: REMEMBERED, job(2).key: ELSEWHERE}


def test_each_handler_that_a_line_chose_has_its_own_memory(open_run):
    mine, chosen = job(1), job(1, b'{"payload":%d,"handler":"other"}')
    one = open_run(1)
    one.claim({None: mine.key, "other": chosen.key})
    one.note([5], mine.key + chosen.key, [None, "other"], [record(1), record(2)])
    one.commit(waits=True)
    two = open_run(2, version="2")
    assert two.claim({None: mine.key, "other": chosen.key}) == {chosen.key: REMEMBERED}
    assert two.find(None, chosen)[0].id == "job-2"
    three = open_run(3)
    assert three.find(None, mine)[0].id == "job-1"


def test_what_is_in_flight_of_another_version_is_nobodys_business(open_run):
    one, two = open_run(1, version="1"), open_run(2, version="2")
    one.claim({None: keys(1)})
    assert two.claim({None: keys(1)}) == {}


def test_a_run_finds_its_own_records_by_batch_committed_or_not(open_run):
    one = open_run(1)
    one.note([5], keys(1, 2), None, [record(1) + record(2)])
    assert one.find((5, 0.5), job(2))[0].id == "job-2"
    one.commit(waits=True)
    assert one.find((5, 0.5), job(2))[0].id == "job-2"
    assert one.find((6, 0.5), job(2))[0] is None
    assert one.find(None, job(2))[0] is None


def test_jobs_that_travelled_one_by_one_share_a_row_and_each_is_found(open_run):
    one = open_run(1)
    for n in range(50):
        one.note([n], keys(n), [None if n % 5 else "other"], [record(n)])
    assert one.find((7, 0.5), job(7))[0].id == "job-7"
    one.commit(waits=True)
    one.note([7], keys(70), None, [record(70)])
    one.commit(waits=True)
    rows = one._store.sql.execute("select count(*) from log").fetchone()
    assert rows == (3,)
    assert [one.find((n, 0.5), job(n))[0].id for n in range(50)] == [f"job-{n}" for n in range(50)]
    assert one.find((7, 0.5), job(70))[0].id == "job-70"


def test_a_row_has_a_bound(open_run):
    one = open_run(1)
    long = record(1)[:-1] + b" " * 100_000 + b"\n"
    for n in range(4):
        one.note([n], keys(n), None, [long])
    one.commit(waits=True)
    assert one._store.sql.execute("select count(*) from log").fetchone() == (4,)


def test_many_keys_are_folded_and_still_known_with_their_results(open_run, monkeypatch):
    monkeypatch.setattr(module, "FOLD_AT", 10)
    one = open_run(1, ttl=1e6)
    one.note([5], keys(*range(100)), None, [b"".join(map(record, range(100)))])
    assert one.gathered > 0
    one.commit(waits=True)
    assert one.gathered == 0
    one.end()
    two = open_run(2)
    known = two.claim({None: keys(*range(90, 110))})
    assert known == dict.fromkeys((job(n).key for n in range(90, 100)), REMEMBERED)
    first, until = two.find(None, job(95))
    assert first.result == b"95"
    assert 0.9e6 <= until - time.time() <= 1e6
    assert two.find(None, job(105))[0] is None


def test_what_is_forgotten_from_outside_is_forgotten_by_runs_that_are_going_on(open_run, tmp_path):
    one, two = open_run(1), open_run(2)
    one.note([5], keys(1, 2, 3), None, [record(1) + record(2) + record(3)])
    one.commit(waits=True)
    assert len(two.claim({None: keys(1, 2)})) == 2
    outside = Store(str(tmp_path / "memory.db"))
    forget_key(outside, f"{TAG}:{job(1).key.hex()}")
    assert two.claim({None: keys(1, 2)}) == {job(2).key: REMEMBERED}
    prune(outside, 0.0, older_than=-1e12, max_bytes=None)
    outside.close()
    assert two.claim({None: keys(2, 3)}) == {}


def test_the_shorter_time_to_live_counts_and_what_ran_out_is_deleted_at_the_next_start(open_run, monkeypatch):
    one = open_run(1, ttl=100.0)
    one.note([5], keys(1), None, [record(1)])
    monkeypatch.setattr("jqcli.claimer.time.time", lambda: 1000.0)
    one.commit(waits=True)
    monkeypatch.setattr("jqcli.claimer.time.time", lambda: 1050.0)
    assert open_run(2).claim({None: keys(1)}) == {job(1).key: REMEMBERED}
    assert open_run(3, ttl=10.0).claim({None: keys(1)}) == {}
    monkeypatch.setattr("jqcli.claimer.time.time", lambda: 1101.0)
    four = open_run(4)
    with four._store.held():
        assert four._store.sql.execute("select count(*) from log").fetchone() == (0,)


def test_time_running_out_in_mid_run_frees_what_was_done_and_no_claim(open_run, monkeypatch):
    """Fault 37. Also when the clock jumps a day, forward or back."""
    one, two = open_run(1), open_run(2)
    monkeypatch.setattr("jqcli.claimer.time.time", lambda: 1e6)
    one.claim({None: keys(1, 2)})
    one._terms = one._terms._replace(ttl=100.0)
    one.note([5], keys(1), None, [record(1)])
    one.commit(waits=True)
    monkeypatch.setattr("jqcli.claimer.time.time", lambda: 1e6 - 86400)
    assert two.claim({None: keys(1, 2)}) == {job(1).key: REMEMBERED, job(2).key: ELSEWHERE}
    monkeypatch.setattr("jqcli.claimer.time.time", lambda: 1e6 + 86400)
    assert two.claim({None: keys(1, 2)}) == {job(2).key: ELSEWHERE}


def test_a_store_that_breaks_stops_the_run_or_is_said_once_and_done_without(open_run, tmp_path):
    """Fault 43."""
    strict, lenient = open_run(1), open_run(2, may_continue=True)
    strict.claim({None: keys(1)})
    assert lenient.claim({None: keys(1)}) == {job(1).key: ELSEWHERE}
    lenient.note([4], keys(4), None, [record(4)])
    (tmp_path / "memory.db").unlink()
    with pytest.raises(FileError, match="removed or replaced"):
        strict.claim({None: keys(2)})
    assert lenient.claim({None: keys(1)}) == {}
    lenient.note([5], keys(1), None, [record(1)])
    lenient.release([(None, job(1).key)])
    assert lenient.gathered == 0
    lenient.commit(waits=True)
    assert lenient.find(None, job(1))[0] is None
    lenient.end()
    (said,) = open_run.warned
    assert "going on without the store" in said


def test_a_run_that_finds_itself_alone_begins_the_claims_anew_and_no_other_does(open_run):
    one = open_run(1)
    one.claim({None: keys(*range(500))})
    size = os.path.getsize(one._store.lock.path)
    open_run.living.clear()
    two = open_run(2)
    assert os.path.getsize(two._store.lock.path) < size / 10
    two.claim({None: keys(*range(500))})
    three = open_run(3)
    assert os.path.getsize(three._store.lock.path) > size / 2
    assert len(three.claim({None: keys(*range(500))})) == 500


def test_runs_that_are_going_on_read_all_claims_anew_when_those_of_the_dead_were_left_out(open_run, monkeypatch):
    monkeypatch.setattr("jqcli.edge.storeclaims._LARGE", 100)
    one, two, nine = open_run(1), open_run(2), open_run(9)
    nine.claim({None: keys(*range(100))})
    one.claim({None: keys(200)})
    assert two.claim({None: keys(5, 200)}) == dict.fromkeys((job(5).key, job(200).key), ELSEWHERE)
    open_run.living.remove(9)
    open_run(3)
    one.claim({None: keys(201)})
    assert two.claim({None: keys(200, 201)}) == dict.fromkeys((job(200).key, job(201).key), ELSEWHERE)
    assert two.claim({None: keys(5)}) == {}


@pytest.mark.parametrize("damage", [b"\x00\xff", b"{}", b"[]", b'{"id":1,"status":"completed"}'])
@pytest.mark.parametrize("may_continue", [False, True])
def test_a_record_that_is_none_is_a_damaged_store(open_run, tmp_path, damage, may_continue):
    one = open_run(1)
    one.claim({None: keys(1)})
    one.note([5], keys(1), None, [record(1)])
    one.commit(waits=True)
    with closing(sqlite3.connect(tmp_path / "memory.db")) as outside:
        outside.execute("update log set records = ?", (damage + b"\n",))
        outside.commit()
    two = open_run(2, may_continue=may_continue)
    assert two.claim({None: keys(1)}) == {job(1).key: REMEMBERED}
    if may_continue:
        assert two.find(None, job(1)) == (None, 0.0)
        assert "memory.db: is damaged" in open_run.warned[0]
    else:
        with pytest.raises(FileError, match=r"memory\.db: is damaged"):
            two.find(None, job(1))


def test_what_was_let_go_of_is_free_also_where_nothing_in_the_file_says_so_any_more(open_run, monkeypatch):
    monkeypatch.setattr("jqcli.edge.storeclaims._LARGE", 100)
    one, two = open_run(1), open_run(2)
    one.claim({None: keys(*range(100))})
    assert len(two.claim({None: keys(*range(100))})) == 100
    one.release([(None, job(n).key) for n in range(99)])
    one.commit(waits=True)
    open_run(3)
    assert two.claim({None: keys(*range(100))}) == {job(99).key: ELSEWHERE}


def test_where_the_store_breaks_in_mid_claim_nothing_is_known(open_run, monkeypatch):
    """Or what waits for another run would not know that there is nobody left to ask."""

    def fail(*_):
        raise FileError("the disk is full")

    one, two = open_run(1), open_run(2, may_continue=True)
    one.claim({None: keys(1)})
    monkeypatch.setattr("jqcli.edge.storeclaims.Claims.append", fail)
    assert two.claim({None: keys(1, 2)}) == {}


def test_what_was_done_and_is_forgotten_is_free_while_the_run_that_did_it_lives(open_run, tmp_path):
    one, two = open_run(1), open_run(2)
    one.claim({None: keys(1, 2)})
    one.note([5], keys(1), None, [record(1)])
    one.commit(waits=True)
    outside = Store(str(tmp_path / "memory.db"))
    forget_key(outside, f"{TAG}:{job(1).key.hex()}")
    outside.close()
    assert two.claim({None: keys(1, 2)}) == {job(2).key: ELSEWHERE}
    assert open_run(3).claim({None: keys(1, 2)}) == dict.fromkeys((job(1).key, job(2).key), ELSEWHERE)


@pytest.mark.parametrize("is_whole", [True, False])
def test_what_is_done_is_no_claim_for_others_nor_does_the_file_keep_it(open_run, monkeypatch, is_whole):
    monkeypatch.setattr("jqcli.edge.storeclaims._LARGE", 100)
    monkeypatch.setattr("jqcli.edge.storeclaims._LARGE_LATER", 20_000)
    one, two = open_run(1), open_run(2)
    one.claim({None: keys(9999)})
    two.claim({None: keys(5555)})
    for n in range(50):
        many = range(100 * n, 100 * n + 100)
        assert one.claim({None: keys(*many)}, n if is_whole else None) == {}
        one.note([n], keys(*many), None, [b"".join(map(record, many))])
        one.commit(waits=True)
    assert os.path.getsize(one._store.lock.path) < 25_000
    known = two.claim({None: keys(3, 9999)})
    assert known == {job(3).key: REMEMBERED, job(9999).key: ELSEWHERE}
    assert len(two._recall._claims) == 1
    assert one.claim({None: keys(5555)}) == {job(5555).key: ELSEWHERE}
    assert len(open_run(3)._recall._claims) == 2


def test_a_batch_that_is_done_is_let_go_of_in_a_few_bytes_and_a_part_of_it_with_the_next_commit(open_run, tmp_path):
    one, two = open_run(1), open_run(2)
    one.claim({None: keys(*range(500))}, 5)
    one.claim({None: keys(501, 502)}, 6)
    assert len(two.claim({None: keys(*range(503))})) == 502
    before = os.path.getsize(one._store.lock.path)
    one.note([5], keys(*range(500)), None, [b"".join(map(record, range(500)))])
    one.note([6], keys(501), None, [record(501)])
    one.commit(waits=True)
    assert os.path.getsize(one._store.lock.path) < before + 100
    outside = Store(str(tmp_path / "memory.db"))
    for n in (7, 501):
        forget_key(outside, f"{TAG}:{job(n).key.hex()}")
    outside.close()
    assert two.claim({None: keys(7, 8, 501)}) == {job(8).key: REMEMBERED, job(501).key: ELSEWHERE}
    one.commit(waits=True)
    assert two.claim({None: keys(501, 502)}) == {job(502).key: ELSEWHERE}


def test_what_is_done_is_let_go_only_when_it_counts(open_run, monkeypatch):
    """A run that dies between the two had it in flight, and then is dead; one that goes on keeps it."""
    one, two = open_run(1, may_continue=True), open_run(2)
    one.claim({None: keys(1)})
    one.note([5], keys(1), None, [record(1)])

    def fail(*_):
        raise FileError("the disk is full")

    monkeypatch.setattr(Store, "append_held", fail)
    one.commit(waits=True)
    assert two.claim({None: keys(1)}) == {job(1).key: ELSEWHERE}


def test_what_a_claim_found_in_a_large_memory_is_not_looked_for_again(open_run, monkeypatch):
    monkeypatch.setattr(module, "FOLD_AT", 10)
    one = open_run(1)
    one.note([5], keys(*range(20)), None, [b"".join(map(record, range(20)))])
    one.commit(waits=True)
    two, asked, look_up = open_run(2), [], Store.look_up
    monkeypatch.setattr(Store, "look_up", lambda *words: asked.append(words[2]) or look_up(*words))
    assert len(two.claim({None: keys(*range(20))})) == 20
    assert [two.find(None, job(n))[0].result for n in (0, 19, 3)] == [b"0", b"19", b"3"]
    assert len(asked) == 1
    assert two.find(None, job(3, b'{"payload":%d,"handler":"other"}')) == (None, pytest.approx(time.time(), abs=60))
    assert len(two.claim({None: keys(7)})) == 1
    assert two.find(None, job(19))[0].id == "job-19"
    assert len(two._found) == 1, "no more than the last claim's is kept"


def test_what_was_folded_runs_out_too(open_run, monkeypatch):
    monkeypatch.setattr(module, "FOLD_AT", 10)
    monkeypatch.setattr("jqcli.claimer.time.time", lambda: 1000.0)
    one = open_run(1, ttl=100.0)
    one.note([5], keys(*range(20)), None, [b"".join(map(record, range(20)))])
    one.commit(waits=True)
    two, three = open_run(2), open_run(3, ttl=10.0)
    monkeypatch.setattr("jqcli.claimer.time.time", lambda: 1050.0)
    assert two.claim({None: keys(1)}) == {job(1).key: REMEMBERED}
    assert three.claim({None: keys(2)}) == {}
    monkeypatch.setattr("jqcli.claimer.time.time", lambda: 1100.0)
    assert two.claim({None: keys(1)}) == {}


def test_what_ran_out_is_gone_from_the_tree_when_a_run_begins(open_run, monkeypatch):
    monkeypatch.setattr(module, "FOLD_AT", 10)
    monkeypatch.setattr("jqcli.claimer.time.time", lambda: 1000.0)
    one = open_run(1, ttl=100.0)
    one.note([5], keys(*range(20)), None, [b"".join(map(record, range(20)))])
    one.commit(waits=True)
    two = open_run(2)
    assert two._store.sql.execute("select count(*) from known").fetchone() == (20,)
    monkeypatch.setattr("jqcli.claimer.time.time", lambda: 1100.0)
    three = open_run(3)
    assert three._store.sql.execute("select (select count(*) from known), count(*) from log").fetchone() == (0, 0)
