"""Draws the live table with rich, from the caller's own thread, and leaves no trace of it."""

from __future__ import annotations

from math import inf
from typing import IO, TYPE_CHECKING, cast

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from jqcli.edge.charset import is_ascii_only, plain
from jqcli.edge.frame import STYLES, draw
from jqcli.edge.terminal import Terminal
from jqcli.edge.text import safe

if TYPE_CHECKING:
    from typing import TextIO

    from jqcli.core.tally import Snapshot
    from jqcli.edge.frame import Line


_LINE_MOST = 2000  # characters of a printed line
_MOST_OWED = 1 << 20  # bytes that the terminal may be behind


class LiveScreen:
    """A table that is drawn over itself; it shows itself at the first update and is gone after `close`.

    A terminal that goes away, or does not read, costs the run nothing.
    """

    interval = 0.25
    is_drawn = True

    def __init__(self, stream: TextIO, title: str) -> None:
        self._title = title
        self._terminal = Terminal(stream)
        self._console = _open_console(self._terminal)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            # Redirected streams moved data lines off stdout, which carries results.
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._size = (0, 0)
        self._drawn: list[int] = []
        self._is_away = False
        self._left_out = 0

    def update(self, snapshot: Snapshot) -> None:
        """Draw this moment, unless the terminal has not taken the last one yet."""
        if self.interval == inf:
            return
        try:
            if not self._terminal.is_ours:
                self._is_away = True
            elif not self._terminal.is_behind:
                self._draw(snapshot)
        except OSError:
            self.interval = inf

    def say(self, line: str) -> None:
        """Print a handler's line above the table; lines that a stopped terminal would have to be owed are counted."""
        if self.interval == inf:
            return
        try:
            if self._terminal.owed > _MOST_OWED:
                self._left_out += 1
                return
            self._say_left_out()
            self._console.print(Text(safe(line, _LINE_MOST)), soft_wrap=True)
        except OSError:
            self.interval = inf

    def _say_left_out(self) -> None:
        if self._left_out:
            count, self._left_out = self._left_out, 0
            self._console.print(Text(f"… {count:,} lines left out, as the terminal was too slow"), soft_wrap=True)

    def close(self, snapshot: Snapshot) -> None:  # noqa: ARG002 - the summary says how it ended
        """Wipe the table and show the cursor again."""
        try:
            if self.interval != inf and self._terminal.is_ours:
                self._follow_resize()
                self._say_left_out()
                self._live.stop()
            self._terminal.close()
        except OSError:
            pass
        self.interval = inf

    def _draw(self, snapshot: Snapshot) -> None:
        """Draw one frame; it keeps off the last column and the last line, where terminals wrap and scroll."""
        self._follow_resize()
        width, height = (max(side - 1, 1) for side in self._size)
        lines = [_to_text(line, width) for line in draw(snapshot, self._title, width, height)]
        self._live.start()
        self._live.update(Group(*lines), refresh=True)
        self._drawn = [line.cell_len for line in lines]

    def _follow_resize(self) -> None:
        """Take the terminal's size, and put the cursor where rich believes it: at the end of the last frame.

        A narrower terminal has wrapped the old frame, which is wiped; one that was the shell's meanwhile has
        other lines there, which stay.
        """
        size = self._terminal.size()
        if self._drawn and (self._is_away or size[0] < self._size[0]):
            rows = 1 if self._is_away else sum(max(-(-cells // size[0]), 1) for cells in self._drawn)
            up = f"\x1b[{rows - 1}A" if rows > 1 else ""
            self._terminal.write(f"\r{up}\x1b[J" + "\n" * (len(self._drawn) - 1))
        self._is_away = False
        if size != self._size:
            self._size = self._console.size = size


class _Console(Console):
    """A console whose broken pipe is an OSError; rich would put /dev/null in place of stdout and exit."""

    def on_broken_pipe(self) -> None:
        """Let the error through to the screen."""
        raise  # noqa: PLE0704 - rich calls this inside its except clause


def _open_console(terminal: Terminal) -> Console:
    """Return a console on this terminal; whether it is one was settled, how many colours it has was not."""
    return _Console(
        file=cast("IO[str]", terminal),
        force_terminal=True,
        force_interactive=True,
        force_jupyter=False,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
    )


def _in_ascii(part: tuple[str, str]) -> tuple[str, str]:
    """Return a piece of a line before it is measured, as what takes its place may be longer."""
    piece, style = part
    return plain(piece.replace("━", "-") if style == "rest" else piece), style


def _to_text(line: Line, width: int) -> Text:
    """Return a line as rich's text, cropped to so many cells; markup is never parsed."""
    is_ascii = is_ascii_only()
    pieces = map(_in_ascii, line) if is_ascii else iter(line)
    text = Text.assemble(*((piece, STYLES[style]) for piece, style in pieces), no_wrap=True, overflow="crop")
    text.truncate(width, overflow="crop" if is_ascii else "ellipsis")
    text.rstrip()
    return text
