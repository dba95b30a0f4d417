"""Jobs whose identity another run has: they wait, and then share what became of it, or run here after all."""

from __future__ import annotations

import pytest

from jqcli.core.codec import Scheme, read_line
from jqcli.core.effect import Bury, Double, Drop, Run, RunJobs
from jqcli.core.recall import ELSEWHERE, REMEMBERED, split_keys
from jqcli.core.settled import Settled
from jqcli.model import First, Line
from tests.core.test_dispatch import LATER, NOW, fail, make, of, start


def key_of(text):
    return read_line(Line("", "", 1, text), Scheme()).key


ONE, TWO = key_of(b"1"), key_of(b"2")


class Others:
    """What other runs have, as the store would say it; notes what is claimed here."""

    def __init__(self, known):
        self.known = known
        self.claimed = []

    def claim(self, wanted, _batch=None):
        keys = split_keys(b"".join(wanted.values()))
        self.claimed += [key for key in keys if key not in self.known]
        return {key: self.known[key] for key in keys if key in self.known}


def remembered(first):
    """Return a look-up that finds only what another run did."""
    return lambda spot, _: first if spot is None else None


def with_others(known, **more):
    others = Others(known)
    return make(claim=others.claim, **more), others


def test_what_another_run_did_is_a_duplicate_and_not_run():
    first = First("a", "completed", b"7")
    dispatch, others = with_others({ONE: REMEMBERED}, find=remembered(first))
    work, effects = start(dispatch, 1, 2, 1)
    assert [(effect.place.index, effect.first) for effect in of(effects, Double)] == [(0, first), (2, first)]
    assert list(of(effects, Run)[0].order) == [1]
    assert others.claimed == [TWO]
    dispatch.take_finished(work.batch, [1])
    assert dispatch.is_empty


@pytest.mark.parametrize("texts", [(), (3, 3)], ids=["first lines", "after a duplicate"])
def test_of_a_batch_that_is_new_here_the_rest_runs_once(texts):
    first = First("a", "completed", b"7")
    dispatch, _ = with_others({ONE: REMEMBERED}, find=remembered(first))
    start(dispatch, *texts)
    _, effects = start(dispatch, 1, 2, 4)
    assert [effect.place.index for effect in of(effects, Double)] == [0]
    assert list(of(effects, Run)[0].order) == [1, 2]
    _, effects = start(dispatch, 2, 4)
    assert of(effects, Run) == of(effects, Double) == [], "they follow those that run"


def test_a_batch_of_which_nothing_runs_is_dropped():
    dispatch, _ = with_others({ONE: REMEMBERED, TWO: ELSEWHERE})
    work, effects = start(dispatch, 1, 2)
    assert of(effects, Drop) == [Drop(work.batch)]
    assert (dispatch.lines, dispatch.waiting, dispatch.in_flight) == (1, 1, 0)


def test_what_is_in_flight_elsewhere_waits_for_the_news():
    first = First("a", "completed", b"7")
    dispatch, _ = with_others({ONE: ELSEWHERE}, find=remembered(first))
    start(dispatch, 1, 1)
    before = dispatch.bytes
    assert dispatch.elsewhere.wanted == {None: ONE}
    assert dispatch.take_news({ONE: ELSEWHERE}, NOW) == []
    assert (dispatch.elsewhere.count, dispatch.bytes, before) == (2, before, 2)
    effects = dispatch.take_news({ONE: REMEMBERED}, NOW)
    assert [(effect.place.index, effect.first) for effect in of(effects, Double)] == [(0, first), (1, first)]
    assert dispatch.is_empty
    assert dispatch.bytes == 0


def test_what_another_run_let_go_of_runs_here_once_and_the_rest_follows():
    dispatch, _ = with_others({ONE: ELSEWHERE}, max_attempts=1)
    start(dispatch, 1, 1, 1)
    assert dispatch.take_news({}, NOW) == []
    assert dispatch.elsewhere.count == 0, "nobody is asked any more"
    (run,) = of(dispatch.next_jobs(NOW, 1), RunJobs)
    assert len(run.attempts) == 1
    _, effects = start(dispatch, 1)
    assert of(effects, Double) == of(effects, Run) == []
    effects = dispatch.take_failure(run.batch, 0, fail(), LATER)
    assert [effect.reason for effect in of(effects, Bury)] == ["max_attempts", *["duplicate_of_dead"] * 3]
    dispatch.take_end(run.batch)
    assert dispatch.is_empty
    assert dispatch.bytes == 0


def test_a_later_line_does_not_overtake_a_first_one_that_is_free_and_does_not_know_it_yet():
    dispatch, others = with_others({ONE: ELSEWHERE})
    start(dispatch, 1)
    others.known = {}
    _, effects = start(dispatch, 1, 2)
    assert list(of(effects, Run)[0].order) == [1]
    assert dispatch.elsewhere.count == 2
    dispatch.take_news({}, NOW)
    (run,) = of(dispatch.next_jobs(NOW, 1), RunJobs)
    assert [attempt.number for attempt in run.attempts] == [1]


def test_a_later_line_of_what_was_done_meanwhile_does_not_wait_with_the_first():
    first = First("a", "completed", b"7")
    dispatch, others = with_others({ONE: ELSEWHERE}, find=remembered(first))
    start(dispatch, 1)
    others.known = {ONE: REMEMBERED}
    assert len(of(start(dispatch, 1)[1], Double)) == 1


def test_a_job_that_was_let_go_of_and_is_not_due_waits_for_its_moment():
    dispatch, _ = with_others({ONE: ELSEWHERE})
    start(dispatch, {"payload": 1, "not_before": NOW.unix + 50})
    dispatch.take_news({}, NOW)
    assert dispatch.next_jobs(NOW, 1) == []
    assert len(of(dispatch.next_jobs(LATER, 1), RunJobs)) == 1


def test_a_job_that_came_too_late_for_its_turn_is_dead_with_those_that_followed_it():
    dispatch, _ = with_others({ONE: ELSEWHERE})
    start(dispatch, {"payload": 1, "expires": NOW.unix + 50}, 1)
    effects = dispatch.take_news({}, LATER)
    assert [effect.reason for effect in of(effects, Bury)] == ["expired", "duplicate_of_dead"]
    assert dispatch.is_empty


def test_a_given_key_with_another_payload_contradicts_what_was_done_elsewhere():
    mine, other = (read_line(Line("", "", 1, b'{"key":"k","payload":%d}' % n), Scheme()) for n in (1, 2))
    first = First("a", "completed", b"7", None, other.payload_hash)
    dispatch, _ = with_others({mine.key: REMEMBERED}, find=remembered(first))
    _, effects = start(dispatch, {"key": "k", "payload": 1}, {"key": "k", "payload": 2})
    (letter,) = of(effects, Bury)
    assert (letter.place.index, letter.reason, letter.first.id) == (0, "key_conflict", "a")
    assert [effect.place.index for effect in of(effects, Double)] == [1]
    assert dispatch.is_empty


def test_of_what_was_let_go_of_the_first_in_the_input_owns_the_key():
    mine = read_line(Line("", "", 1, b'{"key":"k","payload":1}'), Scheme())
    dispatch, _ = with_others({mine.key: ELSEWHERE})
    start(dispatch, {"id": "x", "key": "k", "payload": 1}, {"key": "k", "payload": 2})
    (letter,) = of(dispatch.take_news({}, NOW), Bury)
    assert (letter.place.index, letter.reason, letter.first.id) == (1, "key_conflict", "x")
    (letter,) = of(start(dispatch, {"key": "k", "payload": 3})[1], Bury)
    assert (letter.reason, letter.first.id) == ("key_conflict", "x")


def test_what_a_record_of_this_command_settles_is_not_asked_for():
    settled = Settled()
    settled.add(ONE, b'"jobs:1"', "completed", 0)
    dispatch, others = with_others({}, settled=settled)
    start(dispatch, 1, 2)
    assert others.claimed == [TWO]


def test_what_this_run_took_is_its_own_whatever_the_store_says_later():
    dispatch, others = with_others({})
    work, _ = start(dispatch, 1)
    others.known = {ONE: REMEMBERED}
    _, effects = start(dispatch, 1)
    assert of(effects, Double) == []
    assert dispatch.take_finished(work.batch, [0]) != []
    assert dispatch.is_empty
