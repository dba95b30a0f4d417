"""What a handler forks must never write into the results."""

import json

FORKS = """
import os
def work(payload):
    return "child" if os.fork() == 0 else "parent"
"""


def test_a_forked_child_that_returns_into_the_worker_writes_no_record(folder):
    (folder.path / "forks.py").write_text(FORKS)
    (folder.path / "jobs.jsonl").write_text("".join(f"{number}\n" for number in range(20)))
    folder.run("jobs.jsonl", "-H", "forks.py:work", "-o", "results.jsonl", code=0, deed=False, is_calm=False)
    records = [json.loads(line) for line in (folder.path / "results.jsonl").read_text().splitlines()]
    assert [record["result"] for record in records] == ["parent"] * 20
    assert len({record["id"] for record in records}) == 20
