"""Levels in front of lines on stderr, where that is systemd's journal: sd-daemon(3), systemd.exec(5)."""

from __future__ import annotations

import os

ERROR, WARNING, INFO = 3, 4, 6


def add_level(text: str, level: int) -> str:
    """Return text for stderr; each of its lines begins with `<level>` where stderr is the journal."""
    if not _is_journal():
        return text
    return "".join(f"<{level}>{line}" for line in text.splitlines(keepends=True))


def _is_journal() -> bool:
    said = os.environ.get("JOURNAL_STREAM")
    if not said:
        return False
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return said == f"{status.st_dev}:{status.st_ino}"
