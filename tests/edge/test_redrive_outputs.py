"""Laws of where a redrive's records go."""

from __future__ import annotations

import os

import pytest

from jqcli.edge.redrive_log import Header, RedriveLog, done_line
from jqcli.edge.redrive_outputs import Done, NotedStream
from jqcli.errors import FileError

RECORDS = [b'{"id":"a","key":"t:k","status":"completed"}\n', b'{"id":"b","key":"t:l","status":"skipped"}\n']


class Stream:
    """A stream whose reader takes what was appended at the second flush."""

    def __init__(self):
        self.is_left = True

    def append(self, batch, records):
        pass

    def flush(self):
        was, self.is_left = self.is_left, False
        return was


class Notes:
    """A redrive's file that keeps its lines in memory."""

    def __init__(self):
        self.lines = []

    def append(self, lines):
        self.lines.append(lines)


def test_a_result_on_a_stream_is_noted_once_and_not_before_its_reader_has_taken_it():
    notes = Notes()
    stream = NotedStream(Stream(), notes)
    stream.append(1, RECORDS)
    assert stream.flush()
    assert notes.lines == []
    assert not stream.flush()
    assert not stream.flush()
    assert notes.lines == [b"".join(map(done_line, RECORDS))]


def test_what_is_done_settles_no_line_of_a_redrive():
    for wanted in (None, {b"k"}):
        done = Done(wanted=wanted)
        done.add(b"k", b"", "completed", 0)
        done.add(b"l", b"", "completed", 50)
        assert done.count == 0
        assert done.claim(b"k", b"") is None


def test_a_redrives_file_that_is_taken_away_is_missed(tmp_path):
    dlq = str(tmp_path / "jobs.dlq.jsonl")
    with RedriveLog(dlq) as log:
        log.begin(Header(0, None, 0, {}))
        log.check()
        os.unlink(log.path)
        with pytest.raises(FileError, match="was removed or replaced while this redrive wrote to it"):
            log.check()
