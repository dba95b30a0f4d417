"""Laws of what an engine is told once."""

from __future__ import annotations

import sys

from jqcli.core.codec import Scheme
from jqcli.engine.setup import Setup, pack_setup, unpack_setup
from jqcli.policy import Policy

SPECS = {None: ("m:f", Policy(timeout=2.0, retry_on=("OSError",))), "slow": ("h.py:g", Policy())}


def test_a_setup_survives_its_trip():
    setup = Setup(
        "5f01ab", Scheme("raw", "user.id", "t", ("slow",)), ("a/jobs.jsonl", "-"), ("jobs", "stdin"), 4096, 1e9
    )
    assert unpack_setup(pack_setup(setup, SPECS)) == (setup, SPECS, sys.path)


def test_a_source_whose_name_is_no_utf_8_can_be_told():
    name = b"\xff.jsonl".decode("utf-8", "surrogateescape")
    setup = Setup("5f01ab", Scheme(), (name,), (name.removesuffix(".jsonl"),), 4096)
    assert len(unpack_setup(pack_setup(setup, SPECS))[0].names) == 1
