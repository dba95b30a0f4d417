"""Which files a run reads and writes."""

from __future__ import annotations

import re
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jqcli.config.given import Given, option_of, pick
from jqcli.errors import FileError, UsageError, suggest
from jqcli.value import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

STDIN = STDOUT = "-"
# Settings that name a further file to write.
BESIDE = ("status_file", "metrics_file", "log_file", "events", "trace", "report")
# Those that are written line by line, so that a named pipe can take them.
_LINED = ("log_file", "events", "trace")
_SUFFIXES = re.compile(r"(\.(jsonl|ndjson|json|txt))?(\.(gz|bz2|xz|zst))?$", re.IGNORECASE)


def check_folder() -> None:
    """Raise FileError where the current folder was deleted: paths are looked for in it, and letters name it."""
    try:
        Path.cwd()
    except OSError as error:
        raise FileError(f"the current folder: {error.strerror}; it was deleted, so `cd` to another one") from None


def stem_of(source: str) -> str:
    """Return the name that an input lends to its outputs; empty for stdin.

    >>> [stem_of(s) for s in ("in/jobs.jsonl.gz", "jobs", "-")]
    ['jobs', 'jobs', '']
    """
    name = Path(source).name
    return "" if source == STDIN else _SUFFIXES.sub("", name) or name


def expand_inputs(words: Sequence[str], *, stdin_tty: bool, commands: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the inputs in the order given: globs expanded, piped stdin where none is named.

    Raises UsageError for a file that is missing or named twice, a folder, a glob that matches nothing, or no input.
    """
    if not words and stdin_tty:
        raise UsageError("no input: name a file, or pipe jobs into stdin, as in `jq-run jobs.jsonl -H tasks.py:charge`")
    inputs = tuple(path for word in words or (STDIN,) for path in _expand(word, commands))
    if inputs.count(STDIN) > 1:
        raise UsageError("`-` is given twice, and stdin can be read once")
    _check_distinct(inputs)
    return inputs


def _check_distinct(inputs: Sequence[str]) -> None:
    """Raise UsageError where one file is named twice, be it by a glob or a link: its lines would share their ids."""
    seen: dict[tuple[int, int], str] = {}
    for path in inputs:
        if path == STDIN or not Path(path).is_file():
            continue
        status = Path(path).stat()
        file = (status.st_dev, status.st_ino)
        if file in seen:
            before = "" if seen[file] == path else f" (before as {seen[file]})"
            raise UsageError(
                f"{path}: this input is named twice{before}; each of its lines is one job, so name it once"
            )
        seen[file] = path


def _expand(word: str, commands: Iterable[str]) -> Iterable[str]:
    folder = Path(word)
    if word == STDIN:
        return (word,)
    if word and folder.is_dir():
        raise UsageError(f"{word}: is a folder; give its files, such as '{folder / '*.jsonl'}'")
    if word and folder.exists():
        return (word,)
    if not has_magic(word):
        raise missing_input(word, commands)
    paths = sorted(glob(word, recursive=True))
    found = [path for path in paths if not Path(path).is_dir()]
    if not found:
        raise UsageError(f"{word}: no file matches")
    return found


def missing_input(word: str, commands: Iterable[str]) -> UsageError:
    """Return the error for an input that is not there, with a hint where a command may have been meant."""
    near = suggest(word, commands) if word.isidentifier() else ""
    hint = near.replace("did you mean", "did you mean the command")
    return UsageError(f"{word or repr(word)}: no such file{hint}")


def find_output(given: Mapping[str, Given], inputs: Sequence[str], *, stdout_tty: bool) -> str | None:
    """Return the path of the results, None for stdout: a file is made up only where stdout is a terminal."""
    stem = stem_of(inputs[0])
    made_up = (f"{stem}.results.jsonl" if stem else "results.jsonl") if stdout_tty else STDOUT
    output = pick(given, "output", text, made_up)
    if output == STDOUT:
        return None
    check_target(given, "output", output)
    return output


def find_dlq(given: Mapping[str, Given], inputs: Sequence[str], output: str | None) -> str:
    """Return the path of the DLQ: beside a regular output file, else in the current folder."""
    stem = stem_of(inputs[0])
    made_up = f"{stem}.dlq.jsonl" if stem else "dlq.jsonl"
    is_beside = output is not None and (Path(output).is_file() or not Path(output).exists())
    dlq = pick(given, "dlq", text, str(Path(output or "").parent / made_up) if is_beside else made_up)
    if dlq == STDOUT:
        raise UsageError(f"{given['dlq'].where}: dead letters go to a file, not to stdout")
    check_target(given, "dlq", dlq)
    return dlq


def check_target(given: Mapping[str, Given], name: str, path: str) -> None:
    """Raise UsageError where no file can stand at this path."""
    where = f"{given[name].where}: " if name in given else ""
    if Path(path).is_dir():
        raise UsageError(f"{where}{path} is a folder; name a file in it")
    if not Path(path).parent.is_dir():
        raise UsageError(f"{where}{path}: there is no folder {Path(path).parent}")


def check_apart(inputs: Sequence[str], output: str | None, dlq: str) -> None:
    """Raise UsageError where two of the files are the same one."""
    if output is not None and is_same(output, dlq):
        raise UsageError(f"{dlq}: results and dead letters cannot share a file; choose another --dlq")
    for source in inputs:
        if output is not None and is_same(source, output):
            raise UsageError(f"{source}: an input that is this run's own --output; choose another -o")
        if is_same(source, dlq):
            raise UsageError(
                f"{source}: an input that is this run's own --dlq; choose another -d, "
                f"or give its jobs a new life with `jq-run dlq retry {source}`"
            )


def find_beside(given: Mapping[str, Given], outputs: Mapping[str, str | None], read: Sequence[str]) -> dict[str, Any]:
    """Return the paths of the further files that were asked for, by setting name.

    Raises UsageError for one that cannot be a file of its own, or is one that is `read`: these are overwritten.
    """
    taken = {**{path: path for path in read}, **{option_of(name): path for name, path in outputs.items() if path}}
    found: dict[str, Any] = {}
    for name in BESIDE:
        path = found[name] = pick(given, name, text, None)
        if path is None:
            continue
        where = given[name].where
        if path == STDOUT:
            raise UsageError(f"{where}: it goes to a file, not to stdout, which is for results; name one")
        check_target(given, name, path)
        is_pipe = name in _LINED and Path(path).is_fifo()
        if Path(path).exists() and not Path(path).is_file() and not is_pipe:
            raise UsageError(f"{where}: {path} is no regular file{' nor named pipe' if name in _LINED else ''}")
        same = next((other for other, target in taken.items() if is_same(path, target)), None)
        if same is not None:
            raise UsageError(f"{where}: {path} is the file of {same} too; choose another")
        taken[where] = path
    return found


def is_same(one: str, other: str) -> bool:
    """Tell whether two paths name one file, or would."""
    if Path(one).exists() and Path(other).exists():
        return Path(one).samefile(other)
    return Path(one).absolute() == Path(other).absolute()
