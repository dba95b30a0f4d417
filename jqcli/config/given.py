"""One value that somebody gave, and where: errors name the option, the variable, or file and key."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, TypeVar

from jqcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
D = TypeVar("D")


class Layer(IntEnum):
    """Where a value was given; the higher one wins."""

    FILE = 0
    ENVIRONMENT = 1
    OPTION = 2


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was given; `where` as messages name the place: `--workers`, `jqcli.toml: workers`."""

    value: object
    where: str
    layer: Layer

    def read(self, parse: Callable[[object], T]) -> T:
        """Return the value as `parse` understands it; raises UsageError naming the place."""
        try:
            return parse(self.value)
        except ValueError as error:
            raise UsageError(f"{self.where}: {error}") from None


def pick(given: Mapping[str, Given], name: str, parse: Callable[[object], T], default: D) -> T | D:
    """Return what was given for `name`, or the default; raises UsageError naming the place."""
    return given[name].read(parse) if name in given else default


def option_of(name: str) -> str:
    """Return the long option of a setting.

    >>> option_of("max_attempts")
    '--max-attempts'
    """
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """Return the environment variable of a setting.

    >>> variable_of("max_attempts")
    'JQ_RUN_MAX_ATTEMPTS'
    """
    return "JQ_RUN_" + name.upper()
