"""A worker's voice and its listener: whatever is written in whatever pieces, its lines arrive, each with its job."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqcli.core.printed import LINE_MOST, Ids
from jqcli.engine.ear import Listener
from jqcli.engine.printing import open_heedless
from jqcli.engine.voice import Voice

JOBS = [None, (b'"a"', "t:1", 1), (b'"b"', "t:2", 1), (b'"b"', "t:2", 2)]
TEXT = st.text(st.sampled_from("ab\né\ud800"), min_size=1, max_size=6)
WRITES = st.lists(st.tuples(st.integers(0, len(JOBS) - 1), TEXT, st.booleans()), max_size=30)


def speak(writes):
    """Write these texts at these jobs; return the lines that were heard, with what tells their jobs."""
    listener, heard, at = Listener(3), [], JOBS[0]
    voice = Voice(lambda data: heard.extend(listener.take(data)))
    voice.find_job = lambda: at
    stream = voice.open_stream("stdout", 1)
    for job, text, is_flushed in writes:
        at = JOBS[job]
        stream.write(text)
        if is_flushed:
            stream.flush()
    voice.settle()
    assert listener.end() == []
    return heard


def expected(writes):
    lines, rest, before = [], None, None
    for job, text, _ in writes:
        if job != before and rest:
            lines.append((before, rest))
            rest = None
        before = job
        *whole, rest = ((rest or "") + text).split("\n")
        lines += [(job, line) for line in whole]
    return [*lines, (before, rest)] if rest else lines


@given(WRITES)
def test_every_line_arrives_once_in_order_and_with_its_job(writes):
    found = speak(writes)
    ids = {None: None, **{job: Ids(job[0].decode().strip('"'), *job[1:]) for job in JOBS if job}}
    said = [(ids[JOBS[job]], line.replace("\ud800", "\\ud800")) for job, line in expected(writes)]
    assert [(line.ids, line.text) for line in found] == said
    assert {line.worker for line in found} <= {3}


@given(st.lists(st.binary(max_size=40)))
def test_bytes_that_are_no_piece_say_nothing(pieces):
    listener = Listener(0)
    for piece in pieces:
        assert listener.take(piece) == []


@pytest.mark.parametrize("size", [LINE_MOST, LINE_MOST + 1, 200_001])
@pytest.mark.parametrize("step", [1000, 1 << 20])
def test_a_long_line_loses_nothing_and_fills_no_memory(size, step):
    text = "x" * size
    found = speak([(1, text[at : at + step], True) for at in range(0, size, step)] + [(1, "\n", False)])
    assert "".join(line.text for line in found) == text
    assert all(len(line.text) <= LINE_MOST for line in found)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("end", ["", "\n", "\nand more\n"])
def test_no_character_is_parted_wherever_a_text_is_cut(size, end):
    text = "x" * size + "漢" * 40_000 + "🂡" * 40_000
    found = speak([(1, text + end, False)])
    assert "".join(line.text for line in found) == text + end.replace("\n", "")


def test_a_character_may_be_written_byte_by_byte():
    listener, heard = Listener(3), []
    stream = Voice(lambda data: heard.extend(listener.take(data))).open_stream("stdout", 1)
    for byte in "é漢🂡\n".encode() + b"\xff\n":
        stream.buffer.write(bytes([byte]))
        stream.flush()
    assert [line.text for line in heard] == ["é漢🂡", "\\xff"]


def test_a_message_of_a_logger_stays_one_however_many_lines_it_has():
    listener, heard = Listener(3), []
    Voice(lambda data: heard.extend(listener.take(data))).log("info", "shop", 0.0, "line\n" * 2000)
    assert [line.text for line in heard] == ["line\n" * 2000]


def test_a_long_message_of_a_logger_is_cut_between_characters():
    listener, heard = Listener(3), []
    Voice(lambda data: heard.extend(listener.take(data))).log("info", "shop", 0.0, "漢" * LINE_MOST)
    assert [line.text for line in heard] == ["漢" * (LINE_MOST // 3) + " [...]"]


def test_who_listens_beside_has_each_line_as_soon_as_it_ends():
    read, write = os.pipe()
    os.set_blocking(read, False)
    with open(read, "rb", buffering=0) as heard, open_heedless(write) as also:
        stream = Voice(lambda _: None).open_stream("stderr", 2, also)
        stream.write("what is ")
        assert heard.read() is None
        stream.write("it?\n")
        assert heard.read() == b"what is it?\n"
        stream.write("> ")
        stream.flush()
        assert heard.read() == b"> "
        stream.close()
    os.close(write)


def test_where_no_datagram_is_large_enough_a_line_goes_to_stderr_and_is_not_lost(capfd):
    def refuse(data):
        raise OSError(errno.EMSGSIZE, "Message too long")

    Voice(refuse).open_stream("stdout", 1).write("said\n")
    assert capfd.readouterr().err == "said\n"


def test_nobody_who_listens_is_no_failure():
    def refuse(data):
        raise BrokenPipeError

    Voice(refuse).open_stream("stdout", 1).write("said\n")
