"""What a worker prints is heard in bearable portions, whatever it prints; what waits is not lost."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from jqcli.engine.ear import Ear
from jqcli.engine.voice import Voice
from tests.command import wait_for

COUNT = 150_000
BEARABLE = 7_000  # lines; Python's objects for them are some megabytes


@pytest.fixture
def looks():
    """What each look has heard."""
    return []


@pytest.fixture
def ear(looks):
    return Ear(3, looks.append)


def through_voice(fd):
    with socket.socket(fileno=fd) as channel:
        Voice(channel.send).tell("stdout", None, b"\n" * (COUNT - 1), is_whole=True)


def through_pipe(fd):
    with open(fd, "wb") as file:
        file.write(b"\n" * COUNT)


@pytest.mark.parametrize("say, end", [(through_voice, "voice_end"), (through_pipe, "pipe_end")])
def test_a_flood_of_lines_is_heard_in_bearable_portions(ear, looks, say, end):
    speaker = threading.Thread(target=say, args=(os.dup(getattr(ear, end)),), daemon=True)
    ear.shut()
    speaker.start()

    def is_all_there():
        ear.listen()
        ear.read_pipe()
        return sum(map(len, looks)) >= COUNT

    wait_for(is_all_there)
    speaker.join(60)
    ear.close()
    assert sum(map(len, looks)) == COUNT
    assert max(map(len, looks)) < BEARABLE


def test_what_a_worker_left_in_the_pipe_is_all_there_in_bearable_portions(ear, looks):
    os.set_blocking(ear.pipe_end, False)
    left = os.write(ear.pipe_end, b"\n" * (1 << 20))
    ear.shut()
    ear.close()
    assert sum(map(len, looks)) == left > BEARABLE
    assert max(map(len, looks)) < BEARABLE


def test_no_character_of_a_long_line_that_a_program_prints_is_parted(ear, looks):
    fd, text = os.dup(ear.pipe_end), "x" + "漢" * 60_000
    ear.shut()
    with open(fd, "wb", buffering=0) as file:
        data = text.encode()
        for begin in range(0, len(data), 1000):
            file.write(data[begin : begin + 1000])
            ear.read_pipe()
    ear.close()
    lines = [line.text for each in looks for line in each]
    assert "".join(lines) == text
    assert len(lines) > 1
