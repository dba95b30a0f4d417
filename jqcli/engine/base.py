"""What every engine can be asked.

An engine is given batches of lines to prepare, is told which of them may run, and answers with events. What failed
comes back as a `Failure`, what was not begun comes back uncharged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterator

    from jqcli.core.effect import Attempt, Limits, Work
    from jqcli.core.event import Event
    from jqcli.core.tally import WorkerRow
    from jqcli.policy import Policy


class Engine(Protocol):
    """Where attempts are made."""

    holders: dict[int, int]
    """The number of the worker that was given each batch to run; whoever takes its `Ended` takes it out."""
    is_attempting: bool  # whether a handler's code runs in this very thread, so that a signal can leave it

    def start(self, is_wanted: Callable[[], bool]) -> dict[str | None, Policy]:
        """Load the handlers and return their policies; raises HandlerLoadError, or StopNow when it is not wanted."""

    def room(self, now: float) -> int:
        """Return how many more batches it can use at once."""

    def idle(self, now: float) -> int:
        """Return how many workers would start a job at once, starting one more where none would."""

    def prepare(self, work: Work) -> None:
        """Take lines to prepare; an `Answer` follows."""

    def run(self, batch: int, lines: int, order: array[int] | None, limits: Limits) -> None:
        """Run these indexes of a prepared batch, or all of its lines; `Ended` follows."""

    def run_jobs(self, batch: int, attempts: list[Attempt], limits: Limits) -> None:
        """Run jobs that were ruled before; `Ended` follows."""

    def drop(self, batch: int) -> None:
        """Forget a prepared batch of which nothing runs."""

    def advance(self, now: float) -> Iterator[Event]:
        """Do what is due and yield what happened since; `now` is monotonic."""

    def wait_until(self, now: float) -> float | None:
        """Return the monotonic moment at which `advance` wants to be called at latest."""

    def rows(self, now: float, label: Callable[[int, int | None], str]) -> tuple[WorkerRow, ...]:
        """Return what the live table shows of the workers; `label` names the job of a batch and an index."""

    @property
    def is_busy(self) -> bool:
        """Whether any attempt is being made, or is about to be."""

    def revoke(self) -> None:
        """Want back all that has not begun; safe to call from a signal handler."""

    def close(self, *, at_once: bool) -> list[Event]:
        """End all workers; `at_once` kills what still runs, which is not charged. Returns what was finished."""
