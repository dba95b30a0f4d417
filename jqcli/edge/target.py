"""Opens files to be written, and refuses links that somebody else may have put in their place."""

from __future__ import annotations

import errno
import os
import stat

from jqcli.errors import FileError

PLANTED = "is a symbolic link in a folder that everybody may write to, and not yours; name the file itself"


def open_target(path: str, flags: int, mode: int = 0) -> int:
    """Return a descriptor of the file at `path`, closed on exec; raises OSError, or FileError for a planted link.

    `flags` and `mode` are those of `os.open`. Only the last part of the path is looked at.
    """
    try:
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    if is_planted_link(path):
        raise FileError(f"{path}: {PLANTED}")
    return os.open(path, flags | os.O_CLOEXEC, mode)


def resolve(path: str) -> str:
    """Return where the file is that is to be replaced; raises OSError, or FileError for a planted link."""
    if is_planted_link(path):
        raise FileError(f"{path}: {PLANTED}")
    return os.path.realpath(path)


def is_planted_link(path: str) -> bool:
    """Tell whether a path is a link that somebody else may have put there; raises OSError.

    Nothing in between is looked at.
    """
    return os.path.islink(path) and is_planted(os.lstat(path), os.stat(os.path.dirname(path) or "."), os.geteuid())


def is_planted(link: os.stat_result, folder: os.stat_result, user: int) -> bool:
    """Tell whether another user than `user` (and the folder's owner) may have put this link into this folder.

    The same as Linux's `fs.protected_symlinks`, which may be off, and stricter where the sticky bit is missing: there
    everybody can replace whatever stands.
    """
    if not folder.st_mode & stat.S_IWOTH:
        return False
    return not folder.st_mode & stat.S_ISVTX or link.st_uid not in (user, folder.st_uid)


def is_laid(fd: int, path: str) -> bool:
    """Tell whether another user may have laid an open file where ours would be, in a folder that all may write to."""
    folder = os.stat(os.path.dirname(path) or ".")
    return bool(folder.st_mode & stat.S_IWOTH) and os.fstat(fd).st_uid not in (os.geteuid(), folder.st_uid)
