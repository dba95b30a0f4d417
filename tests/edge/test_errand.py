"""Laws of work beside the run: however it ends, that is told, and whoever waits hears of it."""

from __future__ import annotations

import threading

import pytest

from jqcli.edge.errand import Errand


@pytest.mark.parametrize("has_threads", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_its_end_is_told_once_and_its_error_comes_with_each_wait(monkeypatch, has_threads, fails):
    def work():
        if fails:
            raise OSError("no room")
        return 7

    def refuse(_):
        raise RuntimeError("can't start new thread")

    if not has_threads:
        monkeypatch.setattr(threading.Thread, "start", refuse)
    ended = []
    errand = Errand(work, lambda: ended.append(1))
    for _ in range(2):
        if fails:
            with pytest.raises(OSError, match="no room"):
                errand.wait()
        else:
            assert errand.wait() == 7
    assert (ended, errand.is_over) == ([1], True)
