"""What other runs have done and are doing. Law 2 over runs: what one has claimed, no other runs."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from jqcli.core.codec import hash_bytes
from jqcli.core.dedupe import Identities
from jqcli.core.event import Answer
from jqcli.core.prepare import mark_id
from jqcli.core.recall import (
    CLAIM,
    DONE,
    ELSEWHERE,
    RELEASE,
    RELEASE_ROW,
    REMEMBERED,
    Recall,
    Row,
    fresh_until,
    leave_out,
    shorter,
    wanted_of,
)
from jqcli.core.settled import Settled

ME, OTHER, THIRD = 1, 2, 3
KEYS = [hash_bytes(bytes([n])) for n in range(6)]
A, B, C = KEYS[:3]


def alive(run):
    return True


def dead(run):
    return False


def learned(*rows, ttl=None):
    recall = Recall(ME, ttl)
    for number, (run, kind, keys, *more) in enumerate(rows, 1):
        at, lasting = (*more, 0.0, None)[:2] if more else (0.0, None)
        recall.learn(Row(number, run, kind, at, lasting, keys))
    return recall


def test_a_claim_is_waited_for_until_its_run_has_done_it_or_let_go():
    recall = learned((OTHER, CLAIM, A + B + C), (OTHER, DONE, A), (OTHER, RELEASE, B))
    assert recall.judge(A + B + C, 1.0, alive) == {A: REMEMBERED, C: ELSEWHERE}


def test_the_claims_of_a_dead_run_are_free_and_what_it_did_is_not():
    recall = learned((OTHER, CLAIM, A + B), (OTHER, DONE, A), (THIRD, CLAIM, C))
    assert recall.judge(A + B + C, 1.0, lambda run: run == THIRD) == {A: REMEMBERED, C: ELSEWHERE}


def test_only_the_run_that_claimed_can_let_go():
    recall = learned((OTHER, CLAIM, A), (THIRD, RELEASE, A))
    assert recall.judge(A, 1.0, alive) == {A: ELSEWHERE}


def test_a_claim_that_was_taken_over_is_the_new_ones():
    recall = learned((OTHER, CLAIM, A), (THIRD, CLAIM, A), (OTHER, RELEASE, A))
    assert recall.judge(A, 1.0, lambda run: run == THIRD) == {A: ELSEWHERE}


def test_what_this_run_claims_and_does_is_not_news_to_it():
    recall = learned((ME, CLAIM, A), (ME, DONE, B))
    assert recall.judge(A + B, 1.0, dead) == {}
    assert recall.cursor == 2


def test_nobody_is_asked_for_who_holds_nothing_that_is_wanted():
    recall = learned((OTHER, CLAIM, A))

    def never(run):
        raise AssertionError

    assert recall.judge(B + C, 1.0, never) == {}


def test_what_ran_out_is_free_unless_it_is_claimed_again():
    """Fault 37."""
    recall = learned((OTHER, DONE, A + B, 100.0, 50.0), (OTHER, CLAIM, B))
    assert recall.judge(A + B, 140.0, alive) == {A: REMEMBERED, B: REMEMBERED}
    assert recall.judge(A + B, 151.0, alive) == {B: ELSEWHERE}
    assert recall.judge(A + B, 151.0, dead) == {}


def test_of_two_times_to_live_the_shorter_one_counts():
    assert [shorter(None, 3.0), shorter(2.0, 3.0), shorter(2.0, None), shorter(None, None)] == [3.0, 2.0, 2.0, None]
    recall = learned((OTHER, DONE, A, 100.0, 1000.0), ttl=10.0)
    assert recall.judge(A, 108.0, alive) == {A: REMEMBERED}
    assert recall.judge(A, 111.0, alive) == {}


@given(st.binary(min_size=16, max_size=16), st.floats(0.001, 1e9), st.floats(0, 1e10))
def test_a_life_is_at_most_a_tenth_shorter_than_asked_and_never_longer(key, ttl, at):
    until = fresh_until(key, at, ttl)
    assert at + ttl * 0.9 <= until <= at + ttl


def test_lives_of_one_night_end_at_many_moments():
    assert len({fresh_until(hash_bytes(str(n).encode()), 0.0, 1000.0) for n in range(1000)}) > 200


@given(st.floats(-1e6, 1e6))
def test_a_clock_that_jumps_makes_nothing_of_the_future_stale_and_loses_no_claim(jump):
    """Fault 37. A day forward or back; claims do not know the time at all."""
    recall = learned((OTHER, DONE, A, 1e7, 60.0), (OTHER, CLAIM, B))
    known = recall.judge(A + B, 1e7 + jump, alive)
    assert known[B] == ELSEWHERE
    assert (A in known) == (jump < fresh_until(A, 0.0, 60.0))


def test_what_is_known_is_left_out():
    assert leave_out({A: ELSEWHERE}, A + B + C) == B + C
    assert leave_out({}, A + B) == A + B


ROWS = st.lists(
    st.tuples(st.sampled_from([OTHER, THIRD]), st.sampled_from([CLAIM, DONE, RELEASE]), st.sampled_from(KEYS)),
    max_size=30,
)


@given(ROWS, st.sets(st.sampled_from([OTHER, THIRD])))
@settings(max_examples=300)
def test_the_rows_read_one_by_one_mean_what_a_slow_reader_finds_in_all_of_them(rows, living):
    recall = learned(*rows)
    holder, done = {}, set()
    for run, kind, key in rows:
        if kind == CLAIM:
            holder[key] = run
            continue
        if holder.get(key) == run:
            del holder[key]
        if kind == DONE:
            done.add(key)
    wanted = {key: ELSEWHERE for key, run in holder.items() if run in living} | dict.fromkeys(done, REMEMBERED)
    assert recall.judge(b"".join(KEYS), 1.0, lambda run: run in living) == wanted


CLAIMED = st.lists(
    st.tuples(st.sampled_from([OTHER, THIRD]), st.sets(st.sampled_from(KEYS), min_size=1), st.booleans()), max_size=12
)


@given(CLAIMED)
def test_a_row_of_claims_is_let_go_of_by_its_number_and_by_its_run(rows):
    recall, holder = Recall(ME, None), {}
    for number, (run, claimed, is_other) in enumerate(rows):
        taken = {key for key in claimed if key not in holder}
        recall.learn(Row(number, run, CLAIM, 0.0, None, b"".join(taken)))
        holder |= dict.fromkeys(taken, (run, number))
        of, which = (THIRD if run == OTHER else OTHER, number) if is_other else (run, number // 2)
        recall.learn(Row(which, of, RELEASE_ROW, 0.0, None, b""))
        holder = {key: place for key, place in holder.items() if place != (of, which)}
        assert recall.judge(b"".join(KEYS), 1.0, alive) == dict.fromkeys(holder, ELSEWHERE)
    assert recall._rows.keys() >= set(holder.values()), "what is let go of is not remembered"
    assert len(recall._rows) <= len(rows)


def test_of_rows_that_were_let_go_of_and_of_dead_runs_nothing_is_kept():
    recall = Recall(ME, None)
    for number in range(3):
        recall.learn(Row(number, (OTHER, OTHER, THIRD)[number], CLAIM, 0.0, None, KEYS[number]))
    recall.learn(Row(0, OTHER, RELEASE_ROW, 0.0, None, b""))
    assert recall.judge(b"".join(KEYS), 1.0, lambda run: run == OTHER) == {KEYS[1]: ELSEWHERE}
    assert recall._rows == {(OTHER, 1): KEYS[1]}
    recall.drop_claims()
    assert (recall._rows, recall._claims) == ({}, {})


# What a batch wants


def answer(keys, notes=(), hashes=b""):
    return Answer(1, keys, hashes, b"", list(notes))


def wanted(line, settled=None, dead=()):
    return wanted_of(line, Identities(settled or Settled(), dedupe=True), dead)


def test_a_plain_batch_wants_all_of_it():
    assert wanted(answer(A + B)) == {None: A + B}


def test_lines_that_are_no_jobs_want_nothing_and_a_chosen_handler_has_its_own():
    notes = [(0, {"blank": True}), (1, {"reason": "invalid_json"}), (2, {"asks": {"handler": "b", "timeout": 1.0}})]
    assert wanted(answer(A + B + C + KEYS[3], notes)) == {"b": C, None: KEYS[3]}


def test_what_an_earlier_run_has_recorded_is_not_claimed():
    settled = Settled()
    settled.add(A, b'"x"', "completed", 0)
    settled.add(B, b'"y"', "dead", 0)
    assert wanted(answer(A + B + C), settled) == {None: B + C}  # B has no id of its own, so that letter is not its


def test_a_line_that_is_dead_from_an_earlier_run_is_not_claimed_and_nor_is_what_follows_it():
    settled = Settled()
    settled.add(A, b'"one:1"', "dead", 0)
    settled.add(B, b'"y"', "dead", 0)
    ids = bytes(8) * 2 + mark_id(b'"y"') + mark_id(b'"z"') + bytes(8)
    line = Answer(1, A + A + B + B + C, b"", ids, [])
    assert wanted(line, settled) == {None: C}
    assert settled.claim(A, bytes(8)) == "dead"  # to look was not to take
    settled.add(C, b'"one:4"', "dead", 0)
    settled.add(C, b'"one:5"', "dead", 0)
    assert wanted(answer(C), settled) == wanted(answer(C), settled) == {}
    assert [settled.claim(C, bytes(8)) for _ in range(3)] == ["dead", "dead", None]
    other = Answer(2, A + B + B, b"", bytes(8) + mark_id(b'"z"') + mark_id(b'"y"'), [])
    assert wanted(other, settled) == {None: A + B}  # z comes first and runs


def test_a_line_of_several_that_may_find_no_record_of_its_own_is_claimed():
    settled = Settled()
    settled.add(A, b'"one:1"', "duplicate", 0)
    assert wanted(answer(A + B), settled) == {None: B}
    assert wanted(answer(A + B + A), settled) == {None: B + A}
    settled.add(A, b'"one:2"', "conflict", 0)
    assert wanted(answer(A), settled) == {}


def test_what_died_in_this_run_is_not_claimed_again_for_its_duplicates():
    assert wanted(answer(A + B), dead={A: None}) == {None: B}


def test_what_this_run_has_taken_is_not_claimed_again_for_its_duplicates():
    identities = Identities(Settled(), dedupe=True)
    identities.rule(1, answer(A))
    assert wanted_of(answer(A + A), identities) == {}
    assert wanted_of(answer(A + B), identities) == {None: B}
    identities.rule(2, answer(A + B))
    assert wanted_of(answer(A + B + C + C, [(0, {"blank": True})]), identities) == {None: C}


def test_a_line_that_contradicts_the_owner_of_its_key_is_not_claimed():
    one, two = hash_bytes(b"one"), hash_bytes(b"two")
    settled = Settled(owners={A: one})
    identities = Identities(settled, dedupe=True)
    assert wanted_of(answer(A + B + C, hashes=two + two + bytes(16)), identities) == {None: B + C}
    off = Identities(settled, dedupe=False)
    assert wanted_of(answer(A, hashes=two), off) == {None: A}  # it runs
