"""The store's file: what is appended comes back, whoever reads it, folded or not; and what should go goes."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing

import pytest

from jqcli.core.codec import hash_bytes
from jqcli.core.recall import DONE, New, Row, split_keys
from jqcli.edge import storetree as module
from jqcli.edge.store import Store
from jqcli.edge.storekeep import forget_handler, forget_key, prune, read_stats
from jqcli.edge.storelock import LONGEST_PAUSE, StoreLock
from jqcli.edge.storereader import SCHEMA, ScopeName
from jqcli.edge.storetree import drop_expired, fold
from jqcli.errors import FileError, ForeignFileError, LockedError
from tests.command import ROOT, wait_for

NAME = ScopeName("5f01ab", "", "tasks.py:charge", "")


def key(n):
    return hash_bytes(str(n).encode())


def record(n):
    return b'{"id":"job-%d","key":"5f01ab:%s","status":"completed","result":%d,"attempts":1,"duration":0.1}\n' % (
        n,
        key(n).hex().encode(),
        n,
    )


def put(store, numbers, at=1000.0, ttl=None, name=NAME):
    with store.transaction():
        scope = store.scope(name)
        keys = b"".join(map(key, numbers))
        (row,) = store.append([New(7, scope, at, ttl, keys, b"".join(map(record, numbers)))])
        return row


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "memory.db")


@pytest.fixture
def store(path):
    opened = Store(path)
    yield opened
    opened.close()


def test_rows_come_back_in_order_and_only_those_of_the_scopes_that_are_asked_for(store):
    first, second = put(store, [1, 2]), put(store, [3])
    put(store, [4], name=NAME._replace(version="2"))
    with store.held():
        rows = list(store.read(0, 0, [1]))
        assert [row.id for row in store.read(first, 0, [1])] == [second]
        assert [row.id for row in store.read(0, first, [1])] == [second]
    assert rows == [
        Row(first, 7, DONE, 1000.0, None, key(1) + key(2)),
        Row(second, 7, DONE, 1000.0, None, key(3)),
    ]


def test_many_rows_are_appended_at_once_and_numbered_in_order(store):
    news = [New(7, 1, 0.0, None, key(n), record(n)) for n in range(250)]
    with store.transaction():
        store.scope(NAME)
        rows = store.append(news)
    assert list(rows) == list(range(1, 251))
    with store.held():
        assert [(row.id, row.keys) for row in store.read(0, 0, [1])] == [(n + 1, key(n)) for n in range(250)]
    assert store.record(rows[249], key(249)) == record(249)[:-1]


def test_a_record_is_found_in_its_row_also_after_the_row_was_left_for_others(store):
    rows = [put(store, range(10 * n, 10 * n + 10)) for n in range(8)]
    for _ in range(2):
        for n, row in enumerate(rows):
            assert store.record(row, key(10 * n + 3)) == record(10 * n + 3)[:-1]
    assert store.record(rows[0], key(99)) is None
    assert store.record(999, key(1)) is None


def test_few_rows_are_kept_in_memory_and_none_that_is_large(store, monkeypatch):
    for row in [put(store, [n]) for n in range(9)]:
        store.record(row, key(row - 1))
    assert len(store._rows) == 4
    monkeypatch.setattr("jqcli.edge.storereader._KEPT_BYTES", 1)
    row = put(store, [99])
    assert store.record(row, key(99)) is not None
    assert row not in store._rows


def test_what_fails_in_a_transaction_leaves_nothing(store):
    def write_half():
        with store.transaction():
            store.append([New(7, 1, 0.0, None, key(1), b"")])
            store.sql.execute("insert into log (run) values (null)")

    with pytest.raises(FileError, match="NOT NULL"):
        write_half()
    put(store, [2])
    with store.held():
        assert [row.keys for row in store.read(0, 0, [1])] == [key(2)]


def test_many_rows_are_folded_and_found_by_key(store, monkeypatch):
    monkeypatch.setattr(module, "FOLD_AT", 1000)
    monkeypatch.setattr(module, "_FOLDED_AT_ONCE", 1500)
    for start in range(0, 3000, 100):
        put(store, range(start, start + 100), at=float(start))
    put(store, range(5000, 10_000))  # longer than any question
    folded = fold(store)
    with store.held():
        assert store.state() == (0, folded)
        asked = [0, 2999, 5000, 9999, 123456]
        found = store.look_up(1, b"".join(map(key, asked)))
        sieve = store.read_sieve()
        every = store.look_up(1, b"".join(map(key, range(5000, 10_000))))
    assert set(found) == {key(n) for n in asked[:4]}
    assert found[key(2999)].at == 2900.0
    assert store.record(found[key(9999)].row, key(9999)) == record(9999)[:-1]
    assert len(every) == 5000
    assert len(split_keys(sieve.sift(b"".join(map(key, range(3000)))))) == 3000
    assert fold(store) == folded


def test_what_is_folded_is_folded_in_steps_between_which_others_come_in(store, monkeypatch):
    monkeypatch.setattr(module, "FOLD_AT", 1000)
    monkeypatch.setattr(module, "_FOLDED_AT_ONCE", 300)
    for start in range(0, 2000, 100):
        put(store, range(start, start + 100))
    counts = []

    def look(seconds):
        assert not store.lock._depth
        assert seconds > LONGEST_PAUSE
        counts.append(store.sql.execute("select count(*) from known").fetchone()[0])

    monkeypatch.setattr(module.time, "sleep", look)
    fold(store)
    assert counts == [300, 600, 900, 1200]  # the rest is too little to fold


def test_the_sieve_grows_with_what_is_folded(store, monkeypatch):
    monkeypatch.setattr(module, "FOLD_AT", 100)
    monkeypatch.setattr("jqcli.core.sieve._LEAST_BITS", 1 << 10)
    for start in range(0, 4000, 200):
        put(store, range(start, start + 200))
        fold(store)
    with store.held():
        sieve = store.read_sieve()
    assert sieve.count >= 4000
    assert sieve.is_large_enough(4000)
    assert len(split_keys(sieve.sift(b"".join(map(key, range(4000)))))) == 4000


def test_few_rows_are_not_folded(store):
    put(store, range(100))
    assert fold(store) == 0


def test_a_later_row_of_one_key_is_the_one_that_counts(store, monkeypatch):
    monkeypatch.setattr(module, "FOLD_AT", 1)
    put(store, [1], at=1.0)
    put(store, [1], at=2.0)
    fold(store)
    with store.held():
        assert store.look_up(1, key(1))[key(1)].at == 2.0


def test_two_programs_write_in_turn_and_lose_nothing(path):
    """Every transaction of two processes is there in the end, and the file is sound."""
    code = (
        "import sys; from jqcli.edge.store import Store; from jqcli.edge.storereader import ScopeName\n"
        "from jqcli.core.recall import New\n"
        "store = Store(sys.argv[1]); run = int(sys.argv[2])\n"
        "for n in range(150):\n"
        "    with store.transaction():\n"
        "        store.append([New(run, 1, 0.0, None, bytes([run]) * 16, b'x' * 20000)])\n"
        "store.close()\n"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    children = [subprocess.Popen([sys.executable, "-c", code, path, str(n)], env=env) for n in (1, 2)]
    assert [child.wait(120) for child in children] == [0, 0]
    with closing(sqlite3.connect(path)) as sql, sql:
        assert sql.execute("select run, count(*) from log group by run").fetchall() == [(1, 150), (2, 150)]
        assert sql.execute("pragma integrity_check").fetchone() == ("ok",)
    sql.close()


def test_a_run_is_alive_as_long_as_its_process(path, store):
    code = (
        "import sys; from jqcli.edge.store import Store\n"
        "store = Store(sys.argv[1]); store.lock.enter(77); print('in', flush=True)\n"
        "sys.stdin.readline(); print(store.lock.is_alive(78), flush=True); sys.stdin.read()\n"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    child = subprocess.Popen([sys.executable, "-c", code, path], env=env, stdin=pipe, stdout=pipe)
    assert child.stdout.readline() == b"in\n"
    assert store.lock.is_alive(77)
    assert not store.lock.is_alive(78)
    child.stdin.write(b"\n")
    child.stdin.flush()
    assert child.stdout.readline() == b"False\n", "whoever asks would be the run"
    child.kill()
    child.communicate()
    wait_for(lambda: not store.lock.is_alive(77))


def test_who_waits_for_the_lock_asks_ever_less_often(store, monkeypatch):
    answers, pauses = iter([False] * 30 + [True]), []
    monkeypatch.setattr(StoreLock, "_take", lambda *_: next(answers))
    monkeypatch.setattr("jqcli.edge.storelock.time.sleep", pauses.append)
    store.lock.take()
    monkeypatch.undo()
    store.lock.drop()
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.0005, LONGEST_PAUSE)


def test_the_lock_is_not_waited_for_for_ever(path, store, monkeypatch):
    """Fault 43."""
    code = (
        "import sys; from jqcli.edge.store import Store\n"
        "store = Store(sys.argv[1])\n"
        "with store.held():\n    print('in', flush=True); sys.stdin.read()\n"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    child = subprocess.Popen([sys.executable, "-c", code, path], env=env, stdin=pipe, stdout=pipe)
    assert child.stdout.readline() == b"in\n"
    monkeypatch.setattr("jqcli.edge.storelock._WAIT", 0.05)
    with pytest.raises(LockedError, match="held by another process"), store.held():
        pass
    child.communicate(b"")
    with store.held():
        pass


def test_a_new_store_is_private_and_says_whose_it_is(path, store):
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with store.held():
        assert store.sql.execute("pragma user_version").fetchone() == (SCHEMA,)
        assert store.sql.execute("pragma journal_mode").fetchone() == ("truncate",)
        assert store.sql.execute("pragma synchronous").fetchone() == (2,)  # full


@pytest.mark.parametrize(
    "script, error, text",
    [
        ("create table t (a)", ForeignFileError, "another program"),
        ("pragma user_version = 99", FileError, "newer jq-run"),
        ("pragma user_version = 1", FileError, "older jq-run"),
    ],
)
def test_another_programs_or_a_newer_file_is_not_touched(path, script, error, text):
    """Fault 43."""
    if error is FileError:
        Store(path).close()
    with closing(sqlite3.connect(path)) as sql, sql:
        sql.execute(script)
    with open(path, "rb") as file:
        before = file.read()
    with pytest.raises(error, match=text):
        Store(path)
    with open(path, "rb") as file:
        assert file.read() == before


def test_a_store_that_was_replaced_is_no_longer_used(path, store):
    """Fault 43."""
    os.rename(path, path + ".old")
    Store(path).close()
    with pytest.raises(FileError, match="removed or replaced"), store.transaction():
        pass


# From outside


def test_stats_count_what_is_fresh_what_has_run_out_and_what_a_living_run_has_in_flight(store):
    put(store, range(10), at=1000.0, ttl=50.0)
    put(store, range(10, 15), at=1000.0)
    put(store, range(20, 23), name=NAME._replace(handler="tasks.py:receipt", version="2"))
    found = read_stats(store, 1060.0)
    assert [(part.handler, part.version, part.keys) for part in found.parts] == [
        ("tasks.py:charge", "", 5),
        ("tasks.py:receipt", "2", 3),
    ]
    assert (found.expired, found.runs, found.in_flight) == (10, 0, 0)


def test_pruning_takes_what_has_run_out_and_the_oldest_and_the_file_shrinks(path, store):
    for n in range(200):
        put(store, range(100 * n, 100 * n + 100), at=float(n), ttl=10.0 if n < 50 else None)
    before = os.path.getsize(path)
    assert prune(store, 100.0, older_than=None, max_bytes=None) == 50
    assert prune(store, 200.0, older_than=120.0, max_bytes=None) == 30
    kept = sum(part.size for part in read_stats(store, 0.0).parts)
    prune(store, 200.0, older_than=None, max_bytes=kept // 3)
    parts = read_stats(store, 0.0).parts
    assert 0 < sum(part.size for part in parts) <= kept // 3
    assert parts[0].newest_at == 199.0
    assert os.path.getsize(path) < before / 2
    with store.held():
        assert store.state()[0] == 3


def test_pruning_takes_folded_keys_too(store, monkeypatch):
    monkeypatch.setattr(module, "FOLD_AT", 1)
    put(store, [1], at=1.0, ttl=5.0)
    put(store, [2], at=1.0)
    fold(store)
    prune(store, 100.0, older_than=None, max_bytes=None)
    with store.held():
        assert set(store.look_up(1, key(1) + key(2))) == {key(2)}
        assert store.sql.execute("select count(*) from known").fetchone() == (1,)


def test_what_ran_out_goes_from_the_tree_too_step_by_step_and_nothing_else_does(store, monkeypatch):
    monkeypatch.setattr(module, "FOLD_AT", 1)
    monkeypatch.setattr(module, "_FOLDED_AT_ONCE", 20)
    for start in range(0, 100, 10):
        put(store, range(start, start + 10), at=1.0, ttl=5.0)
    put(store, range(5), at=3.0)  # anew, and for ever
    put(store, range(200, 205), at=3.0, name=NAME._replace(version="2"))
    fold(store)
    monkeypatch.setattr(module, "FOLD_AT", 1000)
    put(store, range(300, 310), at=1.0, ttl=5.0)
    steps = []
    monkeypatch.setattr(module.time, "sleep", steps.append)
    assert drop_expired(store, 5.9) == 0
    assert drop_expired(store, 6.0) == 11
    assert len(steps) == 6
    with store.held():
        assert set(store.look_up(1, b"".join(map(key, range(200))))) == {key(n) for n in range(5)}
        assert len(store.look_up(2, b"".join(map(key, range(200, 205))))) == 5
        assert store.sql.execute("select count(*) from known").fetchone() == (10,)
        assert store.sql.execute("select count(*) from log").fetchone() == (2,)


def test_a_key_is_forgotten_and_its_neighbours_are_not(store, monkeypatch):
    monkeypatch.setattr(module, "FOLD_AT", 1)
    row = put(store, range(5))
    alone = put(store, [9])
    fold(store)
    assert store.record(row, key(3)) is not None
    assert forget_key(store, f"5f01ab:{key(3).hex()}") == 1
    assert forget_key(store, f"5f01ab:{key(3).hex()}") == 0
    assert forget_key(store, f"5f01ac:{key(2).hex()}") == 0
    assert forget_key(store, f"5f01ab:{key(9).hex()}") == 1
    assert [store.record(row, key(n)) for n in range(5)] == [None if n == 3 else record(n)[:-1] for n in range(5)]
    assert store.record(alone, key(9)) is None
    with store.held():
        assert set(store.look_up(1, b"".join(map(key, range(10))))) == {key(n) for n in (0, 1, 2, 4)}


def test_a_key_that_lies_across_two_others_is_none(store):
    row = put(store, range(2))
    across = (key(0) + key(1))[8:24]
    assert forget_key(store, f"5f01ab:{across.hex()}") == 0
    assert store.record(row, key(0))


def test_what_is_no_key_is_refused(store):
    for text in ("nope", "5f01ab:123", "5f01ab", "toolong:=k"):
        with pytest.raises(ValueError, match="key"):
            forget_key(store, text)


def test_a_handler_is_forgotten_under_its_name_and_under_its_spec(store, monkeypatch):
    named = NAME._replace(name="receipt", handler="tasks.py:receipt", version="1")
    put(store, range(4), name=named)
    put(store, range(10, 13), name=named._replace(version="2"))
    put(store, range(20, 22))
    monkeypatch.setattr(module, "FOLD_AT", 1)
    fold(store)
    epoch, _ = store.state()
    assert forget_handler(store, "nobody") == 0
    assert store.state()[0] == epoch
    assert forget_handler(store, "receipt") == 7
    assert forget_handler(store, "tasks.py:charge") == 2
    assert store.state()[0] == epoch + 2, "runs that are alive would know them still"
    assert store.sql.execute("select count(*) from known").fetchone() == (0,)
    assert read_stats(store, time.time()).parts == []
