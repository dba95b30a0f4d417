"""The status of a run as one JSON object: written by the run, read by `ps`, `top` and scripts."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, fields
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from jqcli.core.census import Share
from jqcli.core.exact import load_exact
from jqcli.core.record import timestamp
from jqcli.core.tally import ErrorGroup, FlowState, Parked, Snapshot, WorkerRow
from jqcli.edge.digest import summary_object
from jqcli.edge.line import to_json
from jqcli.edge.runtime import Birth, birth_of, is_alive, status_paths
from jqcli.edge.whole import FOR_ALL, OWN, replace_file
from jqcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_BYTES = 4 << 20
_SAME = ("waiting", "in_flight", "fraction", "eta", "state")
_ROWS = {"keys": Parked, "lanes": Share, "breakers": Share}  # of the flow, lists of what
_COUNTS = (
    *("read", "completed", "duplicate", "skipped", "dead", "unfinished", "settled_before"),
    *("attempts", "retries", "crashes", "timeouts"),
)


class About(NamedTuple):
    """What does not change during a run; `started_at` in Unix seconds."""

    run: str
    started_at: float
    handler: str
    inputs: tuple[str, ...]
    results: str | None
    dlq: str | None

    @property
    def title(self) -> str:
        """What the run is called on a screen."""
        return title_of(self.handler, self.inputs)


class Status(NamedTuple):
    """One status file that was read: the object, and what stands in it as the program's own values."""

    path: str
    said: dict[str, Any]
    pid: int
    birth: Birth
    title: str
    snapshot: Snapshot

    @property
    def run(self) -> str:
        """The run's id."""
        return str(self.said["run"])

    @property
    def is_over(self) -> bool:
        """Whether the run said how it ended."""
        return self.said["exit_code"] is not None


def title_of(handler: str, inputs: tuple[str, ...]) -> str:
    """Return what a run is called on a screen."""
    return f"{handler} < {' '.join(inputs)}"


def status_object(about: About, snapshot: Snapshot, exit_code: int | None = None) -> dict[str, object]:
    """Return the summary's object and what only a running run has; `exit_code` None while it runs.

    `rate` is the mean one, as in the summary, `rate_now` that of the last seconds.
    """
    said = summary_object(
        snapshot,
        run=about.run,
        exit_code=exit_code,
        results=about.results,
        dlq=about.dlq if snapshot.has_letters else None,
    )
    birth = birth_of(os.getpid()) or Birth("", "", "")
    return said | {
        "pid": os.getpid(),
        "birth": list(birth),
        "started_at": timestamp(about.started_at),
        "handler": about.handler,
        "inputs": list(about.inputs),
        "rate_now": snapshot.rate,
        **{name: getattr(snapshot, name) for name in _SAME},
        "workers": [asdict(row) for row in snapshot.workers],
    }


def read_status(path: str) -> Status:
    """Return what a status file says; raises UsageError where it is none, FileNotFoundError where there is none."""
    try:
        with open(path, "rb") as file:
            said = load_exact(file.read(_MOST_BYTES))
        title = title_of(str(said["handler"]), tuple(map(str, said["inputs"])))
        birth = Birth(*map(str, said["birth"]))
        return Status(path, said, int(said["pid"]), birth, title, _snapshot_of(said))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{path}: is no status file of jq-run") from None


def running_runs() -> list[Status]:
    """Return the runs of this user that run now; what dead ones left behind is removed."""
    found: list[Status] = []
    for path in status_paths():
        try:
            status = read_status(path)
        except (UsageError, FileNotFoundError):
            continue  # gone meanwhile, or not for us to judge
        alive = is_alive(status.pid, status.birth)
        if alive:
            found.append(status)
        elif alive is False:
            with suppress(OSError):
                os.unlink(path)
    return found


def _snapshot_of(said: dict[str, Any]) -> Snapshot:
    """Return the snapshot that a status object was made from, as far as a screen shows it."""
    counts: dict[str, Any] = {name: int(said[name]) for name in _COUNTS}
    return Snapshot(
        elapsed=float(said["duration"]),
        rate=float(said["rate_now"]),
        mean_rate=float(said["rate"]),
        workers=tuple(_make(WorkerRow, row) for row in said["workers"]),
        errors=tuple(_make(ErrorGroup, group) for group in said["errors"]),
        **counts,
        flow=_flow_of(said["flow"]) if "flow" in said else None,
        **{name: said[name] for name in _SAME},
        **{name: said["latency"][name] for name in ("p50", "p95", "p99")},
    )


def _flow_of(said: dict[str, Any]) -> FlowState:
    rows = {name: tuple(_make(kind, each) for each in said[name]) for name, kind in _ROWS.items()}
    return FlowState(**{each.name: said[each.name] for each in fields(FlowState)} | rows)


def _make(kind: Callable[..., Any], said: dict[str, Any]) -> Any:
    return kind(**{each.name: said[each.name] for each in fields(kind)})  # type: ignore[arg-type]


class StatusFile:
    """Writes the status of a run once a second. `is_own` is the one in the runtime directory, gone with its run."""

    interval = 1.0

    def __init__(self, path: str, about: About, say: Callable[[str], None], *, is_own: bool) -> None:
        self._path = path
        self._about = about
        self._say = say
        self._is_own = is_own

    def update(self, snapshot: Snapshot) -> None:
        """Write this moment."""
        self._write(status_object(self._about, snapshot))

    def end(self, snapshot: Snapshot, exit_code: int) -> None:
        """Write how the run ended, or leave nothing behind."""
        if self._is_own:
            self.remove()
        else:
            self._write(status_object(self._about, snapshot, exit_code))

    def remove(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            os.unlink(self._path)

    def _write(self, said: dict[str, object]) -> None:
        """Write one object; a file that cannot be written is said once and costs the run nothing else."""
        if self.interval == inf:
            return
        try:
            replace_file(self._path, to_json(said), OWN if self._is_own else FOR_ALL)
        except OSError as error:
            self.interval = inf
            if not self._is_own:
                self._say(f"{self._path}: the status cannot be written any more: {error.strerror}")
