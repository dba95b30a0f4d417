"""Laws of letters that grow, and of what names them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqcli.core.amend import change_line, parse_change
from jqcli.core.letter import extend_letter, find_members, job_hash_of, letter_of
from jqcli.core.lookup import Lookup, entry

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def line(**members):
    return json.dumps(members, separators=(",", ":")).encode() + b"\n"


OLD = {
    "id": "a",
    "key": "5f01ab:=k",
    "payload_hash": "0" * 32,
    "reason": "duplicate_of_dead",
    "duplicate_of": "z",
    "error": {"type": "KeyError", "message": "old"},
    "attempts": 1,
    "history": [{"attempt": 1}],
    "job": {"id": "a", "key": "k", "payload": 1},
    "source": "jobs.jsonl:8",
    "handler": "tasks.py:old",
    "output": "/out",
    "key_path": "user.id",
    "redrives": 3,
}
NEW = OLD | {
    "reason": "timeout",
    "error": {"type": "JobTimeout", "message": "new"},
    "history": [{"attempt": 1, "at": "now"}],
    "source": "dlq:1",
    "handler": "fixed.py:new",
    "output": "/other",
    "redrives": 0,
}
del NEW["duplicate_of"], NEW["key_path"]


def test_a_letter_grows_by_one_death_and_stays_whose_it_is():
    grown = json.loads(extend_letter(line(**OLD), line(**NEW)))
    assert grown["history"] == OLD["history"] + NEW["history"]
    assert (grown["reason"], grown["error"], grown["redrives"]) == ("timeout", NEW["error"], 4)
    assert "duplicate_of" not in grown
    assert all(grown[name] == OLD[name] for name in ("id", "key", "payload_hash", "job", "source", "handler", "output"))
    assert grown["key_path"] == "user.id"


def test_a_letter_whose_new_one_knows_nothing_of_it_keeps_identity_and_job():
    """A job that kills whoever parses it gets a letter with the hash of its line for a key."""
    new = {name: NEW[name] for name in ("reason", "error", "attempts", "history")}
    blind = line(id="dlq:1", key="5f01ab:" + "f" * 32, **new, raw='{"id":"a"}')
    grown = extend_letter(line(**OLD), blind)
    assert job_hash_of(grown) == job_hash_of(line(**OLD))
    assert json.loads(grown)["job"] == OLD["job"]
    assert "raw" not in json.loads(grown)


def test_a_changed_job_takes_its_new_identity_into_the_letter():
    changed = NEW | {"id": "b", "key": "5f01ab:" + "1" * 32, "job": {"payload": 2}}
    del changed["payload_hash"]
    grown = json.loads(extend_letter(line(**OLD), line(**changed), is_amended=True))
    assert (grown["id"], grown["key"], grown["job"]) == ("b", "5f01ab:" + "1" * 32, {"payload": 2})
    assert "payload_hash" not in grown
    assert (grown["source"], len(grown["history"])) == ("jobs.jsonl:8", 2)


@given(VALUE)
def test_a_job_is_kept_byte_for_byte(value):
    text = json.dumps(value).encode()
    old = line(**{**OLD, "job": 0}).replace(b'"job":0', b'"job":' + text)
    assert find_members(extend_letter(old, line(**NEW)))[b"job"] == text


@given(TEXT | st.integers(), TEXT)
def test_a_result_and_its_letter_have_one_job_hash(name, given_key):
    head = {"id": name, "key": f"5f01ab:={given_key}", "payload_hash": "a" * 32}
    result = json.dumps(head | {"status": "completed"}, ensure_ascii=False, separators=(",", ":")).encode()
    letter = json.dumps(head | {"reason": "timeout", "job": 1}, ensure_ascii=False, separators=(",", ":")).encode()
    assert job_hash_of(result) == job_hash_of(letter)
    assert job_hash_of(result.replace(b"a" * 32, b"b" * 32)) != job_hash_of(letter)


def test_ids_that_orjson_would_round_stay_apart():
    one, other = (b'{"id":1000000000000000000000%d,"key":"5f01ab:=k","reason":"x","job":1}' % n for n in (1, 2))
    assert job_hash_of(one) != job_hash_of(other)
    assert letter_of(one).id.endswith("01")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1000)), unique=True))
def test_a_lookup_gives_each_place_of_a_number_once_and_in_order(pairs):
    lookup = Lookup(entry(number, place) for number, place in pairs)
    for number in range(7):
        places = sorted(place for each, place in pairs if each == number)
        assert lookup.last(number) == (places[-1] if places else None)
        assert (number in lookup) == bool(places)
        half = len(places) // 2
        assert [lookup.take(number) for _ in range(half)] == places[:half]
    left = [entry(number, place) for number, place in pairs]
    assert len(list(lookup.untaken())) == len(left) - sum(
        sum(each == number for each, _ in pairs) // 2 for number in range(7)
    )
    for number in range(7):
        while lookup.take(number) is not None:
            pass
    assert not list(lookup.untaken())


@pytest.mark.parametrize("text", ["", "n", "=1", "a..b=1", "n=", "n={", "n=x"])
def test_what_is_no_change_is_refused(text):
    with pytest.raises(ValueError, match="is no"):
        parse_change(text)


def test_a_change_leaves_all_else_of_the_line():
    job = {"id": "x", "timeout": 3, "payload": {"a": [1, 2.5, 10**30, "é"], "b": {"c": 1}}}
    changed = change_line(json.dumps(job).encode(), (parse_change("b.c=[]"), parse_change("b.d=null")), is_raw=False)
    job["payload"]["b"] = {"c": [], "d": None}
    assert json.loads(changed) == job


@given(VALUE)
def test_the_job_of_a_letter_is_found_as_it_stands(value):
    """Also where the job itself looks like the members around it."""
    for tricky in (value, {"job": value, "source": "x"}, [{"a": 0, "job": 1, "source": "y"}, value]):
        text = json.dumps(tricky, separators=(",", ":")).encode()
        old = line(**{**OLD, "job": 0}).replace(b'"job":0', b'"job":' + text)
        assert letter_of(old).job == text
        moved = b'{"x":{"a":0,"job":1},' + old[1:-2] + b',"tail":[{"a":0,"source":"z"}]}\n'
        assert letter_of(moved).job == text
