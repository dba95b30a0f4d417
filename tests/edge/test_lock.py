"""Laws of waiting for another run's end."""

from __future__ import annotations

import pytest

from jqcli.edge import lock
from jqcli.edge.lock import Patience
from jqcli.errors import LockedError


def test_it_is_said_once_for_whom_is_waited_until_patience_ends(monkeypatch):
    monkeypatch.setattr(lock, "_RUN_STEP", 0.0)
    said = []
    patience = Patience(3600.0, say=said.append)
    for _ in range(3):
        patience.wait("a.jsonl: is locked")
    assert said == ["a.jsonl: is locked; waiting for it to end"]
    with pytest.raises(LockedError, match="is locked"):
        Patience(0.0, say=said.append).wait("a.jsonl: is locked")
    assert len(said) == 1
