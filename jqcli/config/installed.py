"""Handlers that installed packages register."""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder

from jqcli.config.handler import HandlerSpec, check_name, check_spec
from jqcli.errors import UsageError

GROUP = "jqcli.handlers"


def installed_handlers() -> tuple[HandlerSpec, ...]:
    """Return the handlers that installed packages register in the entry-point group `jqcli.handlers`."""
    if not _may_be_registered():
        return ()
    from importlib.metadata import entry_points  # noqa: PLC0415 - 10 ms of every start, seldom needed

    found: dict[str, HandlerSpec] = {}
    for point in entry_points(group=GROUP):
        try:
            found.setdefault(point.name, HandlerSpec(check_name(point.name), check_spec(point.value)))
        except ValueError as error:
            package = point.dist.name if point.dist else "an installed package"
            raise UsageError(f"{package}: entry point {GROUP}: {error}") from None
    return tuple(found.values())


def _may_be_registered() -> bool:
    """Tell whether any package may name the group; True too where packages are not looked up in plain folders."""
    if any(hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path):
        return True
    return any(_may_name_group(entry or ".") for entry in sys.path)


def _may_name_group(folder: str) -> bool:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return False
    except OSError:  # an archive, perhaps
        return True
    if folder.lower().endswith(".egg"):
        return True
    infos = (name for name in names if name.lower().endswith((".dist-info", ".egg-info")))
    return any(_names_group(f"{folder}/{name}/entry_points.txt") for name in infos)


def _names_group(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return GROUP.encode() in file.read()
    except OSError:
        return False
