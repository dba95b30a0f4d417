"""Everything that looks on while a run runs: the screen, the status file, metrics; each at its own pace."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from jqcli.edge.screen import LineScreen, plain_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from jqcli.core.printed import Printed
    from jqcli.core.tally import Snapshot
    from jqcli.edge.screen import Screen


class Observer(Protocol):
    """Something that passes snapshots of a run on; it never raises and never stops the run."""

    interval: float
    """Seconds between two updates; inf where none is wanted."""

    def update(self, snapshot: Snapshot) -> None:
        """Take this moment."""

    def end(self, snapshot: Snapshot, exit_code: int) -> None:
        """Take the last moment, and how the run ended."""


class Reader(Protocol):
    """Something that wants to have what handlers print; it never raises and never stops the run."""

    def hear(self, lines: Sequence[Printed]) -> None:
        """Take these lines, in the order in which they came."""


class Observers:
    """The screen of a run and its other observers. All of them see the same snapshots."""

    def __init__(
        self, screen: Screen, others: Sequence[Observer], readers: Sequence[Reader], stream: TextIO | None
    ) -> None:
        self._screen = screen
        self._others = list(others)
        self._stream = stream
        self._readers = readers
        self._due: list[tuple[float, Screen | Observer]] = [(0.0, screen), *((0.0, each) for each in others)]

    @property
    def due_at(self) -> float:
        """The monotonic moment at which the next of them wants to see something."""
        return min(moment for moment, _ in self._due)

    def update(self, snapshot: Snapshot, now: float) -> None:
        """Show this moment to those whose turn it is; `now` is monotonic."""
        for place, (moment, each) in enumerate(self._due):
            if now >= moment:
                each.update(snapshot)
                self._due[place] = (now + each.interval, each)

    def add(self, *others: Observer) -> None:
        """Let more look on, from now on."""
        self._others += others
        self._due += [(0.0, other) for other in others]

    def hear(self, lines: Sequence[Printed]) -> None:
        """Show lines that handlers printed, and give them to those who read them."""
        for line in lines:
            self._screen.say(line.text)
        for reader in self._readers:
            reader.hear(lines)

    def answer(self, snapshot: Snapshot) -> None:
        """Say on stderr how far the run is, because somebody asked."""
        line = plain_line(snapshot)
        if self._screen.is_drawn:
            self._screen.say(line)
        elif self._stream is not None:
            LineScreen(self._stream, 0.0, lambda _: line).update(snapshot)

    def end(self, snapshot: Snapshot, exit_code: int) -> None:
        """Show the last moment to all, and how the run ended; the terminal is left as it was."""
        last = replace(snapshot, state="finished" if exit_code in (0, 1) else "stopped")
        self._screen.close(last)
        for each in self._others:
            each.end(last, exit_code)
