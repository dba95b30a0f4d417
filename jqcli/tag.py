"""Whose keys are these: the tag of a run, and what another tag stands for."""

from __future__ import annotations

import os
from itertools import product
from typing import TYPE_CHECKING

from jqcli.core.codec import make_tag
from jqcli.errors import printable

if TYPE_CHECKING:
    from jqcli.config import Settings

_FORMATS = ("auto", "envelope", "raw")


def tag_of(settings: Settings) -> str:
    """Return the tag that this run's keys carry."""
    return settings.tag or tag_for(settings.handler.spec, settings.key, settings.input_format)


def tag_for(spec: str, key: str | None, input_format: str) -> str:
    """Return the tag of a handler, a `--key` and an `--input-format`."""
    return make_tag(printable(_name_of(spec)), key, input_format)


def explain_tag(settings: Settings, tag: str) -> str:
    """Say by which other handler, key or format a file was made, as far as the known ones tell."""
    specs = dict.fromkeys((settings.handler.spec, *(handler.spec for handler in settings.handlers)))
    for spec, key, input_format in product(specs, dict.fromkeys((settings.key, None)), _FORMATS):
        if make_tag(_name_of(spec), key, input_format) == tag:
            said = [
                f"--handler {spec}" if spec != settings.handler.spec else "",
                (f"--key {key}" if key else "no --key") if key != settings.key else "",
                f"--input-format {input_format}" if input_format != settings.input_format else "",
            ]
            return f"was made with {' and '.join(filter(None, said))}"
    return f"was made with another handler or --key than {_name_of(settings.handler.spec)} has here"


def _name_of(spec: str) -> str:
    """Return what a handler is called in tags: a file without its folder, so that a project can move."""
    module, colon, name = spec.rpartition(":")
    return f"{os.path.basename(module)}{colon}{name}"
