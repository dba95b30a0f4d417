"""Laws of the memory that outlives its worker."""

from __future__ import annotations

import os
import random

import pytest

from jqcli.engine.memory import FILLED, HEAD, PAGE_SIZE, TAKEN, Memory, Writer, create_file


@pytest.fixture
def sides():
    fd = create_file()
    found = Writer(fd), Memory(fd)
    os.close(fd)
    return found


def take_all(memory):
    taken = b"".join(memory.take(memory.words[HEAD]))
    memory.free()
    return taken


def test_both_sides_see_the_same_words_and_records(sides):
    writer, memory = sides
    writer.words[3] = 2**64 - 1
    writer.put(b"record\n")
    assert memory.words[3] == 2**64 - 1
    assert memory.peek() == b"record\n"
    assert take_all(memory) == b"record\n"
    assert memory.peek() == b""
    assert writer.words[TAKEN] == 7


@pytest.mark.parametrize("seed", range(5))
def test_records_come_out_as_they_went_in_however_often_the_page_turns(sides, seed):
    writer, memory = sides
    dice = random.Random(seed)
    put, taken = [], []
    for _ in range(100):
        record = bytes([dice.randrange(256)]) * dice.choice([1, 1000, PAGE_SIZE // 3, PAGE_SIZE // 2, PAGE_SIZE])
        try:
            writer.put(record)
        except ValueError:
            if not writer.can_turn:
                taken.append(take_all(memory))
            writer.turn()
            writer.put(record)
        put.append(record)
        if dice.random() < 0.2:
            taken.append(take_all(memory))
    taken.append(take_all(memory))
    assert b"".join(taken) == b"".join(put)


def test_a_page_takes_what_it_has_room_for_and_no_byte_more(sides):
    writer, memory = sides
    writer.put(b"x" * (PAGE_SIZE - 1))
    with pytest.raises(ValueError, match="out of range"):
        writer.put(b"xy")
    assert writer.words[HEAD] == PAGE_SIZE - 1, "nothing of what does not fit is there"
    writer.put(b"y")
    assert memory.peek() == b"x" * (PAGE_SIZE - 1) + b"y"


def test_a_page_is_not_written_again_before_all_of_it_is_taken(sides):
    writer, memory = sides
    writer.put(b"1" * (PAGE_SIZE - 10))
    assert writer.can_turn, "the other page was never used"
    writer.turn()
    writer.put(b"2" * 10)
    memory.take(writer.words[FILLED] - 1)
    memory.free()
    assert not writer.can_turn
    records = memory.take(writer.words[HEAD])
    assert not writer.can_turn, "what was taken stands until it is freed"
    memory.free()
    assert writer.can_turn
    writer.turn()
    writer.put(b"3")
    assert b"".join(records) == b"1" + b"2" * 10
    assert memory.peek() == b"3"


def test_what_was_told_of_a_page_is_taken_alone_also_when_the_worker_has_turned_it_since(sides):
    writer, memory = sides
    writer.put(b"1" * 100)
    writer.turn()
    take_all(memory)
    writer.put(b"2" * 200)
    told = writer.words[HEAD]
    writer.turn()
    writer.put(b"3" * 300)
    assert b"".join(memory.take(told)) == b"2" * 200
    assert take_all(memory) == b"3" * 300


def test_taking_nothing_takes_nothing(sides):
    writer, memory = sides
    assert memory.take(0) == []
    writer.put(b"abc")
    memory.take(3)
    assert memory.take(3) == []


@pytest.mark.parametrize("turned", [False, True])
def test_the_spot_is_what_was_marked_and_one_more_for_each_record_since(sides, turned):
    writer, memory = sides
    writer.put(b"x" * (PAGE_SIZE - 20) + b"\n")
    take_all(memory)
    writer.mark(7)
    assert memory.spot() == 7
    writer.put(b"1\n")
    if turned:
        writer.turn()
    writer.put(b"2\n")
    assert memory.spot() == 9
    writer.mark(10)
    take_all(memory)
    assert memory.spot() == 10, "taken or not"


def test_a_memory_leaves_nothing_behind():
    fd = create_file()
    assert "jq-run" in os.readlink(f"/proc/self/fd/{fd}")
    assert os.fstat(fd).st_size >= 2 * PAGE_SIZE
    assert not os.get_inheritable(fd)
    os.close(fd)
