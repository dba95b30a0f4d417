"""Where the running runs of a user are to be found, and which of them still run.

A run keeps a status file in the user's runtime directory while it lives. What a killed run leaves there is told by
the process that wrote it: its number, and when it began.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import NamedTuple

_SUFFIX = ".json"


class Birth(NamedTuple):
    """What tells a process from a later one with its number: the boot, the namespace of numbers, and the start."""

    boot: str
    namespace: str
    ticks: str


def own_folder() -> str | None:
    """Return the folder for a run's own status file, made where it is missing; None where none can be trusted."""
    return next((folder for folder in _folders()[:1] + _folders()[-1:] if _is_made(folder)), None)


def status_paths() -> list[str]:
    """Return the status files that runs of this user have left, of a login session and of cron alike."""
    paths: list[str] = []
    for folder in _folders():
        if _is_ours(folder):
            with suppress(OSError):
                paths += [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(_SUFFIX)]
    return paths


def status_path(folder: str, run: str) -> str:
    """Return the path of a run's own status file."""
    return os.path.join(folder, f"{run}{_SUFFIX}")


def birth_of(pid: int) -> Birth | None:
    """Return when a process began; None where there is none, or it is only waiting to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()
    except OSError:
        return _birth_without_proc(pid)
    return None if words[0] in (b"Z", b"X") else Birth(_boot(), _namespace(), words[19].decode())


def is_alive(pid: int, birth: Birth) -> bool | None:
    """Tell whether the process that began so still runs; None where that cannot be seen from here."""
    if birth.namespace != _namespace() and birth.boot == _boot():
        return None
    return birth_of(pid) == birth


def _folders() -> list[str]:
    """Return where status files may be, the best place first; cron has no runtime directory in its environment."""
    uid = os.getuid()
    said = os.environ.get("XDG_RUNTIME_DIR", "")
    first = [os.path.join(said, "jqcli")] if os.path.isabs(said) else []
    places = [*first, f"/run/user/{uid}/jqcli", f"/tmp/jqcli-{uid}"]  # noqa: S108 - its owner and mode are checked
    return list(dict.fromkeys(places))


def _is_made(folder: str) -> bool:
    with suppress(OSError):
        os.mkdir(folder, 0o700)
    return _is_ours(folder)


def _is_ours(folder: str) -> bool:
    """Tell whether a folder is the user's own and nobody else's; a link to one is not."""
    try:
        status = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077


def _birth_without_proc(pid: int) -> Birth | None:
    """Tell at least whether there is such a process, where the kernel has no /proc."""
    if os.path.exists("/proc/self/stat"):
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return Birth("", "", "")


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
