"""Runs a command line of jq-run and kills it with SIGKILL: before its Nth change of a file, or in its Nth write."""

import os
import signal
import stat
import sys

from jqcli.commands import main

CHANGES = ("write", "fdatasync", "fsync", "replace", "unlink", "ftruncate", "fchmod")


def arm(number, how):
    """Let the Nth of the calls that change or sync a regular file be the last of this process."""
    count = 0

    def wrap(name, call):
        def dying(first, *rest, **more):
            nonlocal count
            is_other = how == "half" if name != "write" else not stat.S_ISREG(os.fstat(first).st_mode)
            if is_other:
                return call(first, *rest, **more)
            count += 1
            if count == number:
                if how == "half":
                    data = bytes(rest[0])
                    call(first, data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return call(first, *rest, **more)

        return dying

    for name in CHANGES:
        setattr(os, name, wrap(name, getattr(os, name)))


if __name__ == "__main__":
    arm(int(sys.argv[1]), sys.argv[2])
    sys.exit(main(sys.argv[3:]))
