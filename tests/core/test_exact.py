"""Laws of reading integers of any size."""

from __future__ import annotations

import re

import pytest

from jqcli.core.exact import has_long_digits

LONG = re.compile(rb"[0-9]{19}")


@pytest.mark.parametrize("length", [*range(10, 26), 40])
@pytest.mark.parametrize("before", range(13))
def test_a_run_of_19_digits_is_found_wherever_it_stands_and_nothing_shorter_is(before, length):
    data = b"x" * before + b"7" * length + b"y" * 20 + b"12345678"
    assert has_long_digits(data) == (LONG.search(data) is not None) == (length >= 19)


def test_digits_that_only_look_like_a_run_are_none():
    for step in range(1, 8):
        data = b"".join(b"1" * step + b"." for _ in range(40))
        assert not has_long_digits(data)
