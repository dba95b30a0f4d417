"""What is to be seen of a run at one moment: the one place where counts, queue and workers are put together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from jqcli.core.budget import FLOOR
from jqcli.core.stop import too_late
from jqcli.core.tally import FlowState, Snapshot, Tally

if TYPE_CHECKING:
    from jqcli.core.dispatch import Dispatch
    from jqcli.edge.feed import Feed
    from jqcli.engine.base import Engine

_MOST_ERRORS = 10


class View(NamedTuple):
    """What there is to look at, the moments at which it began and should end, and how many jobs are read at most."""

    source: Feed
    engine: Engine
    dispatch: Dispatch
    tally: Tally
    started_at: float
    limit: int | None
    deadline: float | None = None

    def take(self, now: float, state: str) -> Snapshot:
        """Return all that can be shown at a monotonic moment."""
        tally, dispatch, elapsed, fraction = self.tally, self.dispatch, now - self.started_at, self._fraction
        p50, p95, p99 = tally.percentiles()
        flow = self._flow(now, is_stopping=state == "stopping")
        return Snapshot(
            elapsed=elapsed,
            read=tally.read,
            completed=tally.completed,
            duplicate=tally.duplicate,
            skipped=tally.skipped,
            dead=tally.dead,
            unfinished=tally.unfinished,
            settled_before=tally.settled_before,
            attempts=tally.attempts,
            retries=tally.retries,
            crashes=tally.crashes,
            timeouts=tally.timeouts,
            waiting=dispatch.waiting,
            in_flight=dispatch.in_flight,
            rate=tally.rate(),
            mean_rate=(tally.settled - tally.settled_before) / elapsed if elapsed > 0 else 0.0,
            fraction=fraction,
            eta=self._eta(elapsed, fraction, 0 if flow is None else flow.delayed),
            p50=p50,
            p95=p95,
            p99=p99,
            workers=tuple(sorted(self.engine.rows(now, dispatch.label), key=lambda row: row.number)),
            errors=tally.top_errors(_MOST_ERRORS),
            state=state,
            flow=flow,
            busy=tally.busy,
            error_groups=len(tally.groups),
            histogram=tally.histogram(),
            latencies=tally.latencies(),
            dead_before=tally.dead_before,
            letters=tally.letters,
            has_letters=tally.letters > 0 or tally.has_letters_before,
        )

    def _flow(self, now: float, *, is_stopping: bool) -> FlowState | None:
        """Return what holds jobs up on purpose, None where nothing does."""
        flow = self.dispatch.flow_state(now)
        if self.deadline is None:
            return flow
        left = self.deadline - now
        is_late = is_stopping and too_late(left, self.tally.percentiles()[1] or 0.0) is not None
        held = self.dispatch.held if is_late else None
        return replace(flow or FlowState(), deadline=max(0.0, left), not_admitted=held)

    @property
    def _fraction(self) -> float | None:
        """How much of the input is done, by its bytes or `--limit`; None where their number is not known."""
        total, tally = self.source.bytes_total, self.tally
        if not total:
            return None
        fraction = min(1.0, max(self.source.bytes_read / total, tally.read / self.limit if self.limit else 0.0))
        known = tally.read + self.dispatch.unruled
        if known:
            return fraction * tally.settled / known  # what is read may be all of the input, and have to wait
        return fraction if self.dispatch.is_empty else 0.0

    def _eta(self, elapsed: float, fraction: float | None, delayed: int) -> float | None:
        """Return in how many seconds all is done, at the pace of this run; None while it has none.

        Once the input is at its end, `delayed` retries drain at the floor of their budget, beside what else is left.
        """
        if fraction is None or fraction >= 1.0:
            return None if fraction is None else 0.0
        own = 1 - self.tally.settled_before / self.tally.settled if self.tally.settled else 0.0
        at_pace = elapsed * (1 - fraction) / (fraction * own) if own > 0 else None
        left = self.tally.unfinished + self.dispatch.unruled
        is_at_end = self.source.ended or (self.limit is not None and self.tally.read >= self.limit)
        if not delayed or not is_at_end:
            return at_pace
        return max(delayed / FLOOR.per_second, (at_pace or 0.0) * (left - delayed) / left)
