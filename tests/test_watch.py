"""Laws of what wakes a loop: it is there while it is wanted, and not any longer."""

from __future__ import annotations

import os
import selectors

import pytest

from jqcli.watch import Watch


@pytest.fixture
def scene():
    (read, write), selector = os.pipe(), selectors.DefaultSelector()
    yield read, write, selector, Watch(selector, write)
    selector.close()
    os.close(read)
    os.close(write)


def test_a_stream_wakes_it_only_while_it_is_behind(scene):
    _, write, selector, watch = scene
    for is_behind in (False, True, True, False, False, True):
        watch.watch_output(is_behind=is_behind)
        assert (write in selector.get_map()) is is_behind
        assert bool(selector.select(0)) is is_behind, "a pipe with room takes more"


def test_the_input_wakes_it_only_while_more_of_it_is_wanted(scene):
    read, write, selector, watch = scene
    os.write(write, b"1\n")
    for fd in (None, read, read, None, read):
        watch.watch_input(fd)
        assert (read in selector.get_map()) is (fd is not None)
        assert bool(selector.select(0)) is (fd is not None)
    watch.wait(60.0)
