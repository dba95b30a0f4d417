"""Laws of opening: what is refused, or not wanted any more, is not touched."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from jqcli.edge.outputs import Destination, open_outputs
from jqcli.errors import ForeignFileError, StopNow

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


@pytest.mark.parametrize("is_there", [False, True])
def test_a_results_file_that_is_not_used_is_left_as_it_was_found(tmp_path, is_there):
    results, dlq = tmp_path / "results.jsonl", tmp_path / "dlq.jsonl"
    dlq.write_text("never ours\n")
    if is_there:
        results.touch()
    with pytest.raises(ForeignFileError):
        open_outputs(Destination(str(results), str(dlq), TAG, explain=str))
    assert results.exists() == is_there


def test_files_that_are_set_aside_in_one_second_all_stay(tmp_path, monkeypatch):
    class Noon(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 11, 26, 12, tzinfo=tz)

    monkeypatch.setattr("jqcli.edge.outputs.datetime", Noon)
    results, dlq = tmp_path / "results.jsonl", tmp_path / "dlq.jsonl"
    place = Destination(str(results), str(dlq), TAG, explain=str, fresh=True)
    for number in range(3):
        results.write_text(record(number) + "\n")
        dlq.write_text(letter(number, str(results)) + "\n")
        open_outputs(place).results.close()
    kept = {path.read_text() for path in tmp_path.iterdir() if Noon.now(UTC).strftime("%Y%m%dT%H%M%SZ") in path.name}
    wanted = [each for number in range(3) for each in (record(number), letter(number, str(results)))]
    assert kept == {each + "\n" for each in wanted}


def test_results_of_another_command_are_refused_and_it_is_said_what_made_them(tmp_path):
    results = tmp_path / "results.jsonl"
    results.write_text(record(1) + "\n" + record(2).replace(TAG, "abcdef") + "\n")
    place = Destination(str(results), str(tmp_path / "dlq.jsonl"), TAG, explain=lambda tag: f"made by {tag}")
    with pytest.raises(ForeignFileError, match="made by abcdef"):
        open_outputs(place)


def test_of_letters_of_one_key_the_first_jobs_own_says_who_is_dead(tmp_path):
    results, dlq = tmp_path / "results.jsonl", tmp_path / "dlq.jsonl"
    own = letter(7, str(results))
    follower = own.replace('"j7"', '"j8"').replace("rejected", "duplicate_of_dead")
    dlq.write_text(own + "\n" + follower + "\n")
    outputs = open_outputs(Destination(str(results), str(dlq), TAG, explain=str))
    assert [outputs.settled.dead.find(key).id for key in outputs.settled.dead._by_key] == ["j7"]
    outputs.results.close()
