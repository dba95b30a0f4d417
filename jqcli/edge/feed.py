"""What a loop reads its lines from: the inputs of a run, or the dead letters of a redrive."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from jqcli.edge.cutter import Block, Oversized


class Feed(Protocol):
    """Gives blocks of whole lines. `names` and `stems` are those of its inputs, by the number that blocks carry."""

    @property
    def names(self) -> tuple[str, ...]:
        """How messages and letters call each input."""

    @property
    def stems(self) -> tuple[str, ...]:
        """What made-up ids of each input begin with."""

    @property
    def bytes_total(self) -> int | None:
        """How much there is, None where that is not known."""

    @property
    def ended(self) -> bool:
        """Whether every line was cut."""

    @property
    def bytes_read(self) -> int:
        """How much of `bytes_total` was cut."""

    def cut(self, max_lines: int, max_bytes: int, now: float) -> Block | Oversized | None:
        """Return the next block, None when there is none at `now`, a monotonic moment in seconds."""

    def is_lasting(self, source: int) -> bool:
        """Tell whether what was cut from an input can be read again where it stood."""

    def read_again(self, source: int, offset: int, size: int) -> bytes:
        """Return what stands there now; raises FileError."""

    def wait_fd(self) -> int | None:
        """Return what to poll for reading after `cut` has returned None; None where waiting is no use."""

    def ready_at(self) -> float | None:
        """Return the monotonic moment, in seconds, at which to ask again although nothing was read."""

    def close(self) -> None:
        """Close what is open."""


def wait_for(feed: Feed) -> None:
    """Wait until there may be more lines; for whoever has nothing else to do, as a run has."""
    poll, fd, moment = select.poll(), feed.wait_fd(), feed.ready_at()
    if fd is None and moment is None:  # it has just found its end
        return
    if fd is not None:
        poll.register(fd, select.POLLIN)
    poll.poll(None if moment is None else max(0.0, moment - time.monotonic()) * 1000)
