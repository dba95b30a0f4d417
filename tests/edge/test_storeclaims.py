"""What is in flight, in the file beside the store: a row counts when the head says so, and not before."""

from __future__ import annotations

import itertools
import os

import pytest

from jqcli.core.recall import CLAIM, RELEASE, RELEASE_ROW, Row, split_keys
from jqcli.edge import failpoint
from jqcli.edge import storeclaims as module
from jqcli.edge.storeclaims import Claims, claims_of
from jqcli.errors import FileError

A, B, C = (bytes([n]) * 16 for n in (1, 2, 3))


@pytest.fixture
def fd(tmp_path):
    opened = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


@pytest.fixture
def claims(fd):
    return Claims(fd, "lock")


NUMBERS = itertools.count(1)


def put(claims, kind, run, scope, keys):
    """Append a row, a claim with a number of its own."""
    return claims.append([(scope, Row(next(NUMBERS) if kind == CLAIM else 0, run, kind, 0.0, None, keys))])


def rows(claims):
    return [(scope, row.run, row.kind, row.keys) for scope, row in claims.read_all()]


def test_rows_come_back_in_order_from_wherever_one_has_read_to(claims):
    assert rows(claims) == []
    first = put(claims, CLAIM, 7, 1, A + B)
    second = put(claims, RELEASE, 7, 1, B)
    assert claims.head() == second
    assert rows(claims) == [(1, 7, CLAIM, A + B), (1, 7, RELEASE, B)]
    assert list(claims.read(first.end, second.end)) == [(1, Row(0, 7, RELEASE, 0.0, None, B))]
    assert claims_of(claims) == {7: {A}}


def test_a_row_whose_run_died_while_it_was_written_counts_for_nothing_and_is_written_over(claims, fd, monkeypatch):
    put(claims, CLAIM, 7, 1, A)

    def die(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(failpoint, "hit", die)
    with pytest.raises(KeyboardInterrupt):
        put(claims, CLAIM, 7, 1, B + C)
    monkeypatch.undo()
    assert os.fstat(fd).st_size > claims.head().end
    assert rows(claims) == [(1, 7, CLAIM, A)]
    put(claims, CLAIM, 8, 1, C)
    assert rows(claims) == [(1, 7, CLAIM, A), (1, 8, CLAIM, C)]


def test_an_announcement_is_seen_and_moves_no_row(claims):
    before = put(claims, CLAIM, 7, 1, A)
    after = claims.announce()
    assert after == before._replace(news=before.news + 1) == claims.head()
    assert rows(claims) == [(1, 7, CLAIM, A)]


def test_what_begins_anew_is_another_generation_and_the_file_shrinks(claims, fd):
    before = put(claims, CLAIM, 7, 1, A * 1000)
    claims.clear()
    assert rows(claims) == []
    assert claims.head().generation != before.generation
    assert os.fstat(fd).st_size < 100


def test_beginning_anew_needs_nothing_of_what_a_power_cut_left(claims, fd):
    end = put(claims, CLAIM, 7, 1, A).end
    os.pwrite(fd, b"\xff" * 20, end - 36)
    with pytest.raises(FileError, match="is damaged"):
        rows(claims)
    claims.clear()
    assert rows(claims) == []
    os.pwrite(fd, b"\xff" * 32, 8)
    assert rows(claims) == []
    claims.announce()
    claims.clear()
    put(claims, CLAIM, 7, 1, A)
    assert rows(claims) == [(1, 7, CLAIM, A)]


@pytest.mark.parametrize("most", [range(1), range(6)], ids=["many are left", "few are left"])
def test_the_rows_of_the_dead_are_left_out_where_there_are_many(claims, fd, monkeypatch, most):
    monkeypatch.setattr(module, "_LARGE", 2000)
    first, second = ([b"".join(bytes([n, at]) * 8 for at in part) for n in range(6)] for part in (range(10), range(50)))
    for n in range(6):
        put(claims, CLAIM, n, 1, first[n])
    claims.leave_out(lambda _: False)
    assert len(rows(claims)) == 6  # which are not many
    for n in range(6):
        put(claims, CLAIM, n, 1, second[n])
    before, kept = claims.head(), rows(claims)
    claims.leave_out(lambda run: run in (5, *most[1:]))
    if len(most) > 1:
        assert rows(claims) == kept  # all but one are alive
        return
    assert claims_of(claims) == {5: set(split_keys(second[5]))}
    assert claims.head().generation == before.generation + 2
    assert os.fstat(fd).st_size == claims.head().end < before.end / 4


def test_what_was_let_go_is_left_out_though_its_run_lives_and_not_looked_for_again_soon(claims, fd, monkeypatch):
    monkeypatch.setattr(module, "_LARGE", 2000)
    monkeypatch.setattr(module, "_LARGE_LATER", 4000)
    put(claims, CLAIM, 7, 1, A)
    for n in range(50):
        put(claims, CLAIM, 7, 1, bytes([n]) * 15 + b"x")
        put(claims, RELEASE, 7, 1, bytes([n]) * 15 + b"x")
    put(claims, CLAIM, 8, 2, A + B)
    put(claims, RELEASE, 8, 1, B)  # which is of another scope
    assert claims.leave_out(lambda run: run in (7, 8)) == claims.head()
    assert sorted(rows(claims)) in [[(1, 7, CLAIM, A), (2, 8, CLAIM, both)] for both in (A + B, B + A)]
    assert os.fstat(fd).st_size == claims.head().end < 200
    for _ in range(60):
        put(claims, CLAIM, 9, 1, C)
    claims.leave_out(lambda run: run in (7, 8))
    assert len(claims_of(claims)) == 3
    for _ in range(60):
        put(claims, CLAIM, 9, 1, C)
    claims.leave_out(lambda run: run in (7, 8))
    assert len(claims_of(claims)) == 2


def test_what_was_let_go_of_by_the_number_of_its_claim_is_no_claim_nor_kept(claims, fd, monkeypatch):
    monkeypatch.setattr(module, "_LARGE", 100)
    for number, keys in enumerate((A, B + C, B + A)):
        claims.append([(1, Row(number, 7 + number // 2, CLAIM, 0.0, None, keys))])
    claims.append([(1, Row(number, 7, RELEASE_ROW, 0.0, None, b"")) for number in (1, 2)])
    assert claims_of(claims) == {7: {A}, 8: {A, B}}
    claims.leave_out(lambda _: True)
    assert [row[1:] for row in rows(claims)] == [(7, CLAIM, A), (8, CLAIM, B + A)]
    claims.append([(1, Row(0, 7, RELEASE_ROW, 0.0, None, b""))])
    assert claims_of(claims) == {8: {A, B}}, "its number is kept where it is moved"


def test_what_is_claimed_again_after_it_was_let_go_of_is_a_claim(claims, monkeypatch):
    monkeypatch.setattr(module, "_LARGE", 100)
    put(claims, CLAIM, 7, 1, A + B)
    put(claims, RELEASE, 7, 1, A)
    put(claims, CLAIM, 7, 1, A + C)
    for _ in range(9):
        put(claims, RELEASE, 7, 2, A)
    assert claims_of(claims) == {7: {A, B, C}}
    claims.leave_out(lambda _: True)
    assert claims_of(claims) == {7: {A, B, C}}


def test_leaving_out_can_be_cut_off_anywhere(claims, monkeypatch):
    monkeypatch.setattr(module, "_LARGE", 100)
    monkeypatch.setattr(module, "_LARGE_LATER", 100)
    for n in range(40):
        put(claims, CLAIM, n, 1, bytes([n]) * 16)
    write = os.pwrite
    for number in (1, 2, 3, 4):
        writes = iter(range(1, 10))

        def die(*args, writes=writes, number=number):
            if next(writes) == number:
                raise KeyboardInterrupt
            return write(*args)

        monkeypatch.setattr(os, "pwrite", die)
        with pytest.raises(KeyboardInterrupt):
            claims.leave_out(lambda run: 17 <= run < 20)
        monkeypatch.setattr(os, "pwrite", write)
        assert [run for _, run, _, _ in rows(claims) if 17 <= run < 20] == [17, 18, 19]
        put(claims, CLAIM, 99, 1, C)
        assert rows(claims)[-1] == (1, 99, CLAIM, C)
        for n in range(40):
            put(claims, CLAIM, n + 50, 1, C)


@pytest.mark.parametrize("less", [1, 16, 17, 40])
def test_a_row_that_was_cut_off_is_damage_and_not_no_row(claims, fd, less):
    end = put(claims, CLAIM, 7, 1, A + B).end
    os.truncate(fd, end - less)
    with pytest.raises(FileError, match="is damaged"):
        rows(claims)
    os.pwrite(fd, module._ROW.pack(7, 1, CLAIM, 1, 3), claims.head().start)
    os.truncate(fd, end)  # of which the file would be whole, if what it says were right
    with pytest.raises(FileError, match="is damaged"):
        rows(claims)


def test_what_is_read_in_several_parts_is_read_to_its_end(claims, monkeypatch):
    for n in range(20):
        put(claims, CLAIM, n, 1, bytes([n]) * 160)
    read = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: read(fd, min(size, 100), at))
    assert [run for _, run, _, _ in rows(claims)] == [*range(20)]


def test_rows_that_are_moved_while_they_are_read_are_read_again(claims, monkeypatch):
    for _ in range(50):
        put(claims, CLAIM, 7, 1, A * 9)
    read = Claims.read

    def move_and_read(self, start, end):
        monkeypatch.setattr(Claims, "read", read)
        claims.clear()
        put(claims, CLAIM, 8, 1, B)
        return read(self, start, end)

    monkeypatch.setattr(Claims, "read", move_and_read)
    assert rows(claims) == [(1, 8, CLAIM, B)]
