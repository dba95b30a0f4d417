"""The laws of the package's shape, read from its source."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jqcli"
MOST_LINES = 400

# commands -> run, loop, finder … -> engine, edge, config -> core -> the nouns. A module may import its own floor only
# where that is a folder of its own, or the ground, or the floor of those that join the parts.
GROUND = {"model", "errors", "policy", "quantity", "value", ""}
FLOORS = {"core": 1, "engine": 2, "edge": 2, "config": 2, "commands": 4, "__main__": 5}
JOINING = 3
FORBIDDEN_IN_CORE = {
    "os", "time", "random", "secrets", "uuid", "subprocess", "socket", "logging", "threading", "asyncio", "pathlib",
    "io", "tempfile", "multiprocessing", "signal", "selectors", "mmap",
}  # fmt: skip
OPTIONAL = {"zstandard": "edge"}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
EVERY = pytest.mark.parametrize("module", MODULES)


@cache
def imports_of(module):
    """Return the dotted names that a module imports anywhere in it, for types and inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import hides where it points"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return found


def own_imports_of(module):
    return {name for name in imports_of(module) if name in MODULES} - {module}


def part_of(module):
    """Return the part of the package in which a module stands."""
    return module.partition(".")[2].partition(".")[0]


def floor_of(module):
    part = part_of(module)
    return 0 if part in GROUND else FLOORS.get(part, JOINING)


@EVERY
def test_imports_point_down_only(module):
    for target in own_imports_of(module):
        is_own_part = part_of(target) == part_of(module) and part_of(module) in FLOORS
        is_level = floor_of(target) == floor_of(module) and floor_of(module) in (0, JOINING)
        assert floor_of(target) < floor_of(module) or is_own_part or is_level, f"{module} imports {target}"


@EVERY
def test_engine_edge_and_config_do_not_know_each_other(module):
    beside = {"engine", "edge", "config"}
    if part_of(module) in beside:
        known = {part_of(target) for target in own_imports_of(module)}
        assert not known & (beside - {part_of(module)})


def test_there_are_no_import_cycles_lazy_ones_included():
    done: set[str] = set()

    def walk(module, path):
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        for target in sorted(own_imports_of(module)):
            walk(target, [*path, module])
        done.add(module)

    for module in MODULES:
        walk(module, [])


@EVERY
def test_the_core_touches_no_clock_no_dice_and_no_world(module):
    if part_of(module) == "core":
        assert not {name.partition(".")[0] for name in imports_of(module)} & FORBIDDEN_IN_CORE


@pytest.mark.parametrize("name, place", OPTIONAL.items())
def test_an_optional_dependency_is_imported_in_one_file_and_only_inside_a_function(name, place):
    users = [module for module in MODULES if any(each.partition(".")[0] == name for each in imports_of(module))]
    assert len(users) == 1
    assert part_of(users[0]) == place
    at_top = [
        node for node in ast.parse(MODULES[users[0]].read_text()).body if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    assert not any(name in ast.unparse(node) for node in at_top)


@EVERY
def test_a_module_is_short_enough_to_be_read(module):
    assert len(MODULES[module].read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("module", ["jqcli", "jqcli.engine.worker", "jqcli.engine.process", "jqcli.core.dispatch"])
def test_neither_a_worker_nor_a_handlers_author_loads_what_only_the_parent_needs(module):
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"typer", "rich", "pydantic", "tenacity", "zstandard", "asyncio", "logging"}


@EVERY
def test_nothing_is_unpickled_and_no_shell_is_used(module):
    assert not {"pickle", "marshal", "shelve", "dill", "cloudpickle"} & imports_of(module)
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("os.system", "os.popen", "eval", "exec")
            assert not any(each.arg == "shell" for each in node.keywords)
