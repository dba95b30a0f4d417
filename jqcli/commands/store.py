"""`jq-run store`: look at an idempotency store, bound it, make it forget."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from jqcli import value as v
from jqcli.commands.plain import PlainCommand, PlainGroup
from jqcli.config.given import Given, Layer, pick
from jqcli.core.record import timestamp
from jqcli.edge.stderr import say
from jqcli.edge.storekeep import Part, forget_handler, forget_key, prune, read_stats
from jqcli.edge.text import safe
from jqcli.errors import FileError, UsageError
from jqcli.quantity import format_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jqcli.edge.store import Store

store = typer.Typer(
    cls=PlainGroup, help="Look at an idempotency store, bound it, make it forget.", pretty_exceptions_enable=False
)

Path = Annotated[str, typer.Argument(metavar="STORE", help="The file of a store.", show_default=False)]
Text = str | None


@store.callback()
def group() -> None:
    """Look at an idempotency store, bound it, make it forget."""


@store.command("stats", cls=PlainCommand)
def stats(
    path: Path,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="One JSON object.")] = False,
) -> int:
    """Say what a store remembers, by handler and version."""
    opened = _open(path)
    try:
        found = read_stats(opened, time.time())
    finally:
        opened.close()
    if as_json:
        parts = [part._asdict() | _moments(part) for part in found.parts]
        typer.echo(json.dumps(found._asdict() | {"parts": parts}))
        return 0
    for part in found.parts:
        typer.echo(safe(_line(part), 1000))
    keys = sum(part.keys for part in found.parts)
    typer.echo(f"{_keys(keys)}, {found.expired:,} more have run out; the file has {format_size(found.file_bytes)}")
    typer.echo(f"{found.runs:,} running, {found.in_flight:,} in flight")
    return 0


@store.command("prune", cls=PlainCommand)
def prune_(
    path: Path,
    older_than: Annotated[
        Text,
        typer.Option(
            "--older-than", metavar="DUR", help="Forget also what is older: 90d. (no limit)", show_default=False
        ),
    ] = None,
    max_size: Annotated[
        Text,
        typer.Option(
            "--max-size",
            metavar="SIZE",
            help="Forget the oldest until the file is no larger. (no limit)",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Forget what has run out, and more where asked; the file shrinks."""
    given = _given({"--older-than": older_than, "--max-size": max_size})
    older, most = pick(given, "--older-than", v.seconds, None), pick(given, "--max-size", v.size_or_off, None)
    opened = _open(path)
    try:
        before = sum(part.keys for part in read_stats(opened, 0.0).parts)
        prune(opened, time.time(), older_than=older, max_bytes=most)
        after = sum(part.keys for part in read_stats(opened, 0.0).parts)
    finally:
        opened.close()
    say(f"{path}: {_keys(before - after)} forgotten, {after:,} left; {format_size(os.path.getsize(path))}")
    return 0


@store.command("forget", cls=PlainCommand)
def forget(
    path: Path,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="KEY...", help="Keys, as records carry them.", show_default=False)
    ] = None,
    handler: Annotated[
        Text,
        typer.Option("--handler", metavar="NAME", help="All that this handler did: tasks.py:rate.", show_default=False),
    ] = None,
) -> int:
    """Forget keys, or all that a handler did, so that it runs again; 1 where there was nothing to forget."""
    if bool(keys) == (handler is not None):
        raise UsageError("name what to forget: KEY as it stands in the records, or --handler NAME")
    opened = _open(path)
    try:
        gone = forget_handler(opened, handler) if handler else sum(_forget(opened, key) for key in keys or ())
    finally:
        opened.close()
    say(f"{path}: {_keys(gone)} forgotten")
    return 0 if gone else 1


def _forget(opened: Store, key: str) -> int:
    try:
        return forget_key(opened, key)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _keys(count: int) -> str:
    return f"{count:,} key{'' if count == 1 else 's'}"


def _open(path: str) -> Store:
    if not os.path.exists(path) or not os.path.getsize(path):
        raise FileError(f"{path}: there is no store")
    from jqcli.edge.store import Store  # noqa: PLC0415 - SQLite costs 5 ms, which only this command pays

    return Store(path, create=False)


def _given(options: Mapping[str, str | None]) -> dict[str, Given]:
    return {name: Given(value, name, Layer.OPTION) for name, value in options.items() if value is not None}


def _moments(part: Part) -> dict[str, str | None]:
    moments = {"oldest_at": part.oldest_at, "newest_at": part.newest_at}
    return {name: None if at is None else timestamp(at) for name, at in moments.items()}


def _line(part: Part) -> str:
    name = f" as {part.name}" if part.name else ""
    version = f" version {part.version}" if part.version else ""
    oldest, newest = _moments(part).values()
    size = format_size(part.size)
    return f"{part.handler}{name}{version} ({part.tag})  {_keys(part.keys)}, {size}, {oldest} to {newest}"
