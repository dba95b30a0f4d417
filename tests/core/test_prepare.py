"""Laws of preparing: it says the same about every line as the codec does, whatever stands beside it."""

from __future__ import annotations

import json
from itertools import product

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jqcli.core.codec import Scheme, canonical, read_line
from jqcli.core.prepare import ID_SIZE, KEY_SIZE, Lines, id_text, key_member, mark_id, prepare
from jqcli.model import NO_ASKS, Job, Line, Unusable

LIGHT = settings(max_examples=100, deadline=None, database=None)
STEM = 'jo"bs,é'
MARK = "no line holds this"
SOURCE = "in/jobs.jsonl"
SCHEMES = [
    Scheme(),
    Scheme("raw"),
    Scheme("envelope"),
    Scheme(handlers=("a",)),
    Scheme(key_path="n"),
    Scheme(tenant_path="n"),
]

PLAIN = [
    b'{"id":"a","payload":{"n":1}}',
    b'{"payload":{"n":2},"id":"b"}',
    b'{"id":"c","payload":[]}',
    b'{"id":"","payload":null}',
]
RAW = [
    b'{"n":1}',
    b"3",
    b"null",
    b"[]",
    b'"x"',
    b"1.0",
    b"1",
    b'{"n":"s","m":{}}',
    b'{"id":"z"}',
    b"-0",
    b"-0.0",
]
TOGETHER = [
    b'{"a":[{}',
    b"{}]}",
    b"1,2",
    b"1,2,3",
    b"[1",
    b"2]",
    b'"a',
    b'b"',
    b"1]",
    b"[2",
    b",",
    b"1,",
    b",2",
    b"]",
    b"[",
    b"}",
    b"{",
    b'{"a":1',
    b'"b":2}',
]
TWO = [
    b'{"id":"a","payload":1},{"id":"b","payload":2}',
    b'{"id":"a","payload":[{"id":"b","payload":1}',
    b'{"id":"c","payload":2}]}',
    b"1 2",
    b"{}{}",
]
ODD = [
    b"", b" ", b"\r", b"\t", b"\xff", b"\xef\xbb\xbf1", b"\x00", b'"\\ud800"', b"NaN", b"1e400", b"9" * 5000,
    b"nul",
    b'{"id":"a","payload":{"n":123456789012345678901}}', b"123456789012345678901", b'["1234567890123456789"]',
    b'{"id":"a,b","payload":1}', b'{"id":"a\\",\\"b","payload":1}', b'{"id":"\\u002c","payload":1}',
    b'{"id":7,"payload":1}',
    b'{"id":null,"payload":1}', b'{"id":"a","id":"b","payload":1}', b'{"payload":1,"payload":2,"id":"x"}',
    b'{"\\u0069d":"a","payload":1}',
    b'{"payload":1}', b'{"id":"a","payload":1,"x":2}', b'{"id":"a","payload":1,"key":"k"}',
    b'{"key":"k","payload":{"n":2}}',
    b'{"payload":1,"timeout":"1m"}', b'{"payload":1,"not_before":99,"expires":100}',
    b'{"payload":1,"handler":"a"}',
    b'{"payload":1,"handler":"q"}', b'{"payload":1,"meta":{"m":1},"tenant":"t"}', b'{"id":"a","meta":1}',
    b' {"id" : "a" ,"payload": 1 }\r',
    b'{"id":"\xc3\xa9","payload":"\xe2\x80\xa8"}', b'{"n":1.5}', b'{"n":true}', b"[" * 255 + b"]" * 255,
    b"[" * 1000 + b"]" * 1000,
    b"[" * 1001 + b"]" * 1001, b"[" * 1025 + b"]" * 1025,
    b'{"id":"d","payload":' + b"[" * 254 + b"]" * 254 + b"}",
    b'{"id":"d","payload":' + b"[" * 255 + b"]" * 255 + b"}",
]  # fmt: skip
LINES = st.one_of(
    st.lists(st.sampled_from(PLAIN), min_size=1, max_size=6),
    st.lists(st.sampled_from(RAW), min_size=1, max_size=6),
    st.lists(st.sampled_from(TOGETHER + TWO + PLAIN[:1] + RAW[:2]), min_size=1, max_size=5),
    st.lists(st.sampled_from(PLAIN + RAW + ODD), min_size=1, max_size=6),
    st.tuples(st.lists(st.sampled_from(PLAIN), max_size=4), st.sampled_from(ODD + RAW + TWO)).map(
        lambda both: [*both[0], both[1]]
    ),
    st.lists(st.binary(max_size=12).map(lambda data: data.replace(b"\n", b"")), min_size=1, max_size=4),
)


def prepare_lines(lines, scheme, first_line, *, with_ids):
    data = b"".join(line + b"\n" for line in lines)
    block = Lines(data, len(lines), SOURCE, STEM, first_line)
    return prepare(block, scheme, with_ids=with_ids, mark=MARK)


def check_against_codec(lines, scheme, first_line=5, *, with_ids=True):
    """Hold a whole batch against the codec, line by line."""
    found = prepare_lines(lines, scheme, first_line, with_ids=with_ids)
    notes = dict(found.notes)
    assert [index for index, _ in found.notes] == sorted(notes)
    assert len(found.payloads) == len(found.ids) == len(found.keys) == len(lines)
    assert len(found.digests) == KEY_SIZE * len(lines)
    assert len(found.hashes) in (0, KEY_SIZE * len(lines))
    if with_ids:
        assert len(found.own_ids) == ID_SIZE * len(lines)
    for index, data in enumerate(lines):
        job = read_line(Line(SOURCE, STEM, first_line + index, data), scheme)
        key = found.digests[KEY_SIZE * index : KEY_SIZE * (index + 1)]
        payload_hash = found.hashes[KEY_SIZE * index : KEY_SIZE * (index + 1)] or bytes(KEY_SIZE)
        own_id = found.own_ids[ID_SIZE * index : ID_SIZE * (index + 1)]
        note = notes.get(index)
        if isinstance(job, Job):
            assert canonical(found.payloads[index]) == canonical(job.payload)
            assert (found.ids[index], found.keys[index], key) == (id_text(job.id), key_member(job), job.key)
            assert payload_hash == (job.payload_hash or bytes(KEY_SIZE))
            assert found.asks.get(index, NO_ASKS) == job.asks
            if with_ids:
                assert own_id == mark_id(id_text(job.id) if job.has_own_id else b"")
            names = ("handler", "timeout", "not_before", "expires")
            asked = {name: getattr(job.asks, name) for name in names if getattr(job.asks, name) is not None}
            assert note == ({"asks": asked} if asked else None)
            continue
        assert found.payloads[index] is None
        assert index not in found.asks
        if isinstance(job, Unusable):
            assert (note, key) == ({"reason": job.reason, "message": job.message}, job.key)
        else:
            assert note == {"blank": True}


@LIGHT
@given(LINES, st.sampled_from(SCHEMES), st.booleans())
def test_a_batch_says_of_every_line_what_the_codec_says(lines, scheme, with_ids):
    check_against_codec(lines, scheme, with_ids=with_ids)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = (
    "id",
    "payload",
    "key",
    "handler",
    "tenant",
    "timeout",
    "max_attempts",
    "not_before",
    "expires",
    "cost",
    "meta",
)
DOCUMENTS = st.one_of(
    VALUES,
    st.fixed_dictionaries({"id": st.text(max_size=4), "payload": VALUES}),
    st.dictionaries(st.sampled_from(MEMBERS) | st.text(max_size=3), VALUES, max_size=4),
)


@st.composite
def spoilt(draw):
    """Return the text of a document, as written by one or the other, and now and then with bytes changed."""
    document = draw(DOCUMENTS)
    separators = draw(st.sampled_from([(",", ":"), (" , ", ": ")]))
    line = json.dumps(document, ensure_ascii=draw(st.booleans()), separators=separators).encode("utf-8", "replace")
    if draw(st.integers(0, 3)) == 0:
        at, size = draw(st.integers(0, len(line))), draw(st.integers(0, 3))
        line = line[:at] + draw(st.binary(max_size=3)) + line[at + size :]
    return line.replace(b"\n", b" ")


@given(lines=st.lists(spoilt(), min_size=1, max_size=5), scheme=st.sampled_from(SCHEMES), with_ids=st.booleans())
@example(lines=[b'{"id":"a","payload":1}\r', b" "], scheme=Scheme(), with_ids=True)
@example(lines=[b'"' + MARK.encode() + b'"', b"1"], scheme=Scheme(), with_ids=False)
@example(lines=[b'{"payload":{"n":1e0}}', b'{"payload":{"n":18446744073709551616}}'], scheme=Scheme(), with_ids=True)
def test_the_block_way_the_line_way_and_the_careful_way_agree_on_any_lines(lines, scheme, with_ids):
    check_against_codec(lines, scheme, with_ids=with_ids)


@pytest.mark.parametrize(
    "lines",
    [
        [b'{"a":[{}', b"{}]}", b"1,2"],
        [b'{"a":[{}', b"{}]}", b"1,2,3"],
        [b"1,2,3", b'{"a":[{}', b"{}]}"],
        [b'{"a":[{}', b'{}]},{"b":1},{"c":2}'],
        [b'{"id":"a","payload":[1', b"2]}", b'{"id":"b","payload":1},{},{"id":"c","payload":2}'],
        [b"1,2", b'{"a":[{}', b"{}]}"],
        [b"1,2", b"[3", b"4]"],
        [b'"a', b'b"', b"1,2"],
        [b"1]", b"[2"],
        [b"1],[1", b"2"],
        [b'{"a":1', b'"b":2}', b"1,2"],
        [
            b'{"id":"a","payload":[{"id":"b","payload":1}',
            b'{"id":"c","payload":2}]}',
            b'{"id":"d","payload":1},{"id":"e","payload":2}',
        ],
        [
            b'{"id":"a","payload":1},{"id":"b","payload":2}',
            b'{"id":"a","payload":{"id":"c"',
            b'"payload":1}}',
        ],
        [b"", b"1,2"],
        [b"1", b"", b"2"],
        [b" ", b" "],
        [b'{"id":"a,b","payload":1}', b'{"id":"c","payload":1}'],
        [b'{"id":"a","payload":1}', b'{"payload":{"id":"a"}}'],
        [b'{"n":1}', b'{"id":"a","payload":1}'],
        [b'{"id":"a","payload":1}', b'{"id":"a","meta":1}'],
        [b'{"id":"a","payload":1}\r', b'{"id":"b","payload":2} '],
        [b'{"id":"a","payload":1234567890123456789}', b'{"id":"b","payload":12345678901234567890123}'],
        [b"-0", b"-0.0", b"0"],
        [b"1,,2", b"3"],
        [b"null,null", b"[null", b"null]"],
        [b'{"id":"a","payload":"\\"}', b'{\\""}', b'{"id":"x","payload":1},{"id":"y","payload":2}'],
        [b"[1//", b"2]"],
        [b"{}\x0b", b"\x0c", b"\x85"],
    ],
)
@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_lines_that_are_only_valid_together_are_each_judged_alone(lines, scheme):
    check_against_codec(lines, scheme)


@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_every_odd_line_is_judged_alike_alone_and_beside_plain_ones(scheme):
    for odd, plain in product([*ODD, *TOGETHER, *TWO], [None, PLAIN[0], RAW[0]]):
        check_against_codec([odd] if plain is None else [plain, odd, plain], scheme)


@pytest.mark.parametrize(
    "hostile",
    [
        b'{"id":"x","payload":[{}',
        b"1,2",
        b"",
        b"123456789012345678901",
        b"[" * 255 + b"]" * 255,
        b'{"payload":1}',
    ],
)
@pytest.mark.parametrize("place", [0, 255, 256, 999])
def test_one_odd_line_in_a_large_batch_changes_nothing_for_the_others(hostile, place):
    lines = [b'{"id":"j%d","payload":{"n":%d}}' % (n, n) for n in range(1000)]
    lines[place] = hostile
    check_against_codec(lines, Scheme())


def test_made_up_ids_are_marked_by_zeros_and_own_ids_are_not():
    made = prepare_lines([b"1", b"2"], Scheme(), 3, with_ids=True)
    assert made.own_ids == bytes(2 * ID_SIZE)
    assert made.ids == [orjson.dumps(f"{STEM}:3"), orjson.dumps(f"{STEM}:4")]
    own = prepare_lines([b'{"id":"a","payload":1}'], Scheme(), 3, with_ids=True)
    assert own.own_ids == mark_id(b'"a"') != bytes(ID_SIZE)
