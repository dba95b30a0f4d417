"""Completion in bash, installed as a user installs it, and asked as bash asks."""

from __future__ import annotations

import shlex
import shutil
import sys

import pytest

from tests.command import ROOT, Folder

pytestmark = pytest.mark.walk

ASKED = [
    (["--brea"], {"--breaker", "--breaker-key", "--breaker-action"}),
    (["--durability", ""], {"full", "batch", "none"}),
    (["jobs.jsonl", "-H", "tasks.py:charge", "--prog"], {"--progress"}),
    (["jobs.jsonl", "--progress", "l"], {"live"}),
    (["dl"], {"dlq"}),
    (["dlq", "ret"], {"retry"}),
    (["dlq", "retry", "--redr"], set()),
    (["dlq", "retry", "--max-r"], {"--max-redrives", "--max-result"}),
    (["store", ""], {"stats", "prune", "forget"}),
    (["check", "--expl"], {"--explain"}),
    (["jo"], set()),  # bash itself completes files: `complete -o default`
]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_completion_that_was_installed_in_bash_offers_commands_options_and_their_words(tmp_path):
    folder = Folder(tmp_path / "home")
    folder.path.mkdir()
    program = folder.write("jq-run", f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m jqcli "$@"\n')
    program.chmod(0o755)
    own = {"HOME": str(folder.path), "PATH": f"{folder.path}:{folder.env()['PATH']}", "SHELL": "/bin/bash"}
    lines = ["set -e", "jq-run --install-completion > /dev/null", "source ~/.bashrc", "complete -p jq-run"]
    for words, _ in ASKED:
        lines += [
            f"COMP_WORDS=(jq-run {shlex.join(words)}); COMP_CWORD={len(words)}; _jq_run_completion jq-run",
            'echo "${COMPREPLY[*]//$\'\\n\'/ }" | tr "\\n" " "; echo',
        ]
    ran = folder.shell("\n".join(lines), **own)
    folder.close()
    assert ran.code == 0, ran.err
    declared, *offered = ran.out.decode().splitlines()
    assert declared == "complete -o default -F _jq_run_completion jq-run"
    assert [set(line.split()) for line in offered] == [expected for _, expected in ASKED]
