"""Laws of the log: what a program of a handler prints has the ids of the job that runs, found once for many lines."""

from __future__ import annotations

import json

import pytest

from jqcli.core.change import Change
from jqcli.core.printed import Ids, Printed
from jqcli.edge.log import LineFile, Log


@pytest.mark.parametrize("as_json", [True, False])
def test_no_control_and_no_bidi_mark_of_a_message_or_an_id_reaches_the_file(tmp_path, as_json):
    file = LineFile(str(tmp_path / "log"), print)
    log = Log(file, "run", as_json=as_json, about={})
    hostile = "a\x9b2J\u202e\x07\x1b[2J\ud800\x7f"
    log.hear([Printed(7, 1.0, hostile, "output", ids=Ids(hostile, hostile, 1))])
    log.write([Change(0.0, "dead", hostile, hostile, detail={"message": hostile})])
    file.close()
    text = (tmp_path / "log").read_bytes().decode("ascii")
    assert text.replace("\n", "").replace("\x7f", "").isprintable()
    if as_json:
        said = [json.loads(line) for line in text.splitlines()]
        assert [said[1]["message"], said[1]["job"], said[2]["message"]] == [hostile] * 3


def test_a_job_is_looked_up_once_for_all_lines_in_a_row_that_arrive_while_it_runs(tmp_path):
    asked = []

    def find(batch, index):
        asked.append((batch, index))
        return Ids(f"job-{index}", f"5f01ab:{index}", 1) if index < 2 else None

    file = LineFile(str(tmp_path / "log"), print)
    log = Log(file, "run", as_json=True, about={})
    log.find = find
    for index in (0, 1, 2, 0):
        log.hear([Printed(7, 1.0, f"line {n}", "output", place=(3, index)) for n in range(5)])
    file.close()
    said = [json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()][1:]
    assert asked == [(3, 0), (3, 1), (3, 2), (3, 0)]
    assert [one.get("job") for one in said] == ["job-0"] * 5 + ["job-1"] * 5 + [None] * 5 + ["job-0"] * 5
