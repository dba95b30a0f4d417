"""Law 1 counted again: every line is exactly one record; what is not is named."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from jqcli.core.audit import LETTERS, RESULTS, STREAM, Audit, Spot, unpack_spot
from jqcli.core.codec import Scheme, hash_unusable, read_line
from jqcli.core.prepare import Lines
from jqcli.core.record import find_plain, parse_letter, parse_result, plain_results
from jqcli.model import Line, Unusable

LIGHT = settings(max_examples=150, deadline=None, database=None)
TAG, OTHER_TAG = "5f01ab", "77aa01"
OUTPUT = "/srv/results.jsonl"


def audit_of(scheme=Scheme(), *, dedupe=True):  # noqa: B008 - a frozen value
    return Audit(TAG, OUTPUT, scheme, mark="a-mark", dedupe=dedupe)


def as_line(job):
    return job if isinstance(job, bytes) else json.dumps(job).encode()


def head_of(job, number, scheme=Scheme()):  # noqa: B008
    """Return id, key and payload_hash as a run writes them for this line."""
    read = read_line(Line("jobs.jsonl", "jobs", number, as_line(job)), scheme)
    if isinstance(read, Unusable):
        return {"id": f"jobs:{number}", "key": f"{TAG}:{read.key.hex()}"}
    head = {"id": read.id, "key": f"{TAG}:{read.key_text}"}
    return head | ({} if read.payload_hash is None else {"payload_hash": read.payload_hash.hex()})


def result(job, number, status="completed", scheme=Scheme()):  # noqa: B008
    return json.dumps(head_of(job, number, scheme) | {"status": status}, separators=(",", ":")).encode()


def letter(job, number, reason="rejected", output=OUTPUT, redrives=0, **more):
    members = {"reason": reason, "output": output, "redrives": redrives, "job": None}
    return json.dumps(head_of(job, number) | members | more).encode()


def count(audit, jobs, results=(), letters=()):
    """Count, and return (missing line numbers, doubles, orphans)."""
    for number, line in enumerate(results, 1):
        audit.add_result(parse_result(line), number)
    for number, line in enumerate(letters, 1):
        audit.add_letter(parse_letter(line), number)
    data = b"".join(as_line(job) + b"\n" for job in jobs)
    if jobs:
        audit.take(Lines(data, len(jobs), "jobs.jsonl", "jobs", 1), 0)
    left = audit.find_left()
    return [unpack_spot(spot).line for spot in audit.missing], left.doubles, [*map(unpack_spot, left.orphans)]


A, B, C = {"n": 1}, {"id": "own", "payload": {"n": 2}}, {"key": "K", "payload": {"n": 3}}


def test_a_run_that_recorded_every_line_once_is_clean():
    audit = audit_of()
    jobs = [A, B, C, b"", b"  ", b"{bad", A]
    results = [result(A, 1), result(B, 2, "skipped"), result(A, 7, "duplicate")]
    letters = [letter(C, 3), letter(b"{bad", 6, "invalid_json")]
    assert count(audit, jobs, results, letters) == ([], [], [])
    assert audit.lines == 5
    assert audit.outcomes == {"completed": 1, "duplicate": 1, "skipped": 1, "dead": 2}
    assert not audit.foreign
    assert not audit.others


def test_a_line_without_a_record_is_missing_also_where_an_equal_line_has_one():
    assert count(audit_of(), [A, B, A, b"{bad"], [result(A, 1)]) == ([2, 3, 4], [], [])


def test_a_record_of_another_id_or_another_payload_of_its_key_is_not_a_lines_own():
    other = {"id": "other", "payload": {"n": 2}}
    assert count(audit_of(), [B], [result(other, 1)]) == ([1], [], [Spot(RESULTS, 1)])
    same_key = {"key": "K", "payload": {"n": 4}}
    assert count(audit_of(), [C], [result(same_key, 1)]) == ([1], [], [Spot(RESULTS, 1)])


def test_lines_may_have_moved_and_an_orphan_is_a_record_whose_line_is_gone():
    results = [result(A, 9), result(B, 4), result({"n": 5}, 3)]
    assert count(audit_of(), [B, A], results) == ([], [], [Spot(RESULTS, 3)])


def test_a_second_record_of_one_id_is_double_in_one_file_or_in_both():
    first, second = [result(B, 1), result(A, 2), result(B, 1)], [letter(A, 2)]
    missing, doubles, orphans = count(audit_of(), [B, A], first, second)
    assert (missing, orphans) == ([], [])
    assert doubles == [
        (Spot(RESULTS, 3), Spot(RESULTS, 1)),
        (Spot(LETTERS, 1), Spot(RESULTS, 2)),
    ]


def test_a_job_that_was_run_twice_is_double_although_its_line_had_moved_meanwhile():
    results = [result(A, 5), result(A, 7)]
    assert count(audit_of(), [A], results)[1:] == ([(Spot(RESULTS, 2), Spot(RESULTS, 1))], [])
    assert count(audit_of(dedupe=False), [A], results)[1:] == ([], [Spot(RESULTS, 2)])


def test_the_record_of_a_duplicate_whose_line_is_gone_is_an_orphan_and_not_double():
    results = [result(A, 1), result(A, 2, "duplicate")]
    letters = [letter(B, 3), letter({"id": "b", "payload": {"n": 2}}, 4, "duplicate_of_dead")]
    bad = [letter(b"{", 5, "invalid_json"), letter(b"{", 6, "invalid_json")]
    found = count(audit_of(), [A, B, b"{"], results, [*letters, *bad])
    assert found == ([], [], [Spot(RESULTS, 2), Spot(LETTERS, 2), Spot(LETTERS, 4)])


def test_a_letter_of_a_redriven_job_supersedes_the_earlier_one():
    audit = audit_of()
    assert count(audit, [A], (), [letter(A, 1), letter(A, 1, redrives=1)]) == ([], [], [])
    assert audit.outcomes["dead"] == 1


def test_what_is_no_record_or_of_another_tag_is_foreign_but_letters_of_other_results_are_left_alone():
    audit = audit_of()
    other = result(A, 1).replace(TAG.encode(), OTHER_TAG.encode())
    mine, theirs = (letter(A, 1, output=name).replace(TAG.encode(), OTHER_TAG.encode()) for name in (OUTPUT, "/else"))
    found = count(audit, [A], [b"never", b"{}", other, result(A, 1)], [mine, theirs, letter(A, 1, output="/else")])
    assert found == ([], [], [])
    foreign = {tag: [unpack_spot(spot) for spot in spots] for tag, spots in audit.foreign.items()}
    assert foreign == {
        "": [Spot(RESULTS, 1), Spot(RESULTS, 2)],
        OTHER_TAG: [Spot(RESULTS, 3), Spot(LETTERS, 1)],
    }
    assert audit.others == {"/else": 2}


def test_a_letter_of_a_run_to_a_stream_serves_a_line_without_another_record_and_is_never_double():
    audit = audit_of()
    letters = [letter(A, 1, output=None), letter(A, 1, output=None), letter(B, 2, output=None)]
    assert count(audit, [A, B], [result(B, 2)], letters) == ([], [], [])
    assert audit.outcomes == {"completed": 1, "duplicate": 0, "skipped": 0, "dead": 1}
    assert audit.others == {STREAM: 2}


def test_a_line_that_names_a_handler_takes_its_record_whether_that_is_registered_here_or_not():
    job = {"handler": "shop", "payload": A}
    ran = result(job, 1, scheme=Scheme(handlers=("shop",)))
    assert count(audit_of(), [job], [ran]) == ([], [], [])
    assert count(audit_of(Scheme(handlers=("shop",))), [job], [ran]) == ([], [], [])
    assert count(audit_of(), [job], (), [letter(job, 1, "invalid_job")]) == ([], [], [])
    assert count(audit_of(), [job, {"handler": 3, "payload": 1}, {"handler": "x", "bad": 1, "payload": 1}])[0] == [
        1,
        2,
        3,
    ]


def test_a_line_that_was_too_long_takes_its_letter():
    audit = audit_of()
    audit.add_letter(parse_letter(letter(b"{long", 1, "line_too_long")), 1)
    audit.take_oversized(hash_unusable(b"{long"), 0, 1)
    audit.take_oversized(hash_unusable(b"{other"), 0, 2)
    assert ([*audit.find_left().orphans], [unpack_spot(spot).line for spot in audit.missing]) == ([], [2])


def test_a_block_of_plain_results_counts_as_its_lines_do_one_by_one():
    jobs = [{"n": n // 2} if n % 3 else {"id": f"j{n}", "payload": {"n": n}} for n in range(40)]
    lines = [result(job, number, "duplicate" if number % 5 else "completed") for number, job in enumerate(jobs, 1)]
    found = find_plain(plain_results(TAG), b"".join(line + b"\n" for line in lines))
    assert found is not None
    whole, single = audit_of(), audit_of()
    whole.add_plain(found, 1)
    kept = [jobs[n] for n in range(40) if n % 7]
    assert count(whole, kept) == count(single, kept, lines)
    assert whole.outcomes == single.outcomes


PAYLOADS = st.sampled_from([A, B, C, {"id": "x", "payload": {"n": 1}}, b"{bad", {"key": 7, "payload": 1}])


@LIGHT
@given(st.lists(PAYLOADS, max_size=8), st.data())
def test_dropped_and_repeated_records_are_found_whatever_the_order(jobs, data):
    """Of equal lines each is as good as the other, so only how many are missing can be said."""
    seen = set()
    results, letters = [], []
    for number, job in enumerate(jobs, 1):
        is_bad = isinstance(job, bytes)
        first = head_of(job, number)["key"] not in seen
        seen.add(head_of(job, number)["key"])
        if is_bad:
            letters.append(letter(job, number, "invalid_json"))
        else:
            results.append(result(job, number, "completed" if first else "duplicate"))
    order = data.draw(st.permutations(jobs))
    assert count(audit_of(), order, results, letters) == ([], [], [])
    if not results:
        return
    at = data.draw(st.integers(0, len(results) - 1))
    dropped = results[:at] + results[at + 1 :]
    missing, doubles, orphans = count(audit_of(), order, dropped, letters)
    assert (len(missing), doubles, orphans) == (1, [], [])
    missing, doubles, orphans = count(audit_of(), order, [*results, results[at]], letters)
    assert (missing, len(doubles), orphans) == ([], 1, [])
