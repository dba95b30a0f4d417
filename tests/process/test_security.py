"""Law 8 in the files: who may read and write them, and what a line may ask for (Fault 44)."""

from __future__ import annotations

import json
import os
import stat

import pytest

from tests import oracle
from tests.command import DEEDS

WORDS = ("-o", "results.jsonl", "-r", "1")


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", ["000", "022", "077"])
def test_dead_letters_are_for_their_owner_alone_whatever_the_umask_and_results_follow_it(folder, umask):
    """Fault 44: letters hold payloads. Results are what the user asked for, as `>` would have made them."""
    folder.write("jobs.jsonl", [1, {"do": "reject"}, {"do": "fail"}])
    for _ in range(2):
        assert folder.shell(f"umask {umask}; $JQ jobs.jsonl {' '.join(WORDS)}").code == 1
        assert mode_of(folder / "jobs.dlq.jsonl") == 0o600
        assert mode_of(folder / "results.jsonl") == 0o666 & ~int(umask, 8)
    folder.shell(f"umask {umask}; $JQ jobs.jsonl --fresh {' '.join(WORDS)}")
    private = [path for path in folder.path.iterdir() if "dlq" in path.name]
    assert len(private) == 2
    assert {mode_of(path) for path in private} == {0o600}


def test_a_file_that_was_there_keeps_its_mode(folder):
    """Fault 44."""
    folder.write("jobs.jsonl", [1, {"do": "reject"}])
    folder.write("jobs.dlq.jsonl", "").chmod(0o640)
    folder.write("results.jsonl", "").chmod(0o600)
    folder.run("jobs.jsonl", *WORDS, code=1)
    assert (mode_of(folder / "jobs.dlq.jsonl"), mode_of(folder / "results.jsonl")) == (0o640, 0o600)


@pytest.mark.parametrize("name", ["results.jsonl", "jobs.dlq.jsonl"])
@pytest.mark.parametrize("target", ["target", "nowhere/target"])
def test_a_link_in_a_folder_that_everybody_may_write_to_is_refused_and_nothing_is_touched(folder, name, target):
    """Fault 44: without the sticky bit anybody may have put it there."""
    folder.write("jobs.jsonl", [1, {"do": "reject"}])
    folder.write("target", "precious\n")
    shared = folder / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / name).symlink_to(folder / target)
    ran = folder.run("jobs.jsonl", "-o", "shared/results.jsonl", "-r", "1", code=74)
    assert f"shared/{name}" in ran.err
    assert "symbolic link" in ran.err
    assert (folder / "target").read_text() == "precious\n"
    assert len(oracle.read_lines(folder / "jobs.jsonl")) == 2
    assert [path.name for path in shared.iterdir()] == [name]
    assert not folder.log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to somebody else")
@pytest.mark.parametrize("owner, code", [(12345, 74), (0, 1)])
def test_in_a_sticky_folder_ones_own_link_is_followed_and_that_of_somebody_else_refused(folder, owner, code):
    """Fault 44."""
    folder.write("jobs.jsonl", [1, {"do": "reject"}])
    shared = folder / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    link = shared / "jobs.dlq.jsonl"
    link.symlink_to(folder / "target")
    os.lchown(link, owner, owner)
    folder.run("jobs.jsonl", "-o", "shared/results.jsonl", "-r", "1", code=code)
    assert (folder / "target").exists() == (code == 1)


def test_links_in_ones_own_folder_are_followed_and_stay(folder):
    """Fault 44."""
    folder.write("jobs.jsonl", [1, {"do": "reject"}])
    (folder / "out").mkdir()
    for name in ("results.jsonl", "jobs.dlq.jsonl"):
        (folder / name).symlink_to(folder / "out" / name)
    folder.run("jobs.jsonl", *WORDS, code=1)
    assert folder.check().statuses == {"completed": 1, "dead": 1}
    assert (folder / "jobs.dlq.jsonl").is_symlink()
    assert mode_of(folder / "out" / "jobs.dlq.jsonl") == 0o600


@pytest.mark.parametrize(
    "name",
    [
        "os:system", f"{DEEDS}:other", "tests.process.deeds:other", "deeds.py", "./deeds.py:other", "other.__globals__",
        "", "Other", "other\x00", "other ", ["other"], {"spec": "os:system"}, None, 1,
    ],
    ids=str,
)  # fmt: skip
def test_a_line_names_a_handler_by_a_registered_name_and_by_nothing_else(folder, name):
    """Law 8: nobody gets code imported by writing a line."""
    folder.write("jqcli.toml", f'[handlers.other]\nspec = "{DEEDS}:other"\n')
    folder.write("jobs.jsonl", [{"payload": 1, "handler": name}, {"payload": 1, "handler": "other"}])
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=1)
    count = oracle.read_outputs(folder / "results.jsonl", folder / "jobs.dlq.jsonl")
    assert count.reasons == {"invalid_job": 1}
    assert "no handler" in count.letters['"jobs:1"']["error"]["message"]
    assert count.records['"jobs:2"']["result"] == "other"
    assert not folder.log


def test_no_word_of_a_payload_is_run_by_a_shell_or_formatted_into_a_path(folder):
    """Law 8: also not into the command that the summary suggests."""
    evil = "$(touch evil) `touch evil` '; touch evil; '"
    folder.write(f"{evil.replace('/', '')}.jsonl", [{"id": evil, "payload": {"do": "say_badly", "message": evil}}])
    ran = folder.run(f"{evil}.jsonl", "-r", "1", "-o", "results.jsonl", code=1)
    command = next(line for line in ran.err.splitlines() if "retry with" in line).partition("retry with")[2].strip()
    folder.shell(command.replace("jq-run", "$RUN"), RUN=" ".join(folder.argv(deed=False)))
    assert not (folder / "evil").exists()
    letter = json.loads((folder / f"{evil}.dlq.jsonl").read_text())
    assert (letter["id"], letter["redrives"]) == (evil, 1)
