"""A handler whose module ends the worker that reads a line with `poison` in it: a failpoint of the preparing."""

import json
import os

from jqcli.engine import runner
from tests.process.deeds import write_line

_prepare = runner.prepare


def prepare(lines, *args, **more):
    if b"poison" in lines.data and not os.path.exists("antidote"):
        write_line("poisoned", str(lines.total))
        os._exit(7)
    return _prepare(lines, *args, **more)


runner.prepare = prepare


def do(payload):
    write_line("log.jsonl", json.dumps(payload))
    return {"payload": payload}
