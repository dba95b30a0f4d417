"""Laws of the moments that a chronicle gives to attempts."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from jqcli.chronicle import lay_out

DURATION = st.floats(0, 100)


@given(st.lists(st.tuples(st.booleans(), DURATION), min_size=1, max_size=30), st.floats(0, 5), DURATION)
def test_attempts_that_followed_each_other_get_their_own_times_back(attempts, gap, start):
    """A worker made these, failing or not, with a pause between: all is known but when the good ones began."""
    at, truth = start, []
    for _, duration in attempts:
        truth.append((at, at + duration))
        at += duration + gap
    failed = [(n, *span) for n, (span, (is_bad, _)) in enumerate(zip(truth, attempts, strict=True)) if is_bad]
    good = [n for n, (is_bad, _) in enumerate(attempts) if not is_bad]
    spans = lay_out(good, [attempts[n][1] for n in good], failed, start, at)
    slack = gap * len(attempts) + 1e-6
    for number, (began, end) in zip(good, spans, strict=True):
        assert abs(began - truth[number][0]) <= slack
        assert abs(end - truth[number][1]) <= slack
    merged = sorted([*spans, *((began, end) for _, began, end in failed)])
    for (_, before), (after, _) in pairwise(merged):
        assert after >= before - 1e-6


@given(st.lists(DURATION, max_size=20), DURATION, DURATION)
def test_no_attempt_begins_before_the_worker_was_free_and_none_overlaps(durations, free_at, now):
    spans = lay_out(range(len(durations)), durations, [], free_at, now)
    assert len(spans) == len(durations)
    edge = free_at
    for began, end in spans:
        assert edge - 1e-9 <= began <= end
        edge = end
