"""Laws of what is said on stderr: harmless to a terminal, and no failure where nobody listens."""

from __future__ import annotations

import io
import sys

from jqcli.edge.stderr import say, say_lines, write

EVIL = "a\x1b[2J\nb\u202e\r"


def test_what_is_said_is_one_line_without_a_control_byte(capsys):
    say(EVIL)
    assert capsys.readouterr().err == "jq-run: a\\x1b[2J\\nb\\u202e\\r\n"


def test_lines_stay_lines_and_each_is_harmless(capsys):
    say_lines(EVIL)
    assert capsys.readouterr().err == "jq-run: a\\x1b[2J\nb\\u202e\\r\n"


def test_nobody_who_listens_is_no_failure(monkeypatch):
    class Full(io.StringIO):
        def write(self, _):
            raise OSError("full")

    for stream in (None, Full()):
        monkeypatch.setattr(sys, "stderr", stream)
        say("x")
        say_lines("x")
        write("x")
