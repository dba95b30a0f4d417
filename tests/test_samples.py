"""The samples and the README: every command in them is run or exists, every number in them is counted."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import Counter

import pytest

from tests import oracle
from tests.command import ROOT, Folder

pytestmark = pytest.mark.walk

SAMPLE = ROOT / "samples" / "orders"
PAGE = (SAMPLE / "README.md").read_text()
README = (ROOT / "README.md").read_text()


@pytest.fixture
def orders(tmp_path):
    """The sample, copied as a user would, in a home that has `jq-run` where the crontab looks for it."""
    shutil.copytree(
        SAMPLE, tmp_path / "orders", ignore=shutil.ignore_patterns("*.results.jsonl", "*.dlq.jsonl", "__pycache__")
    )
    program = tmp_path / ".local" / "bin" / "jq-run"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m jqcli "$@"\n')
    program.chmod(0o755)
    folder = Folder(tmp_path / "orders")
    yield folder
    folder.close()


def run(orders, line, **env):
    home = orders.path.parent
    return orders.shell(line, HOME=str(home), PATH=f"{home}/.local/bin:{orders.env()['PATH']}", **env)


def told_counts(heading):
    """Return the rows of a table of the sample's page: name and number."""
    rows = re.findall(r"^\| \**`?([a-z_]+)`?\** \| \**(\d+)\** \|", PAGE, re.MULTILINE)
    names = {"outcome": ("completed", "duplicate", "skipped", "dead", "read")}.get(heading)
    return {name: int(count) for name, count in rows if (name in names if names else True)}


OUTCOMES = told_counts("outcome")
REASONS = {name: count for name, count in told_counts("all").items() if name not in OUTCOMES}


def check_counts(orders, results, letters):
    count = oracle.check(oracle.expected_ids(orders / "jobs.jsonl"), orders / results, orders / letters)
    assert count.statuses | {"read": sum(count.statuses.values())} == OUTCOMES
    assert count.reasons == REASONS
    return count


def test_the_page_tells_all_numbers():
    assert set(OUTCOMES) == {"completed", "duplicate", "skipped", "dead", "read"}
    assert sum(REASONS.values()) == OUTCOMES["dead"]
    assert OUTCOMES["read"] == sum(count for name, count in OUTCOMES.items() if name != "read")


def test_the_jobs_are_what_their_maker_prints(orders):
    ran = run(orders, "python3 make_jobs.py")
    assert ran.out == (SAMPLE / "jobs.jsonl").read_bytes()
    lines = ran.out.splitlines()
    said = re.search(r"has (\d+) lines, one of them blank", PAGE)
    assert len(lines) == int(said[1])
    assert sum(not line.strip() for line in lines) == 1


def test_the_sample_ends_as_its_page_says_and_so_it_does_again(orders):
    command = re.search(r"^\$ (jq-run jobs.jsonl .*)$", PAGE, re.MULTILINE)[1]
    ran = run(orders, command + " --summary json")
    assert ran.code == 1, ran.err
    count = check_counts(orders, "jobs.results.jsonl", "jobs.dlq.jsonl")
    attempts = Counter(record["attempts"] for record in count.results if record["status"] == "completed")
    second, third = re.search(r"(\d+) of them at the second attempt, (\d+) at the third", PAGE).groups()
    assert (attempts[2], attempts[3]) == (int(second), int(third))
    calls, retries = re.search(r"called (\d+) times, (\d+) of these are retries", PAGE).groups()
    assert (ran.summary["attempts"], ran.summary["retries"]) == (int(calls), int(retries))
    charged = [r["result"]["order"] for r in count.results if r["status"] == "completed" and "order" in r["result"]]
    assert len(charged) == len(set(charged))
    before = (orders / "jobs.results.jsonl").read_bytes()
    again = run(orders, command)
    assert again.code == 1
    assert "nothing to do" in again.err
    assert (orders / "jobs.results.jsonl").read_bytes() == before


def test_the_crontab_line_runs_as_cron_runs_it(orders):
    (line,) = [line for line in (SAMPLE / "crontab").read_text().splitlines() if line and not line.startswith("#")]
    fields = line.split(maxsplit=5)
    assert all(re.fullmatch(r"[\d*/,-]+", field) for field in fields[:5])
    assert "%" not in fields[5], "cron makes a newline of it"
    (orders / "line.sh").write_text(fields[5])
    ran = run(
        orders,
        'cd / && exec env -i HOME="$HOME" PATH=/usr/bin:/bin SHELL=/bin/sh sh -c "$(cat "$HOME/orders/line.sh")"',
    )
    assert ran.code == 1, ran.err
    check_counts(orders, "nightly.results.jsonl", "jobs.dlq.jsonl")
    assert "dead letters" in ran.err
    assert ran.out == b""


def test_the_service_runs_as_systemd_runs_it(orders):
    unit = (SAMPLE / "systemd" / "orders.service").read_text()
    said = dict(re.findall(r"^(WorkingDirectory|ExecStart)=(.*)$", unit, re.MULTILINE))
    folder, command = (said[name].replace("%h", '"$HOME"') for name in ("WorkingDirectory", "ExecStart"))
    ran = run(orders, f'cd {folder} && exec env -i HOME="$HOME" PATH=/usr/bin:/bin INVOCATION_ID=1 {command}')
    assert ran.code == 1, ran.err
    check_counts(orders, "nightly.results.jsonl", "jobs.dlq.jsonl")
    assert "dead letters" in ran.err


def test_the_pipeline_prints_what_its_page_says(orders):
    ran = run(orders, "bash pipeline.sh")
    assert ran.code == 0, ran.err
    table = re.search(r"prints what each region brought in:\n\n```\n(.*?)```", PAGE, re.DOTALL)[1]
    assert ran.out.decode() == table
    assert count_by_region(orders) == table
    other = run(
        orders, 'JQ_RUN="$HOME/.local/bin/jq-run" PATH=/usr/bin:/bin:$(dirname $(command -v python3)) bash pipeline.sh'
    )
    assert other.out.decode() == table, other.err


def count_by_region(orders):
    """Count the first 100 orders without jqcli: what may be charged, once for each order."""
    cents = {}
    for line in run(orders, "python3 make_jobs.py 100").out.splitlines():
        try:
            job = json.loads(line)
        except ValueError:
            continue
        order = job.get("payload", job)
        if job.get("handler") != "receipt" and not order.get("test") and order["card"] == "valid" and "lines" in order:
            cents[order["order"]] = (order["region"], sum(each["cents"] * each["count"] for each in order["lines"]))
    totals = Counter()
    for region, amount in cents.values():
        totals[region] += amount
    return "".join(f"{region:6} {total / 100:10.2f}\n" for region, total in sorted(totals.items()))


def test_every_option_in_the_pages_and_the_samples_exists(orders):
    every = "for command in '' check verify 'dlq retry' 'dlq drop' ps top handlers; do jq-run $command --help; done"
    helped = run(orders, every, COLUMNS="200").out.decode()
    known = set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", helped))
    for command in ("stats", "prune", "forget"):
        helped = run(orders, f"jq-run store {command} --help", COLUMNS="200").out.decode()
        known |= set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", helped))
    assert len(known) >= 50
    for text in (README, PAGE, (SAMPLE / "pipeline.sh").read_text(), (SAMPLE / "crontab").read_text()):
        for line in text.splitlines():
            for words in re.findall(r"jq-run ([^`|#&;\n]*)", line):
                used = set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", words))
                assert used <= known, (used - known, line)
    ours = README.partition("## Compared with")[0]  # there, options of other programs are spoken of
    used = set(re.findall(r"`(--[a-z-]+)`", ours + PAGE))
    assert used <= known, used - known


def test_every_file_the_pages_speak_of_exists():
    for name in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"^\| `([\w./]+)` \|", PAGE, re.MULTILINE):
        if "." in name or name == "crontab":
            assert (SAMPLE / name).exists(), name
    tree = README.partition("```\njqcli/\n")[2].partition("```")[0]
    for name in re.findall(r"^  (\S+)", tree, re.MULTILINE):
        assert (ROOT / "jqcli" / name).exists(), name


def test_the_readme_has_both_commands_and_continuous_integration_runs_the_second_word_for_word():
    blocks = dict(re.findall(r"<!-- (\w+)-command -->\n```sh\n(.*?)\n```", README, re.DOTALL))
    assert set(blocks) == {"sample", "test"}
    assert all("\n" not in block and block.startswith("python3 -m venv") for block in blocks.values())
    assert "cd samples/orders" in blocks["sample"]
    assert blocks["sample"].endswith(re.search(r"^\$ jq-run (jobs.jsonl .*)$", PAGE, re.MULTILINE)[1])
    assert (ROOT / "noxfile.py").exists()
    script = (ROOT / ".ci" / "run").read_text()
    assert "<!-- test-command -->" in script
    assert 'bash -euo pipefail -c "$test_command"' in script


def test_the_table_of_exit_codes_is_the_programs():
    told = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", README, re.MULTILINE) for code in row.split(",")}
    assert told == {0, 1, 2, 3, 65, 70, 74, 75, 129, 130, 143, 141}
