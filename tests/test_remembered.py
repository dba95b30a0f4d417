"""What a store says of a run that is only thought of, folded or not, is what it would say of the run."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time

import pytest

from jqcli.core.recall import CLAIM, ELSEWHERE, REMEMBERED, Row
from jqcli.edge import storetree as module
from jqcli.edge.store import Store
from jqcli.edge.storetree import fold
from jqcli.edge.storeview import StoreView
from jqcli.model import NO_ASKS, Job
from jqcli.remembered import Remembered
from tests.command import ROOT
from tests.edge.test_store import NAME, key, put

ALIVE, DEAD = 11, 12


def job(n):
    return Job(n, "x", has_own_id=False, key=key(n), key_text="", payload_hash=None, asks=NO_ASKS)


@pytest.fixture(params=[False, True], ids=["rows", "folded"])
def path(tmp_path, monkeypatch, request):
    """A store with what was done lately, once, and without end; and claims of two runs."""
    path = str(tmp_path / "memory.db")
    store = Store(path)
    put(store, [1, 2], at=time.time(), ttl=3600.0)
    put(store, [3], at=time.time() - 7200.0, ttl=3600.0)
    put(store, [4], at=time.time() - 7200.0)
    put(store, [5], name=NAME._replace(version="2"))
    if request.param:
        monkeypatch.setattr(module, "FOLD_AT", 1)
        fold(store)
    with store.held():
        for run, claimed in ((ALIVE, key(6) + key(1)), (DEAD, key(7))):
            store.claims.append([(1, Row(1, run, CLAIM, 0.0, None, claimed))])
        store.claims.append([(2, Row(2, ALIVE, CLAIM, 0.0, None, key(8)))])
    store.close()
    return path


@pytest.mark.parametrize("ttl, done", [(None, {1, 2, 4}), (60.0, {1, 2}), (1e9, {1, 2, 4})])
def test_what_is_done_and_fresh_is_remembered_and_what_a_living_run_does_is_elsewhere(path, monkeypatch, ttl, done):
    view = StoreView(path)
    monkeypatch.setattr(view.lock, "is_alive", lambda run: run == ALIVE)
    memory = Remembered(view, {None: NAME}, ttl)
    found = memory.judge({None: b"".join(map(key, range(9)))})
    assert found == dict.fromkeys(map(key, done), REMEMBERED) | {key(6): ELSEWHERE}
    first = memory.find(job(1))
    assert (first.id, first.result) == ("job-1", b"1")
    assert memory.find(job(8)) is None
    memory.close()


def test_a_commit_that_its_run_did_not_live_to_end_counts_for_nothing_and_is_left_as_it_is(path, tmp_path, monkeypatch):
    monkeypatch.setattr("jqcli.edge.storeview._COMMIT_LIMIT", 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("pragma journal_mode = truncate")
    other.execute("pragma cache_size = 2")
    other.execute("begin immediate")
    other.execute("delete from log")
    for number in range(50):
        other.execute("insert into log values (?, 9, 1, 0, null, ?, ?)", (100 + number, key(8), bytes(100_000)))
    torn = tmp_path / "torn"
    torn.mkdir()
    for name in ("memory.db", "memory.db-journal", "memory.db-lock"):
        shutil.copyfile(tmp_path / name, torn / name)
    other.close()
    before = {each.name: each.read_bytes() for each in torn.iterdir()}
    assert before["memory.db-journal"]
    assert before["memory.db"] != (tmp_path / "memory.db").read_bytes()
    memory = Remembered(StoreView(str(torn / "memory.db")), {None: NAME}, None)
    assert memory.judge({None: key(1) + key(8)}) == {key(1): REMEMBERED}
    assert memory.find(job(1)).id == "job-1"
    memory.close()
    assert {each.name: each.read_bytes() for each in torn.iterdir()} == before


def test_a_scope_that_is_not_there_remembers_nothing(path):
    memory = Remembered(StoreView(path), {None: NAME._replace(handler="other.py:do")}, None)
    assert memory.judge({None: b"".join(map(key, range(9)))}) == {}
    memory.close()


def test_a_run_is_alive_as_long_as_a_process_holds_its_number(path):
    code = (
        "import sys; from jqcli.edge.storelock import StoreLock\n"
        "StoreLock(sys.argv[1]).enter(int(sys.argv[2])); print(flush=True); sys.stdin.read()\n"
    )
    view = StoreView(path)
    words = [sys.executable, "-c", code, path, str(ALIVE)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as child:
        child.stdout.readline()
        assert view.lock.is_alive(ALIVE)
        assert not view.lock.is_alive(DEAD)
        child.stdin.close()
        child.wait()
    assert not view.lock.is_alive(ALIVE)
    view.close()
