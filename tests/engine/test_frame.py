"""Laws of the channel: a frame counts when it is whole, and bytes that are no frames are an error at once."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jqcli.engine.frame import HEADER, Decoder, FrameError, Kind, pack

LIGHT = settings(max_examples=80, deadline=None, database=None)
LIMIT = 100
FRAMES = st.lists(st.tuples(st.sampled_from(list(Kind)), st.binary(max_size=LIMIT)), max_size=6)


def write(frames):
    return b"".join(pack(kind, body) for kind, body in frames)


@LIGHT
@given(FRAMES, st.lists(st.integers(0, 700), max_size=10))
def test_any_split_of_the_bytes_gives_the_same_frames(frames, cuts):
    data = write(frames)
    decoder, found, at = Decoder(LIMIT), [], 0
    for cut in [*sorted(cuts), len(data)]:
        found += decoder.feed(data[at : max(at, cut)])
        at = max(at, cut)
    assert found == frames


@LIGHT
@given(FRAMES)
def test_one_byte_at_a_time_gives_the_same_frames(frames):
    decoder = Decoder(LIMIT)
    assert [each for byte in write(frames) for each in decoder.feed(bytes([byte]))] == frames


@LIGHT
@given(FRAMES, st.integers(0, 700))
def test_a_frame_that_is_cut_short_is_not_there(frames, cut):
    found = list(Decoder(LIMIT).feed(write(frames)[:cut]))
    assert found == frames[: len(found)]
    assert len(write(found)) <= cut


def test_parts_are_put_together():
    assert pack(Kind.TOLD, b"a", b"", b"bc") == pack(Kind.TOLD, b"abc")


def test_a_frame_of_the_limit_passes_and_one_over_it_is_an_error_before_its_body_is_there():
    assert list(Decoder(LIMIT).feed(pack(Kind.TOLD, b"x" * LIMIT))) == [(Kind.TOLD, b"x" * LIMIT)]
    with pytest.raises(FrameError):
        list(Decoder(LIMIT).feed(HEADER.pack(LIMIT + 1, Kind.TOLD)))


@pytest.mark.parametrize("kind", sorted(set(range(256)) - {int(kind) for kind in Kind})[::16])
def test_an_unknown_kind_is_an_error(kind):
    with pytest.raises(FrameError):
        list(Decoder(LIMIT).feed(HEADER.pack(0, kind)))


def test_frames_before_garbage_are_given_out_first():
    found = []
    with pytest.raises(FrameError):
        found.extend(Decoder(LIMIT).feed(pack(Kind.TOLD, b"a") + b"\xff" * 10))
    assert found == [(Kind.TOLD, b"a")]


@given(FRAMES, st.integers(0, 700), st.binary(max_size=8), st.lists(st.integers(0, 700), max_size=5))
@example([(Kind.TOLD, b"a")], 0, b"\xff", [])
@example([(Kind.TOLD, b"a")], 5, HEADER.pack(LIMIT + 1, Kind.TOLD), [7])
def test_frames_with_bytes_put_between_are_those_before_them_and_then_frames_or_an_error(frames, at, bytes_, cuts):
    """However the bytes arrive, what comes out is the same, and nothing is given out that was not sent."""
    data = write(frames)
    at = min(at, len(data))
    data = data[:at] + bytes_ + data[at:]

    def read(pieces):
        decoder, found = Decoder(LIMIT), []
        try:
            for piece in pieces:
                found.extend(decoder.feed(piece))
        except FrameError:
            return found, True
        return found, False

    borders = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    whole = read([data])
    assert read([data[a:b] for a, b in pairwise(borders)]) == whole
    assert data.startswith(write(whole[0]))
    before = [frame for n, frame in enumerate(frames) if len(write(frames[: n + 1])) <= at]
    assert whole[0][: len(before)] == before


@LIGHT
@given(st.binary(max_size=64))
def test_bytes_are_frames_or_an_error_and_nothing_else(data):
    try:
        found = list(Decoder(LIMIT).feed(data))
    except FrameError:
        return
    assert data.startswith(write(found))
