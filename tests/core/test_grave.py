"""What is kept of dead jobs: enough for their duplicates, and little."""

from __future__ import annotations

import tracemalloc

import pytest

from jqcli.core.grave import Graves
from jqcli.model import First

COUNT = 5_000


@pytest.mark.parametrize("own_id", ["a", "", 7, 10**30, "\udc80 \u2028 ü"])
def test_a_dead_job_is_found_as_it_was(own_id):
    graves, error = Graves(), {"type": "builtins.KeyError", "message": "no \u2028 ü"}
    graves.add(b"k", own_id, error | {"stacktrace": "x" * 4096})
    assert graves.find(b"k") == First(own_id, "dead", error=error)
    assert b"k" in graves
    assert graves.find(b"j") is None
    assert b"j" not in graves


def test_little_is_kept_of_each():
    """A run whose million jobs all die keeps 200 bytes of each; as objects they took 550."""
    graves = Graves()
    tracemalloc.start()
    for number in range(COUNT):
        graves.add(number.to_bytes(16, "big"), f"jobs:{number}", {"type": "a.B", "message": f"bad {number}"})
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken / COUNT < 250
    graves.add(b"long", "a", {"type": "a.B", "message": "m" * 4096})
    assert len(graves.find(b"long").error["message"]) <= 200


def test_what_an_earlier_run_kept_does_not_replace_what_is_known():
    earlier, graves = Graves(), Graves()
    for key in (b"k", b"j"):
        earlier.add(key, "early", {"type": "t", "message": "m"})
    graves.add(b"k", "late", {"type": "t", "message": "m"})
    for key in (b"k", b"j", b"i"):
        graves.take_over(key, earlier)
    assert [graves.find(key) and graves.find(key).id for key in (b"k", b"j", b"i")] == ["late", "early", None]
