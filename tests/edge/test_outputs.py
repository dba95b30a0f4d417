"""Laws of opening: what is refused, or not wanted any more, is not touched."""

from __future__ import annotations

import json

import pytest

from jqcli.edge.outputs import Destination, open_outputs
from jqcli.errors import StopNow

TAG = "5f01ab"
TORN = b'{"id":"torn'


def record(number):
    key = f"{TAG}:{number:032x}"
    return json.dumps({"id": f"j{number}", "key": key, "status": "completed", "result": 1}, separators=(",", ":"))


def letter(number, output):
    key = f"{TAG}:{number:032x}"
    return json.dumps({"id": f"j{number}", "key": key, "reason": "rejected", "job": 1, "output": output})


@pytest.mark.parametrize("reads", [0, 1, 5, 11])
def test_reading_back_ends_within_a_block_when_it_is_not_wanted_and_changes_nothing(tmp_path, reads):
    results, dlq = tmp_path / "results.jsonl", tmp_path / "dlq.jsonl"
    results.write_bytes("".join(record(n) + "\n" for n in range(20_000)).encode() + TORN)
    dlq.write_bytes("".join(letter(n, str(results)) + "\n" for n in range(20_000)).encode() + TORN)
    before = results.read_bytes(), dlq.read_bytes()
    asked = 0

    def is_wanted():
        nonlocal asked
        asked += 1
        return asked <= reads

    place = Destination(str(results), str(dlq), TAG, explain=str, is_wanted=is_wanted)
    with pytest.raises(StopNow):
        open_outputs(place)
    assert asked == reads + 1
    assert (results.read_bytes(), dlq.read_bytes()) == before
    outputs = open_outputs(place._replace(is_wanted=lambda: True))
    assert outputs.settled.count == 40_000
    assert results.read_bytes() + dlq.read_bytes() == b"".join(before).replace(TORN, b"")
    outputs.results.close()
