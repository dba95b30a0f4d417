"""Laws of the screens that write lines, or nothing."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from math import inf, nan

import pytest

from jqcli.edge.screen import open_screen
from tests.edge.snapshot import HOSTILE, take_hostile_snapshot, take_snapshot


@pytest.mark.parametrize("style", ["auto", "live", "plain", "json", "none"])
def test_a_pipe_gets_no_escape_byte_even_with_force_color(style, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as source, os.fdopen(writer, "w", encoding="utf-8") as stream:
        screen = open_screen(style, stream, HOSTILE)
        screen.update(take_hostile_snapshot(HOSTILE))
        screen.close(take_hostile_snapshot(HOSTILE))
        stream.close()
        sent = source.read().decode()
    assert sent.replace("\n", "").isprintable()
    assert bool(sent) == (style in ("live", "plain", "json"))


def test_plain_is_one_line_that_says_how_far_the_run_is():
    stream = io.StringIO()
    screen = open_screen("plain", stream, "t")
    screen.update(take_snapshot())
    assert stream.getvalue() == (
        "jq-run: 12,345 read, 12,000 completed, 200 duplicate, 5 skipped, 3 dead, 45 retries, 12 waiting, "
        "4,100/s, 31 % ETA 2m10s\n"
    )
    assert screen.interval == 10


def test_plain_names_a_state_other_than_running_and_no_unknown_end():
    stream = io.StringIO()
    open_screen("plain", stream, "t").update(take_snapshot(state="draining", fraction=None))
    assert stream.getvalue().startswith("jq-run: draining, 12,345 read")
    assert "%" not in stream.getvalue()


def test_json_is_one_object_a_line_with_the_fields_of_the_snapshot():
    stream = io.StringIO()
    screen = open_screen("json", stream, "t")
    screen.update(take_snapshot(HOSTILE, rate=inf, mean_rate=nan, latencies={7: 1}))
    (line,) = stream.getvalue().splitlines()
    fields = json.loads(line)
    assert (fields["read"], fields["rate"], fields["mean_rate"]) == (12345, None, None)
    assert fields["workers"][1]["job"] == fields["errors"][0]["message"] == HOSTILE
    assert line.isascii()
    assert not {"busy", "histogram", "latencies"} & fields.keys()  # how latencies are kept is nobody's business
    assert screen.interval == 1


@pytest.mark.parametrize("style", ["plain", "json"])
def test_a_reader_that_goes_away_stops_the_lines_and_not_the_run(style):
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w")
    os.close(reader)
    screen = open_screen(style, stream, "t")
    screen.update(take_snapshot())
    assert screen.interval == inf
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_pipe_that_is_full_loses_lines_and_does_not_stop_the_run():
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb"), os.fdopen(writer, "w", encoding="utf-8") as stream:
        screen = open_screen("plain", stream, "t")
        for _ in range(2000):
            screen.update(take_snapshot())
        assert screen.interval == 10


def test_rich_is_imported_by_the_live_table_alone():
    code = (
        "import io, sys; from jqcli.edge.screen import open_screen;"
        "[open_screen(s, io.StringIO(), 't') for s in ('auto', 'live', 'plain', 'json', 'none')];"
        "sys.exit('rich' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
