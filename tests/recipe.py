"""Reads the recipes of the README: fences with `recipe=NAME` behind their language; and compares what they print.

`console` is a session: `$ ` is a command, the lines below it are what it must print. `crontab` is run as cron runs it,
and must print the `text` fence below it. A line of output that begins with a blank and a quote belongs to the one above
it. Other words of a fence:

    file=PATH          it is this file; with recipe=all, of every recipe
    given=PATH,…       these files are what `cat` shows of them
    order=any          the lines may come in any order
    needs=jq,make      programs without which the recipe is skipped
    shown=WHY          it is only looked at
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field

_FENCE = re.compile(r"^```(\w+)((?: \w+=\S+)+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "\x1e"

# What differs from run to run, on both sides of the comparison.
_MASKS = (
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r'"duration":[\d.e-]+', '"duration":DURATION'),
    (r"duration=[\d.e-]+", "duration=DURATION"),
    (r'worker"?[=:]\d+', "worker=N"),
    (r'"(cwd|output)":"[^"]*"', r'"\1":PATH'),
    (r"\b[\d.,]+ ?(?:µs|us|ms|s|min|h)\b", "DURATION"),
    (r"\.\.\.", "…"),  # where the locale is C, as under cron
    (r"\b[\d,]+/s\b", "RATE"),
    (r"(?m)^ +\d+ (?=[0-9a-f]{12} )", "PID "),
    (r"\b[0-9a-f]{12}\b", "RUN"),
    (r"\b[\d.]+ (?:B|[KM]iB)\b", "SIZE"),
    (r"\b[\d.]+ %", "SHARE"),
    (r"DURATION(?= +\d+ \S+:)|—(?= +\d+ \S+:)", "ETA"),  # a run that has only begun knows none yet
    (r"settled \d+ lines|\(\d+ settled before\)", "SETTLED"),
    (r"\d+ read, \d+ completed, RATE, SHARE(?: ETA DURATION)?", "PROGRESS"),
    (r"[ \t]+", " "),
    (r"(?m) $", ""),
)


@dataclass
class Step:
    """A command and what it must print."""

    command: str
    expected: str
    is_ordered: bool = True


@dataclass
class Recipe:
    """What the README shows under one name."""

    name: str
    files: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    needs: set[str] = field(default_factory=set)


def read_recipes(page: str) -> dict[str, Recipe]:
    """Return the recipes of a page by name, each with the files that all share; raises ValueError for a stray fence."""
    recipes: dict[str, Recipe] = {}
    for language, words, body in _FENCE.findall(page):
        said = dict(word.split("=", 1) for word in words.split())
        recipe = recipes.setdefault(said["recipe"], Recipe(said["recipe"]))
        recipe.needs |= set(filter(None, said.get("needs", "").split(",")))
        if "file" in said:
            recipe.files[said["file"]] = body
        elif language == "console":
            recipe.steps += _session(body)
            given = set(filter(None, said.get("given", "").split(",")))
            shown = {step.command.removeprefix("cat "): step.expected for step in recipe.steps}
            recipe.files |= {name: shown[name] for name in given}
        elif language == "crontab":
            recipe.steps.append(Step(_cron(body), ""))
        elif language == "text" and recipe.steps:
            recipe.steps[-1].expected, recipe.steps[-1].is_ordered = body, said.get("order") != "any"
        elif "shown" not in said:
            raise ValueError(f"{said['recipe']}: nobody knows what to do with this fence: {language}\n{body}")
    shared = recipes.pop("all", Recipe("all")).files
    for recipe in recipes.values():
        recipe.files = shared | recipe.files
    return recipes


def _session(body: str) -> list[Step]:
    steps = []
    for line in body.splitlines(keepends=True):
        if line.startswith("$ "):
            steps.append(Step(line[2:].rstrip("\n"), ""))
        elif line.startswith(' "'):
            steps[-1].expected = steps[-1].expected.rstrip("\n") + line[1:]
        else:
            steps[-1].expected += line
    return steps


def _cron(body: str) -> str:
    """Return the command of a crontab as a line of shell: few variables, sh, the home folder."""
    *settings, line = [line for line in body.splitlines() if line and not line.startswith("#")]
    fields = line.split(maxsplit=5)
    if not all(re.fullmatch(r"[\d*/,-]+", each) for each in fields[:5]) or "%" in fields[5]:
        raise ValueError(f"cron does not read this line as it is meant: {line}")
    own = dict(each.split("=", 1) for each in settings)
    own["PATH"] = "$BIN:" + own["PATH"]  # where a test keeps jq-run
    if "JQ_RUN_PING" in own:
        own["JQ_RUN_PING"] = "$PING"  # a monitor on this machine
    words = " ".join(f'{name}="{value}"' for name, value in own.items())
    return f'(cd "$HOME" && env -i HOME="$HOME" SHELL=/bin/sh {words} sh -c {shlex.quote(fields[5])})'


def script_of(recipe: Recipe) -> str:
    """Return the session as one script of bash, which prints a mark in front of each command; `$?` passes through."""
    lines = [f"{{ code=$?; printf '\\x1e'; (exit $code); }}\n{step.command}" for step in recipe.steps]
    return "\n".join(lines) + f"\nprintf '{_MARK}'\n"


def compare(recipe: Recipe, printed: str) -> None:
    """Raise AssertionError with the first command that printed something else than the README shows."""
    parts = printed.split(_MARK)[1:-1]
    assert len(parts) == len(recipe.steps), f"{recipe.name}: it ended before all was run:\n{printed}"
    for step, part in zip(recipe.steps, parts, strict=True):
        assert matches(step.expected, part, is_ordered=step.is_ordered), (
            f"{recipe.name}: $ {step.command}\n{part}\ninstead of\n{step.expected}"
        )


def matches(expected: str, printed: str, *, is_ordered: bool = True) -> bool:
    """Tell whether this is what was printed, but for times and names of runs; a line `…` stands for any lines."""
    if not is_ordered:
        return sorted(mask(expected).splitlines()) == sorted(mask(printed).splitlines())
    if printed and not printed.endswith("\n"):
        printed += "\n"
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…\n" else re.escape(line) for line in mask(expected).splitlines(keepends=True)
    )
    return re.fullmatch(pattern, mask(printed)) is not None


def mask(text: str) -> str:
    """Return the text without what differs from run to run."""
    for pattern, word in _MASKS:
        text = re.sub(pattern, word, text)
    return text
