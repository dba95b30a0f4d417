"""Every command of the README's recipes is run, taken from the README itself, and prints what stands there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.command import ROOT, Folder
from tests.recipe import Recipe, Step, compare, matches, read_recipes, script_of

pytestmark = pytest.mark.walk

README = (ROOT / "README.md").read_text()
RECIPES = read_recipes(README)


class Api(BaseHTTPRequestHandler):
    """An API that says 429 to its fifth call and 404 to item 13; as a monitor, it takes any ping."""

    def do_GET(self):
        self.server.calls.append(self.path)
        code = 429 if len(self.server.calls) == 5 else 404 if self.path.endswith("/13") else 200
        self.send_response(code)
        self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(b'{"ok": true}')

    do_POST = do_GET  # noqa: N815 - the server looks for this name

    def log_message(self, *words):
        pass


@contextmanager
def serve():
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        server.calls = []
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def play(recipe, place):
    """Run a recipe in an empty folder; return the calls that the API of its network got."""
    home = place / "home"
    folder = Folder(home / "shop")
    folder.path.mkdir(parents=True)
    folder.path.chmod(0o755)  # also under umask 002: handlers that letters name are trusted
    for name, text in recipe.files.items():
        folder.write(name, text).chmod(0o644)
    programs = place / "bin"
    programs.mkdir()
    for name, words in {"jq-run": "-m jqcli", "python3": ""}.items():
        folder.write(programs / name, f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" {words} "$@"\n').chmod(
            0o755
        )
    path = f"{programs}:{folder.env()['PATH']}"
    try:
        with serve() as server:
            url = f"http://127.0.0.1:{server.server_port}"
            own = {"HOME": str(home), "PATH": path, "BIN": str(programs), "API": url, "PING": url, "LC_ALL": "C.UTF-8"}
            ran = folder.shell(f"exec 2>&1\n{script_of(recipe)}", limit=180, **own)
            compare(recipe, ran.out.decode())
            return server.calls
    finally:
        folder.close()


def is_installed(program):
    """Tell whether a program is there; of two that are called parallel, GNU's is meant."""
    path = shutil.which(program)
    if path and program == "parallel":
        return b"GNU" in subprocess.run([path, "--version"], capture_output=True, check=False).stdout
    return path is not None


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_prints_what_the_readme_shows(name, tmp_path):
    recipe = RECIPES[name]
    missing = sorted(need for need in recipe.needs if not is_installed(need))
    if missing:
        pytest.skip(f"not installed here: {', '.join(missing)}")
    calls = play(recipe, tmp_path)
    if name == "cron":
        assert [call.partition("?")[0] for call in calls] == ["/start", "/1"]


def test_every_fence_under_recipes_and_every_session_of_the_readme_belongs_to_one():
    section = re.search(r"^## Recipes\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)[1]
    opened = re.findall(r"^```(\S.*)$", section, re.MULTILINE)
    assert len(opened) > 30
    sessions = re.findall(r"^```(console.*)$", README, re.MULTILINE)
    assert not [words for words in opened + sessions if "recipe=" not in words]
    assert all(recipe.steps for recipe in RECIPES.values())


def test_every_link_within_the_readme_leads_to_a_heading():
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    anchors = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert len(anchors) == len(set(anchors)), "the second of two equal headings gets another anchor"
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= set(anchors)


FILES = {"tasks.py": "def double(n):\n    return n * 2\n", "jobs.jsonl": "1\n2\n"}
COMMAND = "jq-run jobs.jsonl -H tasks.py:double -k -q"
PRINTED = """\
{"id":"jobs:1","key":"55411f:1ced8f5be2db23a6513eba4d819c7380","status":"completed","result":2,"attempts":1,"duration":0.1}
{"id":"jobs:2","key":"55411f:c5faca15ac2f93578b39ef4b6bbb871b","status":"completed","result":4,"attempts":1,"duration":0.2}
"""


def test_a_recipe_with_its_true_output_passes(tmp_path):
    play(Recipe("right", FILES, [Step(COMMAND, PRINTED), Step("(exit 3)", ""), Step("echo $?", "3\n")]), tmp_path)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([Step(COMMAND.replace("double", "treble"), PRINTED)], id="a handler that is not there"),
        pytest.param([Step(COMMAND + " --no-such-option", PRINTED)], id="an option that is not there"),
        pytest.param([Step(COMMAND, PRINTED.replace('"result":4', '"result":5'))], id="another result"),
        pytest.param([Step(COMMAND, PRINTED.replace("55411f", "000000"))], id="another key"),
        pytest.param([Step(COMMAND, "")], id="more than is shown"),
        pytest.param([Step("exit 0", ""), Step(COMMAND, PRINTED)], id="an end before the end"),
    ],
)
def test_a_recipe_with_a_wrong_word_fails(tmp_path, steps):
    with pytest.raises(AssertionError, match="wrong"):
        play(Recipe("wrong", FILES, steps), tmp_path)


@pytest.mark.parametrize(
    "expected, printed, is_same",
    [
        ("a\n…\nz\n", "a\nb\nc\nz\n", True),
        ("a\n…\nz\n", "a\nz\n", True),
        ("a\n…\nz\n", "a\nb\n", False),
        ("after 31 ms, 193/s\n", "after 1.4 s, 2/s\n", True),
        ("dead  1\n", "dead  2\n", False),
        ("1 letter\n", "10 letter\n", False),
    ],
)
def test_times_and_left_out_lines_are_masked_and_no_counts(expected, printed, is_same):
    assert matches(expected, printed) is is_same
