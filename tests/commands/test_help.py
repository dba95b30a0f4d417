"""The help of every command: it fits 80 columns, names every default, and says the same as the README's reference."""

from __future__ import annotations

import re

import pytest
from typer.main import get_command

from jqcli.commands import make_app
from tests.command import ROOT, Folder

README = (ROOT / "README.md").read_text()
APP = get_command(make_app())
RUN = APP.commands["run"]
SHOWN = [param for param in RUN.params if param.param_type_name == "option" and not param.hidden]
OWN = {"--help", "--version", "--install-completion", "--show-completion"}  # in a sentence of the README, not in a row
COMMANDS = [
    "",
    *sorted(set(APP.commands) - {"dlq", "store"}),
    *(
        f"{group}{word}"
        for group in ("dlq", "store")
        for word in ("", *(f" {name}" for name in APP.commands[group].commands))
    ),
]


def section(heading):
    """Return what stands under a heading of the README."""
    return re.search(rf"^### {heading}\n(.*?)^##", README, re.MULTILINE | re.DOTALL)[1]


def rows(table):
    """Return the rows of a table of the README: its cells, without the marks of code."""
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines() if line.startswith("| `")]
    return [[cell.strip().replace("`", "").replace("\\|", "|") for cell in row] for row in cells]


def themes():
    """Return the options of the reference by theme: how they are written, and their default."""
    parts = re.split(r"^\*\*(.+)\*\*$", section("Options"), flags=re.MULTILINE)[1:]
    return {
        theme: {row[0]: row[1] for row in rows(table)} for theme, table in zip(parts[::2], parts[1::2], strict=True)
    }


def written(param):
    """Return an option as the README writes it: short name, long name and what it takes."""
    names = ", ".join(sorted(param.opts, key=len))
    return f"{names} {param.metavar}".strip()


def told_default(param):
    """Return what the last brackets of an option's help say; a flag is off."""
    said = re.search(r" \(([^()]+)\)$", param.help)
    return said[1] if said else "off" if param.is_flag or param.count else None


def options_of(command):
    shown = (param for param in command.params if not getattr(param, "hidden", False))
    return {name for param in shown for name in param.opts if name.startswith("--")}


def test_the_reference_has_the_options_of_the_help_theme_by_theme_with_their_defaults():
    shown = {}
    for param in SHOWN:
        shown.setdefault(param.rich_help_panel, {})[written(param)] = told_default(param)
    told = {theme: table for theme, table in themes().items() if table}
    assert list(told) == list(shown)
    for theme, options in shown.items():
        assert told[theme] == options, theme


def test_the_programs_own_options_are_in_the_reference_too():
    assert set(re.findall(r"`(--[\w-]+)`", section("Options").partition("The program itself")[2])) == OWN


@pytest.mark.parametrize(
    "heading, commands",
    [
        ("Checking first", ["check"]),
        ("Counting again", ["verify"]),
        ("Seen from elsewhere", ["ps", "top"]),
        ("Configuration", ["handlers"]),
        ("Dead letters", [f"dlq {name}" for name in APP.commands["dlq"].commands]),
        ("Memory across nights", [f"store {name}" for name in APP.commands["store"].commands]),
    ],
)
def test_every_option_of_the_other_commands_stands_in_their_section(heading, commands):
    text = section(heading)
    for words in commands:
        command = APP
        for word in words.split():
            command = command.commands[word]
        of_run = options_of(RUN) if words in {"check", "dlq retry"} else set()
        missing = {name for name in options_of(command) - of_run if not re.search(rf"{name}(?![\w-])", text)}
        assert not missing, words
        assert words.split()[-1] in text


@pytest.mark.parametrize("words", COMMANDS)
def test_help_fits_80_columns_and_cuts_nothing(words, tmp_path):
    folder = Folder(tmp_path)
    out = folder.run(*words.split(), "--help", deed=False, code=0, TERMINAL_WIDTH="80").out.decode()
    folder.close()
    assert max(map(len, out.splitlines())) <= 80
    assert not re.search(r"[\w.]…", out), "rich cuts what does not fit"
    assert not re.search(r"<(bool|str|int|list)\b", out), "a Python type says nothing to a user"
    assert "--help" in out


def test_every_option_that_takes_a_value_names_its_default():
    assert not [param.opts for param in SHOWN if told_default(param) is None]
