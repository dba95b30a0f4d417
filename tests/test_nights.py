"""The sample of two nights: every command of its page is run, every number on it is counted."""

from __future__ import annotations

import json
import re
import shutil
import sys

import pytest

from tests import oracle
from tests.command import ROOT, Folder

pytestmark = pytest.mark.walk

SAMPLE = ROOT / "samples" / "nights"
PAGE = (SAMPLE / "README.md").read_text()
LEFT_BEHIND = ("*.results.jsonl", "*.dlq.jsonl", "memory.db*", "calls.log", "__pycache__")
TABLE = {
    name: (int(monday), int(tuesday))
    for name, monday, tuesday in re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \|", PAGE, re.MULTILINE)
}
COMMANDS = re.findall(r"^\$ (jq-run .*)$", PAGE, re.MULTILINE)


@pytest.fixture
def nights(tmp_path):
    shutil.copytree(SAMPLE, tmp_path / "nights", ignore=shutil.ignore_patterns(*LEFT_BEHIND))
    program = tmp_path / ".local" / "bin" / "jq-run"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m jqcli "$@"\n')
    program.chmod(0o755)
    folder = Folder(tmp_path / "nights")
    yield folder
    folder.close()


def run(nights, line, code=0):
    home = nights.path.parent
    ran = nights.shell(line, limit=60, HOME=str(home), PATH=f"{home}/.local/bin:{nights.env()['PATH']}")
    assert ran.code == code, ran.err
    return ran


def calls(nights):
    return (nights / "calls.log").read_text().split()


def check(nights, name, column):
    ids = oracle.expected_ids(nights / f"{name}.jsonl")
    count = oracle.check(ids, nights / f"{name}.results.jsonl", nights / f"{name}.dlq.jsonl")
    told = {status: numbers[column] for status, numbers in TABLE.items() if numbers[column]}
    assert count.statuses | {"read": sum(count.statuses.values())} == told
    return count


def test_the_second_night_runs_only_what_is_new_as_the_page_says(nights):
    first, second, stats, forget = COMMANDS
    run(nights, first)
    check(nights, "monday", 0)
    run(nights, second)
    count = check(nights, "tuesday", 1)
    (number,) = re.findall(r"called (\d+) times", PAGE)
    assert len(calls(nights)) == int(number)
    shown = json.loads(re.search(r'^\{"id":"tuesday:1".*$', PAGE, re.MULTILINE)[0])
    assert count.records['"tuesday:1"'] == shown
    from_monday = [r for r in count.results if r.get("duplicate_of", "").startswith("monday:")]
    assert f"| {len(from_monday)} were rated on monday" in PAGE.replace("27 | ", "| ")
    assert f"{number} keys" in run(nights, stats).out.decode()
    assert f"{number} keys forgotten" in run(nights, forget).err
    run(nights, f"{second} --fresh")
    assert len(calls(nights)) == int(number) + len(set((nights / "tuesday.jsonl").read_text().split()))


def test_a_new_version_of_the_handler_rates_everybody_again(nights):
    run(nights, COMMANDS[0])
    text = (nights / "tasks.py").read_text()
    nights.write("tasks.py", text.replace("version=1", "version=2"))
    run(nights, f"{COMMANDS[0]} --fresh")
    assert len(calls(nights)) == 80


def test_the_crontab_line_runs_as_cron_runs_it(nights):
    (line,) = [line for line in (SAMPLE / "crontab").read_text().splitlines() if line and not line.startswith("#")]
    fields = line.split(maxsplit=5)
    assert all(re.fullmatch(r"[\d*/,-]+", field) for field in fields[:5])
    nights.write("line.sh", fields[5])
    ran = run(
        nights,
        'cd / && exec env -i HOME="$HOME" PATH=/usr/bin:/bin SHELL=/bin/sh sh -c "$(cat "$HOME/nights/line.sh")"',
    )
    assert ran.out == b""
    assert ran.err == ""
    assert len(oracle.read_lines(nights / "tuesday.results.jsonl")) == TABLE["read"][1]
