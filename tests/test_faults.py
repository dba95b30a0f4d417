"""Holds the table of faults in README.md against the tests: every row is there, and so is every test that it names."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROWS = range(1, 48)
ROW = re.compile(r"^\| (\d+) \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)
NAME = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
SAID = re.compile(r"\bFaults? (\d+(?:(?:, | and )\d+)*)[.:]")


@cache
def table():
    """Return tests and the way of injection by number."""
    rows = ROW.findall((TESTS / "README.md").read_text(encoding="utf-8"))
    assert [int(number) for number, *_ in rows] == list(ROWS)
    return {int(number): (tests, how) for number, _, tests, how in rows}


@cache
def docstrings():
    """Return the docstring of every test by file and name."""
    found = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found[str(path.relative_to(TESTS)), node.name] = ast.get_docstring(node) or ""
    return found


@pytest.mark.parametrize("number", ROWS)
def test_a_fault_is_tested_by_tests_that_exist_or_the_table_says_what_it_waits_for(number):
    tests, how = table()[number]
    named = NAME.findall(tests)
    assert named or tests.startswith("later: ")
    assert [each for each in named if each not in docstrings()] == []
    assert how.strip()


@pytest.mark.parametrize("test", [test for test, text in docstrings().items() if SAID.search(text)], ids="::".join)
def test_a_test_that_says_which_fault_it_is_of_stands_in_its_row(test):
    for numbers in SAID.findall(docstrings()[test]):
        for number in re.findall(r"\d+", numbers):
            assert test in NAME.findall(table()[int(number)][0]), f"row {number} does not name it"
