"""Laws of the memory that outlives its worker."""

from __future__ import annotations

import os
import random

import pytest

from jqcli.engine.memory import HEAD, RING_SIZE, TAIL, Memory, create_file


@pytest.fixture
def memory():
    fd = create_file()
    found = Memory.attach(fd)
    os.close(fd)
    yield found
    found.close()


def test_both_sides_see_the_same_words_and_records():
    fd = create_file()
    worker, parent = Memory.attach(fd), Memory.attach(fd)
    os.close(fd)
    worker.words[3] = 2**64 - 1
    worker.put(b"record\n")
    assert parent.words[3] == 2**64 - 1
    assert b"".join(parent.take(parent.words[HEAD])) == b"record\n"
    assert worker.words[TAIL] == 7
    worker.close()
    parent.close()


@pytest.mark.parametrize("seed", range(5))
def test_records_come_out_as_they_went_in_however_often_the_ring_wraps_around(memory, seed):
    dice = random.Random(seed)
    put, taken, waiting = [], [], 0
    while len(put) < 60:
        record = bytes([dice.randrange(256)]) * dice.choice([1, 1000, RING_SIZE // 3, RING_SIZE // 2, RING_SIZE])
        if memory.has_room(len(record)):
            memory.put(record)
            put.append(record)
            waiting += len(record)
        else:
            until = memory.tail + dice.randrange(1, waiting + 1)
            waiting -= until - memory.tail
            taken += memory.take(until)
    taken += memory.take(memory.words[HEAD])
    assert b"".join(taken) == b"".join(put)
    assert memory.words[HEAD] == memory.tail


def test_the_ring_takes_what_it_has_room_for_and_no_byte_more(memory):
    assert memory.has_room(RING_SIZE)
    assert not memory.has_room(RING_SIZE + 1)
    memory.put(b"x" * RING_SIZE)
    assert not memory.has_room(1)
    assert sum(map(len, memory.take(RING_SIZE))) == RING_SIZE
    assert memory.has_room(RING_SIZE)


def test_taking_nothing_takes_nothing(memory):
    assert memory.take(0) == []
    memory.put(b"abc")
    memory.take(3)
    assert memory.take(3) == []


@pytest.mark.parametrize("head", [0, 10, RING_SIZE - 1, RING_SIZE, RING_SIZE + 5, 7 * RING_SIZE - 3])
@pytest.mark.parametrize("waiting", [0, 1, 100, RING_SIZE])
def test_room_is_what_can_be_written_in_one_piece_without_touching_what_waits(memory, head, waiting):
    waiting = min(waiting, head)
    memory.words[HEAD], memory.words[TAIL] = head, head - waiting
    spot, base, limit = memory.room()
    assert base + spot == head
    assert spot <= limit <= RING_SIZE
    assert limit - spot == min(RING_SIZE - spot, RING_SIZE - waiting)


def test_a_memory_leaves_nothing_behind(memory):
    fd = create_file()
    assert "jq-run" in os.readlink(f"/proc/self/fd/{fd}")
    assert os.fstat(fd).st_size >= RING_SIZE
    assert not os.get_inheritable(fd)
    os.close(fd)
