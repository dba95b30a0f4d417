"""Writes the report of a run, whole, when that is over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jqcli.edge.report.page import Background, render
from jqcli.edge.whole import replace_file, try_file
from jqcli.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jqcli.core.course import Course
    from jqcli.core.tally import Snapshot

_OFTENEST, _RAREST = 0.1, 1.0  # seconds between two looks


class ReportFile:
    """Looks on as long as the run runs, and writes the page at its end; a killed run leaves what was there before.

    Raises FileError where no file can be written at `path`.
    """

    def __init__(self, path: str, background: Background, course: Course, say: Callable[[str], None]) -> None:
        self._path = path
        self._background = background
        self._course = course
        self._say = say
        self.interval = _OFTENEST
        try:
            try_file(path)
        except OSError as error:
            raise FileError(f"{path}: the report cannot be written: {error.strerror}") from None

    def update(self, snapshot: Snapshot) -> None:
        """Take this moment."""
        self._course.update(snapshot)
        self.interval = min(max(self._course.timeline.width, _OFTENEST), _RAREST)

    def end(self, snapshot: Snapshot, exit_code: int) -> None:
        """Write the page; where that cannot be, it is said, and the run ends as it would have."""
        self._course.update(snapshot)
        try:
            replace_file(self._path, render(self._background, snapshot, self._course, exit_code, time.time()))
        except OSError as error:
            self._say(f"{self._path}: the report could not be written: {error.strerror}")
