"""How much of the input is read: as many lines as the next batch may have, none while the queue is full (law 3)."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from jqcli.edge.cutter import Block, Oversized
from jqcli.errors import InputError

if TYPE_CHECKING:
    from jqcli.core.dispatch import Dispatch
    from jqcli.core.stop import Tolerance
    from jqcli.edge.feed import Feed
    from jqcli.recorder import Recorder

_SO_FAR = "the lines before that are done, and the same command goes on once it can be read to its end"
BLOCK_BYTES = 1 << 17  # of lines a batch; larger ones gain nothing and cost cache


class Bounds(NamedTuple):
    """What a run may use: lines and bytes of the queue, jobs of the input, seconds of a drain; when it gives up.

    `deadline` is a monotonic moment.
    """

    lines: int
    bytes: int
    limit: int | None
    grace: float
    max_failures: Tolerance | None
    deadline: float | None = None
    stops_at_trip: bool = False


class Intake:
    """Takes lines from the source, within the bounds of the run.

    `problem` is why no more can be read, where that is so; what was read before is to be done all the same.
    """

    def __init__(self, source: Feed, bounds: Bounds, dispatch: Dispatch, recorder: Recorder, workers: int) -> None:
        self._source = source
        self._bounds = bounds
        self._dispatch = dispatch
        self._recorder = recorder
        self._share = max(1, bounds.lines // (2 * workers))
        self._jobs_left = inf if bounds.limit is None else bounds.limit
        self.problem: InputError | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing more is to be read."""
        return self._source.ended or self._jobs_left <= 0 or self.problem is not None

    @property
    def wanted(self) -> int:
        """How many lines the next batch may have; 0 while the queue is full."""
        bounds, dispatch = self._bounds, self._dispatch
        free = bounds.lines - dispatch.lines - self._recorder.held
        if dispatch.bytes >= bounds.bytes:
            return 0
        return int(min(free, dispatch.sizer.size, self._share, self._jobs_left))

    def cut(self, most: int, now: float) -> Block | Oversized | None:
        """Return the next lines, so many at most; None where there are none yet."""
        try:
            part = self._source.cut(most, BLOCK_BYTES, now)
        except InputError as error:
            self.problem = InputError(f"{error}; {_SO_FAR}")
            return None
        if part is not None:
            self._jobs_left -= 1 if isinstance(part, Oversized) else part.lines
        return part

    def give_back(self, lines: int) -> None:
        """Note that so many lines that were cut were blank, and so no jobs."""
        self._jobs_left += lines
