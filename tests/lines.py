"""Lines as an input has them, the jobs that they are, and lines as a run writes them; for tests of what is between."""

from __future__ import annotations

import json

from jqcli.core.codec import Scheme, read_line
from jqcli.model import Line


def line_of(text, number=8):
    return Line("jobs.jsonl", "jobs", number, text if isinstance(text, bytes) else text.encode())


def job_of(text):
    return read_line(line_of(text), Scheme(handlers=("slow",)))


def written(data):
    assert data.endswith(b"\n")
    assert data.count(b"\n") == 1
    return json.loads(data)
