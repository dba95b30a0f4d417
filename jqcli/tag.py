"""Whose keys are these: the tag of a run, and what another tag stands for."""

from __future__ import annotations

import os
from itertools import product
from typing import TYPE_CHECKING, NamedTuple, Protocol

from jqcli.core.codec import make_tag
from jqcli.errors import printable

if TYPE_CHECKING:
    from jqcli.config import HandlerSpec

_FORMATS = ("auto", "envelope", "raw")


class Keyed(Protocol):
    """All that keys depend on, as `Settings` has it."""

    @property
    def handler(self) -> HandlerSpec:
        """The default handler."""

    @property
    def handlers(self) -> tuple[HandlerSpec, ...]:
        """The registered ones."""

    @property
    def key(self) -> str | None:
        """Where a payload has its key."""

    @property
    def input_format(self) -> str:
        """How lines are read."""


class Keys(NamedTuple):
    """All that keys depend on, where there are no `Settings`."""

    handler: HandlerSpec
    handlers: tuple[HandlerSpec, ...]
    key: str | None
    input_format: str


def tag_of(keyed: Keyed) -> str:
    """Return the tag that this run's keys carry."""
    given: str | None = getattr(keyed, "tag", None)  # of a redrive, whose keys are those of its letters
    return given or tag_for(keyed.handler.spec, keyed.key, keyed.input_format)


def tag_for(spec: str, key: str | None, input_format: str) -> str:
    """Return the tag of a handler, a `--key` and an `--input-format`."""
    return make_tag(printable(name_of(spec)), key, input_format)


def explain_tag(keyed: Keyed, tag: str) -> str:
    """Say by which other handler, key or format a file was made, as far as the known ones tell."""
    known = find_difference(keyed, tag)
    if known is not None:
        return known
    return f"was made with another handler or --key than {name_of(keyed.handler.spec)} has here"


def find_difference(keyed: Keyed, tag: str) -> str | None:
    """Say in which known way a file was made differently; None where that is not known, or it was not."""
    specs = dict.fromkeys((keyed.handler.spec, *(handler.spec for handler in keyed.handlers)))
    for spec, key, input_format in product(specs, dict.fromkeys((keyed.key, None)), _FORMATS):
        if make_tag(printable(name_of(spec)), key, input_format) == tag:
            said = [
                f"--handler {spec}" if spec != keyed.handler.spec else "",
                (f"--key {key}" if key else "no --key") if key != keyed.key else "",
                f"--input-format {input_format}" if input_format != keyed.input_format else "",
            ]
            return f"was made with {' and '.join(filter(None, said))}" if any(said) else None
    return None


def name_of(spec: str) -> str:
    """Return what a handler is called in tags: a file without its folder, so that a project can move."""
    module, colon, name = spec.rpartition(":")
    return f"{os.path.basename(module)}{colon}{name}"
