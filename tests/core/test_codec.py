"""Laws of the codec: what a line is, and that distinct payloads never get one key."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jqcli.core.codec import Scheme, hash_bytes, key_of_text, make_tag, read_line
from jqcli.core.exact import depth_of
from jqcli.model import NO_ASKS, Job, Line, Unusable

LIGHT = settings(max_examples=80, deadline=None, database=None)

WORDS = st.one_of(
    st.sampled_from(["", "a", "b", "é", "e\u0301", "1", "1.0", "\u2028", "\x00", "\U0001f600", "\uffff"]),
    st.text(max_size=3),
)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**20, 10**20 + 1]),
    st.integers(-(10**40), 10**40),
    st.sampled_from([10**308, 10**309, 10**309 + 1, -(10**309), 10**4299, 10**4300 - 1, 1 - 10**4300]),
    st.sampled_from([0.0, -0.0, 1.0, 0.1, 1e22, 1e-7, 5e-324, 1.7976931348623157e308]),
    st.floats(allow_nan=False, allow_infinity=False),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=6,
)


def read(text, scheme=Scheme(), number=7):  # noqa: B008 - frozen
    data = text if isinstance(text, bytes) else text.encode()
    return read_line(Line("in/jobs.jsonl", "jobs", number, data), scheme)


def key_of(text):
    job = read(text, Scheme("raw"))
    assert isinstance(job, Job), job
    return job.key


def strict(value):
    """Return what distinguishes payloads, by another program than the one that is tested."""
    return json.dumps(value, sort_keys=True)


def nest(levels, core="1"):
    return "[" * levels + core + "]" * levels


def why(text, scheme=Scheme()):  # noqa: B008 - frozen
    found = read(text, scheme)
    assert isinstance(found, Unusable), found
    assert found.reason == "invalid_job"
    return found.message


# Keys


@pytest.mark.parametrize(
    "one, other",
    [
        ("123456789012345678901", "123456789012345678902"),
        ("[123456789012345678901]", "[123456789012345678902]"),
        ('{"id":18446744073709551616}', '{"id":18446744073709551617}'),
        ("18446744073709551615", "18446744073709551616"),
        ("18446744073709551616", "18446744073709551616.0"),
        ("1e20", "100000000000000000000"),
        ("1", "1.0"),
        ("1", '"1"'),
        ("1", "true"),
        ("0", "false"),
        ("0", "-0.0"),
        ("0.0", "-0.0"),
        ("[]", "{}"),
        ("null", '"null"'),
        ('"\u00e9"', '"e\u0301"'),
        ('{"\u00e9":1}', '{"e\u0301":1}'),
        ('"a"', '"A"'),
        ("[1,[2]]", "[[1],2]"),
        ("[1,2]", "[2,1]"),
        ("[123456789012345678901,1]", "[123456789012345678901,1.0]"),
        ("[123456789012345678901,0.0]", "[123456789012345678901,-0.0]"),
        ('["~[1]"]', '"~[1]"'),
        (nest(300, "1"), nest(300, "1.0")),
        (nest(300), nest(301)),
        (nest(254), nest(255)),
        (nest(900, '"\u00e9"'), nest(900, '"e\u0301"')),
        (nest(400, "123456789012345678901"), nest(400, "123456789012345678902")),
        ("0.1", "0.10000000000000002"),
        ("9007199254740993", "9007199254740992"),
        ("12345678901234567890", "12345678901234567890.0"),
    ],
)
def test_distinct_payloads_have_distinct_keys(one, other):
    assert key_of(one) != key_of(other)


@pytest.mark.parametrize(
    "one, other",
    [
        ('{"a":1,"b":2}', '{"b":2,"a":1}'),
        ('{"a":1,"b":[2,3]}', ' { "a" : 1 ,\t"b" : [ 2 , 3 ] } \r'),
        ('"\u00e9/\\n"', '"\\u00e9\\/\\u000a"'),
        ('{"\\u0061":1}', '{"a":1}'),
        ("1.0", "1e0"),
        ("1.0", "10E-1"),
        ("[100.0]", "[1e+2]"),
        ('{"a":1,"a":2}', '{"a":2}'),
        ('{"a":{"b":1},"a":{"c":1}}', '{"a":{"c":1}}'),
        ('{"n":123456789012345678901,"a":1,"a":2}', '{"a":2, "n":123456789012345678901}'),
        ('{"n":123456789012345678901,"\\u00e9":1e0}', '{"\u00e9":1.0,"n":123456789012345678901}'),
        ("-0", "0"),
        ("1.0000000000000000000000", "1.0"),
        (nest(300), nest(300, " 1 ")),
        ('"\\ud83d\\ude00"', '"\U0001f600"'),
    ],
)
def test_spellings_of_one_payload_have_one_key(one, other):
    assert key_of(one) == key_of(other)


@LIGHT
@given(VALUES, VALUES)
def test_two_payloads_have_one_key_exactly_when_they_are_one_value(one, other):
    assert (key_of(json.dumps(one)) == key_of(json.dumps(other))) == (strict(one) == strict(other))


@LIGHT
@given(VALUES, st.integers(0, 2**32))
def test_order_of_members_spaces_and_escapes_do_not_matter(value, seed):
    def shuffle(item):
        if isinstance(item, dict):
            names = list(item)
            random.Random(seed).shuffle(names)
            return {name: shuffle(item[name]) for name in names}
        return [shuffle(each) for each in item] if isinstance(item, list) else item

    spelled = json.dumps(shuffle(value), ensure_ascii=bool(seed % 2), separators=(" , ", " : "))
    assert key_of(spelled) == key_of(json.dumps(value))


@LIGHT
@given(VALUES)
def test_the_handler_gets_the_very_value_that_the_line_holds(value):
    job = read(json.dumps({"payload": value}))
    assert strict(job.payload) == strict(value)


def test_an_integer_of_4300_digits_is_exact_and_a_longer_one_is_not_json():
    one, other = "1" * 4300, "1" * 4299 + "2"
    assert read(one).payload == int(one)
    assert read(one).key != read(other).key
    assert read("-" + one).payload == -int(one)
    assert read(one + "1").message == "not JSON (an integer of 4,301 digits; 4,300 are the most)"


@pytest.mark.parametrize("text", ['"\\u0030' + "1" * 400 + '"', "1" * 400 + "e-200", "0." + "0" * 400 + "1"])
def test_what_stands_beside_an_endless_integer_is_read_as_ever(text):
    assert read(f"[{'7' * 400},{text}]").payload == [int("7" * 400), json.loads(text)]


def test_a_large_integer_outside_the_payload_does_not_change_the_key():
    plain = read('{"id":"a","payload":{"n":1}}')
    large = read('{"id":123456789012345678901,"payload":{"n":1}}')
    assert large.id == 123456789012345678901
    assert large.key == plain.key


def test_an_envelope_and_a_bare_payload_share_the_key():
    assert read('{"payload":{"n":1},"id":"x","meta":3}').key == read('{"n":1}').key


def test_the_key_of_an_unusable_line_hashes_its_bytes_behind_a_mark():
    for text in (b"{", b'{"payload":1,"x":2}', b"\xff"):
        assert read(text).key == hash_bytes(b"!" + text)


def test_a_given_key_is_shown_as_given_and_carries_the_hash_of_its_payload():
    job = read('{"payload":{"n":1},"key":"order-7"}')
    assert (job.key_text, job.payload_hash) == ("=order-7", read('{"n":1}').key)
    assert read('{"payload":{"n":2},"key":"order-7"}').key == job.key
    assert read('{"payload":{"n":1},"key":7}').key_text == "=7"


def test_a_handler_of_its_own_is_part_of_a_lines_identity():
    scheme = Scheme(handlers=("a", "b"))
    texts = ('{"payload":1}', '{"payload":1,"handler":"a"}', '{"payload":1,"handler":"b"}')
    assert len({read(text, scheme).key for text in texts}) == 3
    texts = tuple(text[:-1] + ',"key":"k"}' for text in texts)
    assert len({read(text, scheme).key for text in texts}) == 3


def test_a_given_key_never_meets_a_hash():
    assert read('{"payload":1,"key":"x"}').key != read("1").key
    text = read("1").key.hex()
    assert read(f'{{"payload":2,"key":"{text}"}}').key != read("1").key


@pytest.mark.parametrize(
    "text",
    ['{"payload":1,"handler":"a"}', '{"payload":1,"handler":"a","key":"k"}', "1", '{"payload":1,"key":"k"}'],
)
def test_the_key_in_a_record_leads_back_to_the_identity(text):
    job = read(text, Scheme(handlers=("a",)))
    assert key_of_text(job.key_text) == job.key


def test_a_text_that_is_no_key_is_refused():
    for text in ("", "abc", "0" * 31, "g" * 32):
        with pytest.raises(ValueError, match=r"."):
            key_of_text(text)


def test_the_tag_tells_handler_key_and_format_apart():
    tags = {make_tag(h, k, f) for h in ("m:f", "m:g") for k in (None, "id") for f in ("auto", "raw")}
    assert len(tags) == 8
    assert all(len(tag) == 6 and int(tag, 16) >= 0 for tag in tags)


def test_a_key_path_takes_strings_and_integers_from_the_payload():
    scheme = Scheme(key_path="user.id")
    assert read('{"user":{"id":"anna"}}', scheme).key_text == "=anna"
    assert read('{"payload":{"user":{"id":7}}}', scheme).key_text == "=7"
    assert read('{"payload":{"user":{"id":7}},"key":"own"}', scheme).key_text == "=own"
    for text in (
        '{"user":{}}',
        '{"user":{"id":1.5}}',
        '{"user":{"id":true}}',
        '{"user":{"id":null}}',
        "3",
        "[]",
    ):
        assert "--key user.id" in why(text, scheme)


def test_a_tenant_path_reads_the_payload_and_minds_nothing_missing():
    scheme = Scheme(tenant_path="t")
    assert read('{"t":"x"}', scheme).asks.tenant == "x"
    assert read('{"payload":{"t":"x"},"tenant":3}', scheme).asks.tenant == 3
    assert read('{"t":[1]}', scheme).asks.tenant is None
    assert read("5", scheme).asks.tenant is None


# Lines


@pytest.mark.parametrize("text", [b"", b" ", b"\r", b"\t \r"])
def test_a_blank_line_is_nothing(text):
    assert read(text) is None


@pytest.mark.parametrize(
    "text",
    [
        b"{", b"nul", b"1 2", b"[1,]", b"{'a':1}", b"NaN", b"Infinity", b"1e400", b"01", b'"\x01"', b"\xff",
        b'"\xff"',
        b'"\\ud800"', b"\xef\xbb\xbf1", b"\x00", b"{}{}", b'{"a":[{}', b"{}]}", b"1,2", b'"a', b"[" * 100_000,
        b'{"n":123456789012345678901', b"9" * 5000, b"+1", b".5", b'{"a" 1}', b'{"n":' + b"1" * 4301 + b"}",
        b"-" + b"1" * 4301,
        b"1" * 400 + b".0", b"0" + b"1" * 400, b"1" * 400 + b"x", b"[NaN," + b"1" * 400 + b"]",
        b'["\\ud800",' + b"1" * 400 + b"]", b'["\xff",' + b"1" * 400 + b"]", b"\xef\xbb\xbf" + b"1" * 400,
        b"1" * 400 + b"e400", b"[" * 1001 + b"1" * 400 + b"]" * 1001, b"\xd9\xa1" * 400, b"1" * 300 + b"e300",
    ],
)  # fmt: skip
def test_a_line_that_is_not_json_says_so(text):
    found = read(text)
    assert isinstance(found, Unusable)
    assert found.reason == "invalid_json"
    assert found.message.startswith("not JSON (")


def test_a_thousand_levels_are_a_job_and_one_more_are_not_json():
    assert isinstance(read(nest(1000)), Job)
    assert isinstance(read('{"a":' * 999 + "[]" + "}" * 999), Job)
    assert isinstance(read(nest(1000, "123456789012345678901")), Job)
    for text in (
        nest(1001),
        nest(1025),
        nest(100_000),
        nest(1001, "123456789012345678901"),
        '{"a":' * 1001 + "1" + "}" * 1001,
    ):
        found = read(text)
        assert isinstance(found, Unusable)
        assert found.reason == "invalid_json"


def test_brackets_inside_strings_are_no_levels():
    text = json.dumps(["[{" * 2000, '\\"[' * 10])
    assert isinstance(read(text), Job)
    assert depth_of(text.encode()) == 1
    assert isinstance(read("[" + ",".join(["[]"] * 2000) + "]"), Job)


@pytest.mark.parametrize("text", ["3", "null", '"x"', "[]", "{}", '{"a":1}', "true", '{"id":"a"}', '{"Payload":1}'])
def test_any_other_json_value_is_itself_the_payload(text):
    job = read(text)
    assert strict(job.payload) == strict(json.loads(text))
    assert (job.id, job.has_own_id, job.asks) == ("jobs:7", False, NO_ASKS)


def test_the_input_format_settles_what_auto_would_guess():
    text = '{"payload":1,"other":2}'
    assert read(text, Scheme("raw")).payload == {"payload": 1, "other": 2}
    assert "unknown member 'other'" in why(text)
    assert "envelope" in why('{"a":1}', Scheme("envelope"))
    assert "envelope" in why("3", Scheme("envelope"))
    assert read('{"payload":null}', Scheme("envelope")).payload is None


@pytest.mark.parametrize("given_id", ["a", "", "ä\u2028", 0, -5, 123456789012345678901])
def test_an_id_is_echoed_as_given(given_id):
    job = read(json.dumps({"payload": 1, "id": given_id}))
    assert (job.id, job.has_own_id) == (given_id, True)


# Envelopes


@pytest.mark.parametrize(
    "member, near",
    [
        ("ids", "'id'"),
        ("max_attempt", "'max_attempts'"),
        ("time_out", "'timeout'"),
        ("notbefore", "'not_before'"),
        ("expire", "'expires'"),
    ],
)
def test_an_unknown_member_names_the_nearest_known_one(member, near):
    message = why(json.dumps({"payload": 1, member: 2}))
    assert repr(member) in message
    assert near in message


def test_an_unknown_handler_names_the_nearest_registered_one():
    scheme = Scheme(handlers=("resize", "charge"))
    assert "'resize'" in why('{"payload":1,"handler":"resise"}', scheme)
    for hostile in ('"os:system"', "3", "null", "[]", '"jobs.py:f"'):
        assert "no handler" in why(f'{{"payload":1,"handler":{hostile}}}', scheme)


@pytest.mark.parametrize("name", ["x" * 10**6, "\u20ac" * 10**6])
def test_what_is_said_of_a_line_of_megabytes_is_short(name):
    for envelope in ({"payload": 1, name: 1}, {"payload": 1, "handler": name}, {"payload": 1, "handler": [name]}):
        message = why(json.dumps(envelope))
        assert len(message.encode()) <= 4096
        assert message.endswith("characters)")


@pytest.mark.parametrize("member", ["id", "key", "tenant"])
@pytest.mark.parametrize("value", [None, True, 1.5, [], {}])
def test_id_key_and_tenant_are_strings_or_integers(member, value):
    assert f"`{member}`" in why(json.dumps({"payload": 1, member: value}))


@pytest.mark.parametrize(
    "member, value",
    [
        ("timeout", 0), ("timeout", -1), ("timeout", True), ("timeout", "soon"), ("timeout", []),
        ("timeout", "0s"),
        ("max_attempts", 0), ("max_attempts", 1.5), ("max_attempts", "3"), ("max_attempts", True),
        ("max_attempts", {}),
        ("cost", -1), ("cost", "1"), ("cost", True), ("cost", [1]),
        ("not_before", "tomorrow"), ("not_before", "2026-01-31T06:00:00"), ("not_before", True),
        ("not_before", []), ("not_before", 1e308), ("not_before", 1e300), ("not_before", -1e308),
        ("not_before", 10**400), ("not_before", 253_402_300_800), ("expires", 1e308), ("expires", -(10**30)),
        ("expires", "9999-12-31T23:59:59-14:00"), ("not_before", "0001-01-01T00:00:00+14:00"),
        ("expires", "2026-13-01T00:00:00Z"), ("expires", {}), ("expires", ""), ("expires", "2026-01-31"),
    ],
)  # fmt: skip
def test_a_member_of_the_wrong_kind_is_named(member, value):
    assert f"`{member}`" in why(json.dumps({"payload": 1, member: value}))


@pytest.mark.parametrize(
    "member, value, expected",
    [
        ("timeout", 2, 2.0), ("timeout", 0.25, 0.25), ("timeout", "500ms", 0.5), ("timeout", "1h30m", 5400.0),
        ("timeout", "7", 7.0),
        ("max_attempts", 1, 1), ("max_attempts", 99, 99), ("cost", 0, 0.0), ("cost", 2.5, 2.5),
        ("tenant", "t", "t"), ("tenant", 4, 4),
        ("not_before", 253_402_300_799.5, 253_402_300_799.5), ("expires", -62_135_596_800, -62_135_596_800.0),
        ("not_before", 12.5, 12.5), ("not_before", -3, -3.0), ("meta", {"a": [1]}, {"a": [1]}),
        ("expires", "2026-01-31T06:00:00Z", datetime(2026, 1, 31, 6, tzinfo=UTC).timestamp()),
        ("expires", "2026-01-31t06:00:00z", datetime(2026, 1, 31, 6, tzinfo=UTC).timestamp()),
        ("not_before", "2026-01-31T08:00:00.5+02:00", datetime(2026, 1, 31, 6, tzinfo=UTC).timestamp() + 0.5),
    ],
)  # fmt: skip
def test_a_member_is_read_in_seconds(member, value, expected):
    assert getattr(read(json.dumps({"payload": 1, member: value})).asks, member) == expected


@pytest.mark.parametrize("member", ["timeout", "max_attempts", "not_before", "expires", "cost", "meta"])
def test_null_asks_for_nothing(member):
    assert read(json.dumps({"payload": 1, member: None})).asks == NO_ASKS


@LIGHT
@given(
    st.sampled_from(
        ["id", "key", "handler", "tenant", "timeout", "max_attempts", "not_before", "expires", "cost", "meta"]
    ),
    VALUES,
)
def test_whatever_a_member_holds_the_line_is_a_job_or_says_why_not(member, value):
    found = read(json.dumps({"payload": 1, member: value}), Scheme(handlers=("a",)))
    assert isinstance(found, Job) or found.reason == "invalid_job"


@pytest.mark.parametrize(
    "member", ["timeout", "max_attempts", "not_before", "expires", "cost", "meta", "tenant", "key"]
)
@pytest.mark.parametrize("value", [10**400, -(10**400)], ids=["much", "little"])
def test_an_endless_integer_is_a_job_or_says_why_not_too(member, value):
    found = read(json.dumps({"payload": 1, member: value}))
    assert isinstance(found, Job) or found.reason == "invalid_job"


@LIGHT
@given(st.binary(max_size=40).filter(lambda data: b"\n" not in data))
def test_no_bytes_whatever_raise(data):
    assert isinstance(read(data), (Job, Unusable, type(None)))


@pytest.mark.parametrize(
    "unusable, payload",
    [
        (b'{"payload":1,"x":2}', {"payload": 1, "x": 2}),
        (b'~{"n":123456789012345678901}', {"n": 123456789012345678901}),
    ],
)
def test_an_unusable_line_never_has_the_key_of_a_payload(unusable, payload):
    assert read(unusable).key != read(json.dumps({"payload": payload})).key
