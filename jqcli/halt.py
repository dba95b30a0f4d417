"""Whether a run ends before its input does: by a signal, at its deadline, or because too much failed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from jqcli.core.stop import no_use, too_late, too_many_dead

if TYPE_CHECKING:
    from collections.abc import Callable

    from jqcli.core.gate import Gate
    from jqcli.core.tally import Tally
    from jqcli.edge.interrupt import Interrupts
    from jqcli.intake import Bounds

_LOOK_EVERY = 1.0  # seconds between looks at what p95 makes of the deadline


@dataclass(slots=True)
class Stop:
    """Why the run ends early: the exit code, what to say, and until when (monotonic) attempts may still end."""

    code: int
    message: str
    deadline: float


class Halt:
    """The reasons of a run to stop. `stop` is the first that came; with it `cease` was called, once."""

    def __init__(
        self, bounds: Bounds, interrupts: Interrupts, tally: Tally, gate: Gate, cease: Callable[[], None]
    ) -> None:
        self._bounds = bounds
        self._interrupts = interrupts
        self._tally = tally
        self._gate = gate
        self._cease = cease
        self.stop: Stop | None = None
        self.look_at = inf if bounds.deadline is None else 0.0  # the monotonic moment of the next look at the deadline

    @property
    def is_overdue(self) -> bool:
        """Whether nothing may go on any longer."""
        return self.stop is not None and time.monotonic() >= self.stop.deadline

    def begin(self, code: int, message: str, grace: float | None = None) -> None:
        """Begin to stop: nothing new starts, and what runs may end within `grace` seconds."""
        if self.stop is None:
            seconds = self._bounds.grace if grace is None else grace
            self.stop = Stop(code, message, time.monotonic() + seconds)
            self._cease()

    def heed_signals(self) -> None:
        """Stop at the first signal, and at once at the second."""
        received = self._interrupts.received
        if received:
            self.begin(128 + received[0], "")
        if len(received) > 1 and self.stop is not None:
            self.stop.deadline = 0.0

    def heed_deadline(self, now: float) -> None:
        """Stop where the next job would not end in time, by the running p95; what runs may go on until then."""
        if now < self.look_at:
            return
        deadline = self._bounds.deadline
        if deadline is None or self.stop is not None:
            self.look_at = inf
            return
        left, p95 = deadline - now, self._tally.percentiles()[1] or 0.0
        self.look_at = now + min(max(left - p95, 0.0), _LOOK_EVERY)
        message = too_late(left, p95)
        if message is not None:
            self.begin(3, message, grace=max(left, 0.0))

    def heed_failures(self) -> None:
        """Stop where too much failed: jobs, or what they call."""
        tally, bounds = self._tally, self._bounds
        dead, settled = tally.dead - tally.dead_before, tally.settled - tally.settled_before
        message = too_many_dead(bounds.max_failures, dead, settled)
        message = message or no_use(self._gate, stops_at_trip=bounds.stops_at_trip)
        if message is not None:
            self.begin(3, message)
