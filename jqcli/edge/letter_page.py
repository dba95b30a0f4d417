"""Shows dead letters to people and to programs: groups, a line each, or one whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jqcli.core.letter import NO_JOB, find_members
from jqcli.edge.text import file_word, safe, shell_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jqcli.core.choice import Group
    from jqcli.core.letter import Letter, Verdict

_ORIGIN = ("source", "handler", "cwd", "output", "input_format", "key_path", "tenant_path", "tenant", "run")
_WHOLE = 1_000_000  # a page is there to be read to its end
_LINE = 120


def group_command(paths: Sequence[str], reason: str, fingerprint: str, *, needs_handler: bool) -> str:
    """Return the command line that retries a group; `needs_handler` where the letters' own will not be used."""
    words = ["jq-run", "dlq", "retry", *map(file_word, paths), "--reason", reason, "--group", fingerprint]
    words += ["--edit"] if reason in NO_JOB else []
    return shell_line(words) + (" -H HANDLER" if needs_handler else "")


def group_object(group: Group, command: str) -> bytes:
    """Return a group as a line of JSON."""
    said = {
        "reason": group.verdict.reason,
        "fingerprint": group.fingerprint,
        "type": group.verdict.type,
        "message": group.verdict.message,
        "count": group.count,
        "first_at": group.first_at,
        "last_at": group.last_at,
        "sample_id": group.sample_id,
        "retry": command,
    }
    # Not orjson: people see it too, and a terminal must get no C1 control nor bidi mark.
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def group_text(group: Group, command: str) -> str:
    """Return a group in three lines."""
    verdict = group.verdict
    kind = verdict.type.rpartition(".")[2]
    return (
        f"{group.count:>9,}  {safe(verdict.reason, 30)}  {safe(f'{kind}: {verdict.message}', _LINE)}\n"
        f"{'':>9}  {safe(group.first_at, 30)} … {safe(group.last_at, 30)}, such as {safe(group.sample_id, 60)}\n"
        f"{'':>9}  {safe(command, _WHOLE)}\n"
    )


def letter_row(letter: Letter, verdict: Verdict) -> str:
    """Return a letter on one line: id, reason, attempts, redrives, time, error."""
    own = str(letter.parsed["reason"])
    kind = verdict.type.rpartition(".")[2]
    counts = f"{_attempts(letter):>3} tried {letter.redrives:>3} redriven"
    head = f"{safe(letter.id, 40):<24}  {safe(own, 30):<21}  {counts}  {safe(letter.text('dead_at'), 24)}"
    return f"{head}  {safe(f'{kind}: {verdict.message}', _LINE)}\n"


def letter_page(letter: Letter) -> Iterator[str]:
    """Yield the lines of one whole letter: why, from where, what was tried, the stacktrace, the job."""
    said = letter.parsed
    verdict = letter.verdict
    yield f"{safe(letter.id, _WHOLE)}  {safe(verdict.reason)}"
    yield f"  {safe(f'{verdict.type}: {verdict.message}', _WHOLE)}"
    yield f"  dead at {safe(letter.text('dead_at'))}, {_attempts(letter)} attempts, {letter.redrives} redrives"
    for name in ("key", "payload_hash", "duplicate_of", "conflicts_with", "size", "offset", *_ORIGIN):
        if said.get(name) is not None:
            yield f"  {name:<14}{safe(letter.text(name), _WHOLE)}"
    history = said.get("history")
    if isinstance(history, list) and history:
        yield ""
        yield from (f"  {_attempt(each)}" for each in history if isinstance(each, dict))
    error = said.get("error")
    stacktrace = error.get("stacktrace") if isinstance(error, dict) else None
    if isinstance(stacktrace, str):
        yield ""
        yield from (f"  {safe(line, _WHOLE)}" for line in stacktrace.rstrip("\n").split("\n"))
    yield ""
    members = find_members(letter.line) or {}
    body = next((members[name] for name in (b"job", b"raw", b"raw_base64") if name in members), b"")
    yield safe(body.decode("utf-8", "backslashreplace"), len(body) + 1)


def _attempts(letter: Letter) -> str:
    return safe(letter.text("attempts") or "0", 10)


def _attempt(entry: Mapping[str, object]) -> str:
    """Return one attempt on one line."""
    what = f"{entry.get('type', '')}: {entry.get('message', '')}"
    return safe(f"attempt {entry.get('attempt')} at {entry.get('at')}, {entry.get('duration')} s: {what}", 500)
