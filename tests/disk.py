"""A disk that can lose its power: notes what is written, synced and named, and tells what may be left of it.

Each file is on the disk as far as it was synced, with an arbitrary part of what was done to it since; so are the names
in the folder. Stands in for the module `os` where the sinks use it; what it is asked is done as well.
"""

from __future__ import annotations

import os
from typing import NamedTuple


class Op(NamedTuple):
    """One thing that was done: write, truncate, sync, name, rename (`data` is the old name), unname, place or told.

    A `place` is a sync of the folder.

    `file` is the number of an inode, `name` a file's name in the folder, `data` bytes written, or a size. `log` is how
    long the side-effect log was then.
    """

    kind: str
    file: int = 0
    name: str = ""
    data: bytes = b""
    size: int = 0
    log: int = 0


def nothing(most):
    """Choose that nothing is left of what was not synced."""
    return 0


def everything(most):
    """Choose that all of it is: what a mere kill of the process leaves."""
    return most


class Disk:
    """Records all operations below one folder. `initial` is there already: synced, or not even that."""

    def __init__(self, folder, initial=None, *, is_synced=True):
        self.folder = str(folder)
        self.ops = []
        self._files = {}  # by descriptor
        self._inodes = {}  # by (st_dev, st_ino)
        self._direct = set()  # files that are written through this object alone
        for name, data in (initial or {}).items():
            (folder / name).write_bytes(data)
            file = self._file_of(os.stat(folder / name))
            self._note("name", file, name)
            self._note("write", file, data=data)
            self._direct.add(file)
            if is_synced:
                self._note("sync", file)
                self._note("place")

    def __getattr__(self, name):
        return getattr(os, name)

    def _file_of(self, status):
        return self._inodes.setdefault((status.st_dev, status.st_ino), len(self._inodes) + 1)

    def _note(self, kind, file=0, name="", *, data=b"", size=0):
        log = os.path.join(self.folder, "log.jsonl")
        self.ops.append(Op(kind, file, name, data, size, os.path.getsize(log) if os.path.exists(log) else 0))

    def tell(self, names):
        """Note that all that was written to these files counts as done now."""
        self._note("told", name=" ".join(names))

    # In place of the module `os`

    def open(self, path, flags, mode=0o777):
        is_new = bool(flags & os.O_CREAT) and not os.path.exists(path)
        fd = os.open(path, flags, mode)
        self._files[fd] = None if flags & os.O_DIRECTORY else self._file_of(os.fstat(fd))
        if is_new:
            self._note("name", self._files[fd], os.path.basename(path))
        return fd

    def close(self, fd):
        self._files.pop(fd, None)
        os.close(fd)

    def write(self, fd, data):
        written = os.write(fd, data)
        self._note("write", self._files[fd], data=bytes(data[:written]))
        self._direct.add(self._files[fd])
        return written

    def ftruncate(self, fd, size):
        os.ftruncate(fd, size)
        self._note("truncate", self._files[fd], size=size)

    def fdatasync(self, fd):
        self._catch_up()
        self._note("sync", self._files[fd])

    def fsync(self, fd):
        file = self._files[fd]
        self._note("sync" if file else "place", file or 0)

    def unlink(self, path):
        os.unlink(path)
        self._note("unname", name=os.path.basename(path))

    def link(self, path, target):
        os.link(path, target)
        self._note("name", self._file_of(os.stat(target)), os.path.basename(target))

    def rename(self, path, target):
        os.rename(path, target)
        self._note("rename", name=os.path.basename(target), data=os.path.basename(path).encode())

    def replace(self, path, target):
        self._catch_up()
        self.rename(path, target)

    def _catch_up(self):
        """Note what was written through objects of open(), which ask the module for their descriptor alone."""
        for name in os.listdir(self.folder):
            path = os.path.join(self.folder, name)
            file = self._inodes.get((os.stat(path).st_dev, os.stat(path).st_ino))
            if file is not None and file not in self._direct:
                with open(path, "rb") as there:
                    new = there.read()[len(self._content(file, self.ops, everything)) :]
                if new:
                    self._note("write", file, data=new)

    # What is left

    def cut(self, point, choose):
        """Return {name: bytes} after a power cut behind `point` operations.

        `choose(most)` says how much of something unsynced is there after all, of 0 to `most`.
        """
        past = self.ops[:point]
        names = {}
        for op in _kept([op for op in past if op.kind in ("name", "rename", "unname", "place")], "place", choose):
            if op.kind == "name":
                names[op.name] = op.file
            elif op.kind == "rename":
                names[op.name] = names.pop(op.data.decode())
            else:
                names.pop(op.name, None)
        contents = {file: self._content(file, past, choose) for file in sorted(set(names.values()))}
        return {name: contents[file] for name, file in names.items()}

    def _content(self, file, past, choose):
        data = b""
        mine = [op for op in past if op.file == file and op.kind in ("write", "truncate", "sync")]
        kept = _kept(mine, "sync", choose)
        for op in kept:
            data = data[: op.size] if op.kind == "truncate" else data + op.data
        rest = [op for op in mine if op.kind != "sync"][len(kept) :]
        if rest and rest[0].kind == "write":
            data += rest[0].data[: choose(len(rest[0].data) - 1)]
        return data

    def sure(self, point):
        """Return what survives whatever happens."""
        return self.cut(point, nothing)

    def told(self, point):
        """Return {name: bytes} that counted as done behind `point` operations, at the least."""
        found = {}
        for at, op in enumerate(self.ops[:point]):
            if op.kind == "told":
                there = self.cut(at, everything)
                found |= {name: there.get(name, b"") for name in op.name.split()}
        return found


def _kept(ops, sync, choose):
    """Return the operations up to the last sync, and some of those after it."""
    last = max((at for at, op in enumerate(ops) if op.kind == sync), default=-1)
    after = ops[last + 1 :]
    return [op for op in ops[: last + 1] if op.kind != sync] + after[: choose(len(after))]
