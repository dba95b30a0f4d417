"""A worker's own work without a parent: floor_script.py INPUT OUTPUT HANDLER PART PARTS.

It prepares and runs every PARTS-th block of the input with the code of a worker, and writes the records itself. Nobody
rules, sends or waits: what so many of these take side by side is what a run cannot go below.
"""

import os
import sys
from contextlib import ExitStack

import handlers

from jqcli.core.codec import Scheme
from jqcli.engine import frame
from jqcli.engine.frame import Kind
from jqcli.engine.handler import Handler
from jqcli.engine.memory import HEAD, Memory, Writer, create_file
from jqcli.engine.runner import Runner
from jqcli.engine.setup import Setup
from jqcli.policy import Policy

BLOCK_LINES = 1000


def main():
    source, output, name = sys.argv[1:4]
    part, parts = map(int, sys.argv[4:6])
    fd = create_file()
    memory, writer = Memory(fd), Writer(fd)
    results = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def send(_):
        for records in memory.take(memory.words[HEAD]):
            os.write(results, records)
        memory.free()

    handler = Handler(name, getattr(handlers, name), wants_ctx=False, policy=Policy(), exit=ExitStack())
    setup = Setup("5f01ab", Scheme(), ("jobs.jsonl",), ("jobs",), 1 << 24)
    runner = Runner(setup, {None: handler}, writer, send)
    with open(source, "rb") as lines:
        size = BLOCK_LINES * len(lines.readline())  # all lines are of one length
        for number in range(part, -(-os.path.getsize(source) // size), parts):
            block = os.pread(lines.fileno(), size, number * size)
            first = frame.PREPARE.pack(number, 1 + number * BLOCK_LINES, block.count(b"\n"), 0, 0)
            runner.handle(Kind.PREPARE, first)
            runner.handle(Kind.LINES, block)
            runner.handle(Kind.RUN, frame.BATCH.pack(number))


if __name__ == "__main__":
    main()
