"""Laws of the live table on a terminal: what it sends, what it never sends, and how it leaves."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import termios
from math import inf

import pytest

from jqcli.edge.screen import open_screen
from jqcli.edge.terminal import Terminal
from tests.edge.snapshot import HOSTILE, HUGE, take_hostile_snapshot, take_snapshot


class Pty:
    """A terminal of a given size; `stream` is our stderr, `read` what a user would have been sent."""

    def __init__(self, columns, lines):
        self.master, slave = pty.openpty()
        self.stream = os.fdopen(slave, "w", encoding="utf-8")
        self.resize(columns, lines)

    def resize(self, columns, lines):
        fcntl.ioctl(self.stream.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self):
        sent = b""
        while select.select([self.master], [], [], 0.05)[0]:
            sent += os.read(self.master, 65536)
        return sent.decode()

    def hang_up(self):
        os.close(self.master)
        self.master = -1


@pytest.fixture
def open_pty(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in (
        "NO_COLOR",
        "FORCE_COLOR",
        "COLORTERM",
        "COLUMNS",
        "LINES",
        "TTY_INTERACTIVE",
        "TTY_COMPATIBLE",
    ):
        monkeypatch.delenv(name, raising=False)
    opened = []

    def start(columns=80, lines=24):
        opened.append(Pty(columns, lines))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.stream.close()
        if terminal.master >= 0:
            terminal.hang_up()


@pytest.mark.parametrize("columns", [1, 2, 3, 5, 10, 20, 40, 79, 80, 120, 300])
def test_hostile_text_sends_no_command_to_the_terminal_at_any_width(open_pty, columns):
    """Faults 41 and 42."""
    terminal = open_pty(columns, 30)
    screen = open_screen("live", terminal.stream, HUGE)
    sent = ""
    for text in (HOSTILE, HUGE):
        screen.update(take_hostile_snapshot(text))
        sent += terminal.read()
    screen.close(take_snapshot())
    assert sent
    for poison in ("\x1b[2J", "\x1b]", "\x07", "\x9b", "\u202e", "\u200b", "\n\n\n\n\n\n"):
        assert poison not in sent


def test_what_a_handler_prints_sends_no_command_to_the_terminal_either(open_pty):
    terminal = open_pty(200, 30)
    screen = open_screen("live", terminal.stream, "t")
    screen.update(take_snapshot())
    terminal.read()
    screen.say("a\x1b[2J\x9b\u202e[bold]b")
    sent = terminal.read()
    screen.close(take_snapshot())
    assert "a\\x1b[2J\\x9b\\u202e[bold]b" in sent
    assert "\x1b[2J" not in sent


def test_a_terminal_that_takes_nothing_costs_bounded_memory_and_is_told_of_what_it_missed(open_pty):
    terminal = open_pty(200, 30)
    screen = open_screen("live", terminal.stream, "t")
    screen.update(take_snapshot())
    for number in range(6000):
        screen.say(f"line {number} " + "x" * 1000)
    assert len(screen._terminal._pending) < 1.1 * 2**20
    taken = b""
    while screen._terminal.owed:
        taken += os.read(terminal.master, 65536)
    while select.select([terminal.master], [], [], 0.05)[0]:
        taken += os.read(terminal.master, 65536)
    screen.say("the last line")
    screen.close(take_snapshot())
    sent = taken.decode() + terminal.read()
    (left_out,) = re.findall(r"… ([\d,]+) lines left out", sent)
    kept = len(re.findall(r"line \d+ x", sent))
    assert kept + int(left_out.replace(",", "")) == 6000
    assert "the last line" in sent


def test_markup_in_a_payload_is_shown_as_it_is(open_pty):
    terminal = open_pty(200, 30)
    screen = open_screen("live", terminal.stream, "[bold]title[/]")
    screen.update(take_snapshot("[/][link=x]:smile:"))
    screen.close(take_snapshot())
    sent = terminal.read()
    assert "[/][link=x]:smile:" in sent
    assert "[bold]title[/]" in sent


def test_after_close_the_cursor_is_shown_and_no_escape_is_open(open_pty):
    terminal = open_pty()
    screen = open_screen("auto", terminal.stream, "t")
    screen.update(take_snapshot())
    assert "\x1b[?25l" in terminal.read()
    screen.close(take_snapshot())
    sent = terminal.read()
    wiped = sent[sent.rindex("\x1b[?25h") :]
    assert "\x1b[?25l" not in wiped
    assert wiped.count("\x1b[1A\x1b[2K") == 21
    screen.update(take_snapshot())
    screen.close(take_snapshot())
    assert terminal.read() == ""


def test_a_run_without_an_update_leaves_the_terminal_untouched(open_pty):
    terminal = open_pty()
    open_screen("live", terminal.stream, "t").close(take_snapshot())
    assert terminal.read() == ""


def test_no_more_than_four_updates_a_second_are_wanted(open_pty):
    assert open_screen("live", open_pty().stream, "t").interval >= 0.25


def test_a_terminal_that_got_narrower_is_wiped_as_far_as_the_frame_has_wrapped(open_pty):
    terminal = open_pty(80, 40)
    screen = open_screen("live", terminal.stream, "t")
    screen.update(take_snapshot(workers=0, errors=()))
    terminal.read()
    terminal.resize(40, 40)
    screen.update(take_snapshot(workers=0, errors=()))
    # Ten lines: the empty one and the last fit into 40 columns, the other eight were wrapped into two each.
    assert "\r\x1b[17A\x1b[J" in terminal.read()
    screen.close(take_snapshot())


def test_a_run_in_the_background_does_not_draw_over_the_shell(open_pty, monkeypatch):
    terminal = open_pty()
    screen = open_screen("live", terminal.stream, "t")
    screen.update(take_snapshot())
    terminal.read()
    with monkeypatch.context() as background:
        background.setattr(os, "tcgetpgrp", lambda _: os.getpgrp() + 1)
        screen.update(take_snapshot())
        assert terminal.read() == ""
    screen.update(take_snapshot())
    # Back in the foreground it makes room below what the shell wrote and draws there.
    assert terminal.read().startswith("\r\x1b[J\r\n\r\n")
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp() + 1)
    screen.close(take_snapshot())
    assert terminal.read() == ""


def test_a_terminal_that_never_reads_again_gets_its_cursor_back_with_the_next_words(open_pty, monkeypatch):
    monkeypatch.setattr("jqcli.edge.terminal._LAST_WORDS", 0.01)
    terminal = open_pty()
    screen = open_screen("live", terminal.stream, "t")
    for number in range(500):
        screen.update(take_snapshot(read=number))
    screen.close(take_snapshot())
    terminal.read()
    terminal.stream.write("the summary\n")
    terminal.stream.flush()
    assert terminal.read() == "\x18\x1b[?25h\x1bEthe summary\r\n"


def test_a_terminal_that_goes_away_stops_the_screen_and_not_the_run(open_pty):
    """Fault 42."""
    terminal = open_pty()
    screen = open_screen("live", terminal.stream, "t")
    screen.update(take_snapshot())
    terminal.hang_up()
    screen.update(take_snapshot())
    assert screen.interval == inf
    screen.close(take_snapshot())


def test_a_terminal_that_does_not_read_costs_frames_and_no_time(open_pty):
    terminal = open_pty()
    screen = open_screen("live", terminal.stream, "t")
    for number in range(500):
        screen.update(take_snapshot(read=number))
    sent = terminal.read()
    assert len(sent) < 500_000
    screen.update(take_snapshot(read=777_777))
    assert "777,777" in terminal.read()
    screen.close(take_snapshot())


def test_no_color_is_honoured(open_pty, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = open_pty()
    screen = open_screen("live", terminal.stream, "t")
    screen.update(take_snapshot())
    sent = terminal.read()
    screen.close(take_snapshot())
    assert "12,000" in sent
    assert "\x1b[3" not in sent


def test_dead_is_red_and_completed_is_green(open_pty):
    terminal = open_pty()
    screen = open_screen("live", terminal.stream, "t")
    screen.update(take_snapshot(dead=444))
    sent = terminal.read()
    screen.close(take_snapshot())
    assert re.search(r"\x1b\[32m +12,000\x1b", sent)
    assert re.search(r"\x1b\[31m +444\x1b", sent)


def test_a_dumb_terminal_gets_no_table(open_pty, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    terminal = open_pty()
    assert open_screen("auto", terminal.stream, "t").interval == inf
    open_screen("live", terminal.stream, "t").update(take_snapshot())
    assert "\x1b" not in terminal.read()


def test_a_terminal_is_let_go_once(open_pty):
    terminal = Terminal(open_pty().stream)
    terminal.close()
    terminal.close()


def test_a_broken_pipe_is_the_screens_end_and_leaves_stdout_alone(open_pty, monkeypatch):
    """Law: rich's answer to EPIPE, /dev/null in place of stdout and exit 1, never happens to the results."""
    screen = open_screen("live", open_pty().stream, "t")
    before = os.fstat(1)

    def refuse(fd, text):
        raise BrokenPipeError

    monkeypatch.setattr(os, "write", refuse)
    screen.update(take_snapshot())
    assert screen.interval == inf
    assert os.path.samestat(os.fstat(1), before)
