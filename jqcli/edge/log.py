"""What happened, line by line, in a file: a log for people, or every change of every job for programs."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import time
from math import inf
from typing import TYPE_CHECKING

from jqcli.core.change import TROUBLE, Change
from jqcli.core.printed import LINE_MOST
from jqcli.core.record import timestamp
from jqcli.edge.line import to_json
from jqcli.edge.target import open_target
from jqcli.edge.terminal import is_ready
from jqcli.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from jqcli.core.printed import Ids, Printed
    from jqcli.core.tally import Snapshot

_PLAIN = re.compile(r"[\w.:/@+\-]+", re.ASCII)
_LEVELS = {"failed": "warning", "dead": "error", "stopped": "warning"}
_MOST_KEPT = 1 << 20  # bytes that a slow reader may be behind
_LAST_WORDS = 1.0  # seconds
_STOPPED = (1, 3)
_SIGNAL = 128
_COUNTS = (
    *("read", "completed", "duplicate", "skipped", "dead", "unfinished", "settled_before"),
    *("attempts", "retries", "crashes", "timeouts"),
)
_MOST_TEXT = LINE_MOST + 16


class LineFile:
    """A file that lines are appended to; when it can no longer be written, `say` is told once, and that is all.

    A pipe whose reader is slow is not waited for: what it does not take is kept, and beyond a megabyte left out.
    Raises FileError where it cannot be opened.
    """

    def __init__(self, path: str, say: Callable[[str], None], *, fresh: bool = False) -> None:
        self._path = path
        self._say = say
        self._kept = b""
        self._left_out = 0
        # Without waiting, or a pipe that nobody reads would keep the run from beginning.
        flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | (os.O_TRUNC if fresh else os.O_APPEND)
        try:
            self._fd = open_target(path, flags, 0o666)
        except OSError as error:
            why = (
                "nobody reads from this pipe; start its reader first" if error.errno == errno.ENXIO else error.strerror
            )
            raise FileError(f"{path}: {why}") from None

    def append(self, lines: Iterable[bytes]) -> None:
        """Write lines, each of which ends in a newline."""
        if self._fd < 0:
            return
        text = b"".join(lines)
        if len(self._kept) > _MOST_KEPT:
            self._left_out += text.count(b"\n")
            text = b""
        left = memoryview(self._kept + text)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._give_up(error.strerror or "")
            return
        self._kept = bytes(left)

    def close(self) -> None:
        """Close the file, once; a slow reader has a second to take what is left."""
        deadline = time.monotonic() + _LAST_WORDS
        while self._kept and is_ready(self._fd, max(0.0, deadline - time.monotonic())):
            self.append(())
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._left_out += self._kept.count(b"\n")
        if self._left_out:
            self._say(f"{self._path}: {self._left_out:,} lines were left out, as their reader was too slow")
        self._kept, self._left_out = b"", 0

    def _give_up(self, why: str) -> None:
        self._kept, self._left_out = b"", 0
        self.close()
        self._say(f"{self._path}: cannot be written any more: {why}")


class EventFile:
    """Writes every change of every job as one JSON object a line; an observer too, as it has to hear of the end."""

    interval = inf
    is_thorough = True

    def __init__(self, file: LineFile, run: str) -> None:
        self._file = file
        self._run = run

    def write(self, changes: Sequence[Change]) -> None:
        """Write these changes."""
        self._file.append([to_json(members_of(self._run, change)) for change in changes])

    def update(self, snapshot: Snapshot) -> None:
        """Take nothing from a moment of the run."""

    def end(self, snapshot: Snapshot, exit_code: int) -> None:  # noqa: ARG002 - each job's end was told
        """Close the file; a slow reader of a pipe gets what it has not taken yet."""
        self._file.close()


class Log:
    """Writes how a run began and ended, what went wrong in it and what handlers printed; in text (logfmt) or JSON.

    It is an observer of the run too, which is how it learns of workers. `find` names the attempt at a batch and index.
    """

    interval = 1.0
    is_thorough = False

    def __init__(self, file: LineFile, run: str, *, as_json: bool, about: Mapping[str, object]) -> None:
        self._file = file
        self._run = run
        self._render = _to_plain_json if as_json else _to_text
        self._pids: dict[int, int] = {}
        self.find: Callable[[int, int], Ids | None] = lambda *_: None
        self._found: tuple[tuple[int, int] | None, Ids | None] = None, None
        self._say("began", about)

    def write(self, changes: Sequence[Change]) -> None:
        """Write those of these changes that are no progress."""
        self._file.append(
            self._render(members_of(self._run, change, _LEVELS.get(change.event, "info")))
            for change in changes
            if change.event in TROUBLE
        )

    def hear(self, lines: Sequence[Printed]) -> None:
        """Write what handlers printed or logged."""
        self._file.append([self._render(self._members_of(line)) for line in lines])

    def _members_of(self, line: Printed) -> dict[str, object]:
        is_logged = line.logger is not None
        said: dict[str, object] = {"at": timestamp(line.at), "level": line.level, "run": self._run}
        said["event"] = "logged" if is_logged else "printed"
        ids = line.ids if line.place is None else self._ids_at(line.place)
        if ids is not None:
            said |= {"job": ids.job, "key": ids.key, "attempt": ids.attempt}
        said["worker"] = line.worker
        return said | ({"logger": line.logger} if is_logged else {"from": line.source}) | {"message": line.text}

    def _ids_at(self, place: tuple[int, int]) -> Ids | None:
        """Return whose attempt runs there; that of the line before is not looked up again, which parses its job."""
        if self._found[0] != place:
            self._found = place, self.find(*place)
        return self._found[1]

    def update(self, snapshot: Snapshot) -> None:
        """Note workers that were not there before."""
        for row in snapshot.workers:
            if row.pid and self._pids.get(row.number) != row.pid:
                self._pids[row.number] = row.pid
                self._say("worker", {"worker": row.number, "pid": row.pid, "restarts": row.restarts})

    def end(self, snapshot: Snapshot, exit_code: int) -> None:
        """Write how the run ended."""
        counts = {name: getattr(snapshot, name) for name in _COUNTS}
        cause = snapshot.cause or _signal_of(exit_code)
        why = {"cause": cause} if cause else {}
        members = {"exit_code": exit_code, **why, **counts, "duration": round(snapshot.elapsed, 3)}
        self._say("ended", members, _level_of(exit_code))
        self._file.close()

    def _say(self, event: str, members: Mapping[str, object], level: str = "info") -> None:
        head = {"at": timestamp(time.time()), "level": level, "run": self._run, "event": event}
        self._file.append([self._render(head | dict(members))])


def _level_of(exit_code: int) -> str:
    """Return how bad an end is: a run that was stopped, or left dead letters, can go on; one that failed cannot yet.

    >>> [_level_of(code) for code in (0, 1, 3, 143, 74)]
    ['info', 'warning', 'warning', 'warning', 'error']
    """
    if exit_code == 0:
        return "info"
    return "warning" if exit_code in _STOPPED or exit_code > _SIGNAL else "error"


def _signal_of(exit_code: int) -> str:
    """Return the name of the signal that stopped a run, empty where none did.

    >>> _signal_of(143), _signal_of(3)
    ('SIGTERM', '')
    """
    number = exit_code - _SIGNAL
    return signal.Signals(number).name if number in set(signal.Signals) else ""


def members_of(run: str, change: Change, level: str | None = None) -> dict[str, object]:
    """Return a change as the members of an object; what it has not is left out."""
    members: dict[str, object] = {"at": timestamp(change.at)}
    if level is not None:
        members["level"] = level
    members |= {"run": run, "event": change.event, "job": change.id, "key": change.key}
    if change.attempt is not None:
        members["attempt"] = change.attempt
    if change.worker is not None:
        members["worker"] = change.worker
    if change.duration is not None:
        members["duration"] = round(change.duration, 6)
    if change.detail:
        members |= {name: value for name, value in change.detail.items() if value is not None}
    return members


def _to_plain_json(members: Mapping[str, object]) -> bytes:
    r"""Return members as JSON in ASCII: people read it too, and a terminal must get no C1 control nor bidi mark.

    >>> _to_plain_json({"message": "\x9b2J\u202e"})
    b'{"message":"\\u009b2J\\u202e"}\n'
    """
    return json.dumps(members, separators=(",", ":")).encode() + b"\n"


def _to_text(members: Mapping[str, object]) -> bytes:
    r"""Return members as `name=value`, quoted as JSON where a value is not plain; in ASCII, so harmless in a terminal.

    >>> _to_text({"at": "2026-01-31T06:00:00.000Z", "job": 7, "message": 'no "x"'})
    b'2026-01-31T06:00:00.000Z job=7 message="no \\"x\\""\n'
    """
    said = dict(members)
    words = [str(said.pop("at"))]
    for name, value in said.items():
        text = str(value)[:_MOST_TEXT]
        words.append(f"{name}={text if _PLAIN.fullmatch(text) else json.dumps(text)}")
    return " ".join(words).encode("ascii") + b"\n"
