"""Failpoints: named places just before an effect, where a test lets this process die, write half, or meet an error.

Armed by the variable JQ_RUN_FAILPOINT alone: `NAME:N:ACTION` acts when the place NAME is reached for the Nth time, or
any place with NAME `*`. Off, a place costs one test of a variable, beside a system call; none is passed for every job.
Workers are not armed: the variable is taken out of the environment before the first of them starts.
"""

from __future__ import annotations

import errno
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jqcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

VARIABLE = "JQ_RUN_FAILPOINT"
KILL, TEAR, SHORT = "kill", "tear", "short"  # die before the effect; write half and die; write half and go on
_ACTIONS = (KILL, TEAR, SHORT)


@dataclass(slots=True)
class Failpoint:
    """Where to act, after how many further arrivals, and how: an action's name, or an error's such as ENOSPC."""

    name: str
    left: int
    action: str

    def is_now(self, name: str) -> bool:
        """Count an arrival at a place; tell whether it is the one."""
        self.left -= self.name in (name, "*")
        return self.left == 0 and self.name in (name, "*")

    def act(self, fd: int = -1, data: memoryview | bytes = b"") -> int:
        """Do what was asked for; return how many bytes were written."""
        sent = 0
        if self.action in (TEAR, SHORT):
            sent = os.write(fd, data[: len(data) // 2]) if data else 0
        if self.action in (KILL, TEAR):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.action != SHORT:
            number = getattr(errno, self.action)
            raise OSError(number, os.strerror(number))
        return sent


_armed: Failpoint | None = None


def arm(environment: MutableMapping[str, str]) -> None:
    """Take the variable out of the environment and arm what it says; raises UsageError for what it cannot say."""
    global _armed  # noqa: PLW0603 - what makes it one test of a variable when it is off
    said = environment.pop(VARIABLE, "")
    if not said:
        return
    name, number, action = ([*said.split(":"), "", ""])[:3]
    if not name or not number.isdecimal() or (action not in _ACTIONS and not hasattr(errno, action)):
        raise UsageError(f"{VARIABLE}: {said!r} is not NAME:N:ACTION; it is for jqcli's own tests")
    _armed = Failpoint(name, int(number), action)


def hit(name: str) -> None:
    """Pass a place; raises OSError where a test wants that."""
    if _armed is not None and _armed.is_now(name):
        _armed.act()


def write(name: str, fd: int, data: memoryview) -> int:
    """Pass a place and write as `os.write` does."""
    if _armed is not None and _armed.is_now(name):
        return _armed.act(fd, data)
    return os.write(fd, data)
