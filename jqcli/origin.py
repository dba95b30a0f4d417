"""Which command line made some dead letters: what a redrive takes from them, and what it does not trust them with."""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from jqcli.errors import UsageError
from jqcli.tag import tag_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jqcli.core.letter import Letter

_MOST = 1000  # different command lines that are told apart


class Origin(NamedTuple):
    """What one command line gave to its letters; `handler` is None where the line itself chose one."""

    tag: str
    handler: str | None
    cwd: str
    input_format: str
    key_path: str | None
    tenant_path: str | None


@dataclass(slots=True)
class Origins:
    """The command lines of some letters, and the results files that they wrote to (None: stdout)."""

    found: Counter[Origin] = field(default_factory=Counter)
    outputs: Counter[str | None] = field(default_factory=Counter)

    def add(self, letter: Letter) -> None:
        """Count one letter."""
        said = letter.parsed
        chosen = isinstance(said.get("job"), dict) and "payload" in said["job"] and "handler" in said["job"]
        is_chosen = chosen and said.get("input_format") != "raw" and said["reason"] != "invalid_job"
        origin = Origin(
            tag=str(said["key"]).partition(":")[0],
            handler=None if is_chosen else _text(said.get("handler")),
            cwd=letter.text("cwd"),
            input_format=_text(said.get("input_format")) or "auto",
            key_path=_text(said.get("key_path")),
            tenant_path=_text(said.get("tenant_path")),
        )
        if origin in self.found or len(self.found) < _MOST:
            self.found[origin] += 1
        output = _text(said.get("output"))
        if output in self.outputs or len(self.outputs) < _MOST:
            self.outputs[output] += 1

    def one(self) -> Origin:
        """Return the one command line that all letters are of; raises UsageError where they are of several."""
        handlers = sorted({origin.handler for origin in self.found if origin.handler is not None})
        if len(handlers) > 1 and len({origin.tag for origin in self.found}) > 1:
            raise UsageError(
                f"the letters are of several handlers ({', '.join(handlers)}); retry one after the other, "
                f"with --from-handler {handlers[0]}"
            )
        for name in ("tag", "input_format", "key_path", "tenant_path"):
            if len({getattr(origin, name) for origin in self.found}) > 1:
                raise UsageError(
                    f"the letters are of command lines that differ in {name.replace('_', ' ')}; choose some of them, "
                    "for example by --since, --reason or --id (`jq-run dlq list --json` shows each)"
                )
        named = [origin for origin in self.found if origin.handler is not None]
        return named[0] if named else next(iter(self.found))

    def trusted_handler(self) -> str:
        """Return the handler that all letters name, if it may be used; raises UsageError where it may not."""
        places = sorted({(origin.handler, origin.cwd) for origin in self.found if origin.handler is not None})
        if len(places) > 1:
            folders = ", ".join(cwd for _, cwd in places)
            raise UsageError(
                f"the letters' handler {places[0][0]} was run in several folders ({folders}); name it with -H"
            )
        return trusted_spec(*places[0]) if places else trusted_spec(None, "")

    def one_output(self) -> str | None:
        """Return where the results of all letters went; raises UsageError where that is not one place."""
        if len(self.outputs) > 1:
            names = ", ".join(sorted(name or "stdout" for name in self.outputs))
            raise UsageError(f"the results of these letters went to {names}; say with -o where they are to go now")
        return next(iter(self.outputs), None)


def check_key(origin: Origin, key: str | None) -> str | None:
    """Return the `--key` that gives the letters their identity; `key` is what was asked for.

    Raises UsageError where another is asked for, or where none is known.
    """
    for known in dict.fromkeys((origin.key_path, key)):
        if origin.handler is None or tag_for(origin.handler, known, origin.input_format) == origin.tag:
            if key is not None and known != key:
                said = "no --key" if known is None else f"--key {known}"
                raise UsageError(f"--key {key}: the letters' keys were made with {said}, and a redrive keeps them")
            return known
    raise UsageError("the letters' keys were made with a --key that they do not name: give it, as the first run had it")


def check_handler(origin: Origin, spec: str) -> None:
    """Raise UsageError where the configuration names another handler than the letters are of, and nobody insists."""
    if origin.handler is not None and tag_for(spec, origin.key_path, origin.input_format) != tag_for(
        origin.handler, origin.key_path, origin.input_format
    ):
        raise UsageError(
            f"the letters are of {origin.handler}, and the configuration names {spec}; say with -H which is to run"
        )


def is_trusted(handler: str, cwd: str) -> bool:
    """Tell whether the handler that a letter names may be used unasked."""
    try:
        trusted_spec(handler, cwd)
    except UsageError:
        return False
    return True


def trusted_spec(handler: str | None, cwd: str) -> str:
    """Return the handler that letters name, if it may be used: a file of the user's own, writable by nobody else.

    Raises UsageError, which asks for `--handler`, where that is not so. Nothing is imported.
    """
    if not handler:
        raise UsageError("the letters do not name the handler of their run; name it with -H")
    if "\0" in handler + cwd:
        raise UsageError(f"the letters' handler {handler!r} cannot be in any file; name it with -H")
    target, _, function = handler.rpartition(":")
    is_file = target.endswith(".py") or os.sep in target
    paths = [os.path.join(cwd, target)] if is_file else list(_module_files(target))
    if not paths:
        raise UsageError(f"the letters' handler {handler} is not to be found from here; name it with -H")
    for path in paths:
        for place in dict.fromkeys(
            (path, *(os.path.dirname(each(path)) for each in (os.path.abspath, os.path.realpath)))
        ):
            why = _distrust(place)
            if why is not None:
                raise UsageError(f"the letters' handler {handler} is not used unasked: {why}; name it with -H")
    return f"{paths[0]}:{function}" if is_file else handler


def _module_files(name: str) -> Iterator[str]:
    """Yield the files that importing a module runs, as a worker would find them; none where it is not found."""
    parts = name.split(".")
    for folder in (os.getcwd(), *sys.path):
        base = os.path.join(folder, *parts)
        last = next((path for path in (f"{base}/__init__.py", f"{base}.py") if os.path.isfile(path)), None)
        if last is not None:
            packages = [os.path.join(folder, *parts[:end], "__init__.py") for end in range(1, len(parts))]
            yield from (path for path in packages if os.path.isfile(path))
            yield last
            return


def _distrust(path: str) -> str | None:
    """Say why what stands at a path may be somebody else's word, None where it is the user's own."""
    try:
        status = os.stat(path)
    except OSError as error:
        return f"{path}: {error.strerror}"
    if status.st_uid != os.geteuid():
        return f"{path} belongs to another user"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{path} can be written to by others"
    return None


def _text(said: object) -> str | None:
    return said if isinstance(said, str) else None
