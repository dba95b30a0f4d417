"""Laws of the dispatch that want a scene of their own; tests/test_laws.py holds it against the dice."""

from __future__ import annotations

import json

import pytest

from jqcli.core.aside import NO_ROOM, Room
from jqcli.core.batch import Sizer
from jqcli.core.breaker import Trip
from jqcli.core.codec import Scheme
from jqcli.core.dedupe import Identities
from jqcli.core.dispatch import Dispatch
from jqcli.core.effect import Bury, Double, Drop, Opened, Pass, Place, Prepare, Run, RunJobs, Spare
from jqcli.core.event import Answer
from jqcli.core.lane import Flow
from jqcli.core.limit import Rate
from jqcli.core.prepare import Lines, prepare
from jqcli.core.rules import Moment, Rules
from jqcli.core.settled import Settled
from jqcli.model import Failure, First
from jqcli.policy import Policy
from tests.scratch import MemoryScratch

NOW = Moment(100.0, 1000.0, 0.5)
LATER = Moment(200.0, 1100.0, 0.5)
SCHEME = Scheme()
NO_FLOW = Flow()


def make(
    *,
    settled=None,
    find=lambda *_: None,
    dedupe=True,
    keeps_order=False,
    flow=NO_FLOW,
    claim=None,
    room=NO_ROOM,
    **policy,
):
    identities = Identities(settled or Settled(), dedupe=dedupe)
    rules = Rules({None: Policy(backoff_base=8.0, **policy)})
    return Dispatch(identities, rules, SCHEME, Sizer(100), find, flow, keeps_order=keeps_order, claim=claim, room=room)


def admit(dispatch, *lines, first_line=1):
    """Admit lines and return the work that is to be prepared."""
    data = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    return dispatch.admit(0, "in/jobs.jsonl", "jobs", first_line, data, len(lines)).work


def answer(dispatch, work, now=NOW):
    block = Lines(work.data, work.lines, "in/jobs.jsonl", "jobs", work.first_line)
    found = prepare(block, SCHEME, mark="no line holds this", with_ids=work.with_ids)
    own_ids = found.own_ids if work.with_ids else b""
    return dispatch.take_answer(Answer(work.batch, found.digests, found.hashes, own_ids, found.notes), now)


def start(dispatch, *lines):
    work = admit(dispatch, *lines)
    return work, answer(dispatch, work)


def of(effects, kind):
    return [effect for effect in effects if isinstance(effect, kind)]


def fail(verdict="error", name="mine.Oops", **more):
    return Failure(verdict, name, "m", "trace", (name,), 0.5, **more)


def test_a_plain_batch_runs_as_a_whole():
    work, effects = start(make(), 1, 2, 3)
    assert effects[0] == Opened(work.batch, 3)
    (run,) = of(effects, Run)
    assert (run.batch, run.lines, run.order, run.limits.of(0)) == (work.batch, 3, None, None)


def test_batches_are_ruled_in_input_order_whichever_is_answered_first():
    dispatch = make()
    first, second = admit(dispatch, 1, 2), admit(dispatch, 2, 3, first_line=3)
    assert answer(dispatch, second) == []
    effects = answer(dispatch, first)
    runs = of(effects, Run)
    assert [run.batch for run in runs] == [first.batch, second.batch]
    assert list(runs[1].order) == [1]
    assert [effect.batch for effect in of(effects, Opened)] == [first.batch, second.batch]


def test_a_batch_of_which_nothing_runs_is_dropped_and_forgotten():
    dispatch = make()
    work, effects = start(dispatch, b"", b"{", b"  ")
    assert of(effects, Drop) == [Drop(work.batch)]
    assert of(effects, Pass) == [Pass(work.batch, [0, 2], {None: 2})]
    (bury,) = of(effects, Bury)
    assert (bury.reason, bury.job, bury.line.number, bury.attempts) == ("invalid_json", None, 2, 0)
    assert (dispatch.lines, dispatch.bytes) == (0, 0)


def test_the_timeouts_of_single_lines_travel_beside_the_batchs():
    _, effects = start(make(timeout=9.0), 1, {"payload": 2, "timeout": "2s"}, {"payload": 3, "max_attempts": 2})
    (run,) = of(effects, Run)
    assert [run.limits.of(index) for index in range(3)] == [9.0, 2.0, 9.0]


def test_where_nothing_runs_the_next_batch_may_be_larger():
    dispatch = make(find=lambda *_: First("jobs:1", "completed", b"1"))
    dispatch.sizer = Sizer(None)
    start(dispatch, 7)
    before = dispatch.sizer.size
    start(dispatch, *[7] * before)
    assert dispatch.sizer.size > before


def test_a_duplicate_waits_for_the_first_and_gets_its_result():
    first = First("jobs:1", "completed", b'{"ok":true}')
    dispatch = make(find=lambda *_: first)
    work, effects = start(dispatch, 7, 7, 7)
    assert (of(effects, Double), dispatch.lines) == ([], 3)
    found = dispatch.take_finished(work.batch, [0])
    dispatch.take_end(work.batch)
    assert [(each.place.index, each.first) for each in of(found, Double)] == [(1, first), (2, first)]
    assert (dispatch.lines, dispatch.bytes) == (0, 0)


def test_a_duplicate_of_a_job_that_is_done_is_settled_at_once():
    dispatch = make(find=lambda *_: First("jobs:1", "completed", b"1"))
    work, _ = start(dispatch, 7)
    dispatch.take_finished(work.batch, [0])
    dispatch.take_end(work.batch)
    _, effects = start(dispatch, 7)
    assert [each.first.id for each in of(effects, Double)] == ["jobs:1"]
    assert dispatch.is_empty


def test_a_duplicate_of_a_job_that_is_done_does_not_wait_for_the_rest_of_its_batch():
    dispatch = make(find=lambda *_: First("jobs:1", "completed", b"1"))
    work, _ = start(dispatch, 7, 8)
    dispatch.take_finished(work.batch, [0])
    _, effects = start(dispatch, 7)
    assert [each.first.id for each in of(effects, Double)] == ["jobs:1"]
    assert dispatch.lines == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_duplicate_dies_with_the_first(when):
    dispatch = make(max_attempts=1)
    work, _ = start(dispatch, 7, *([7] if when == "before" else []))
    effects = dispatch.take_failure(work.batch, 0, fail(), NOW)
    if when == "after":
        effects += start(dispatch, 7)[1]
    first, second = of(effects, Bury)
    assert (first.reason, second.reason) == ("max_attempts", "duplicate_of_dead")
    assert (second.first.id, second.attempts, second.history) == ("jobs:1", 0, [])
    assert second.error["type"] == "mine.Oops"
    assert second.error["message"] == "m"
    dispatch.take_end(work.batch)
    assert dispatch.is_empty


def test_a_conflict_names_the_owner_of_its_key():
    dispatch = make()
    lines = [{"payload": n, "key": "k", "id": f"own-{n}"} for n in (1, 2)]
    _, effects = start(dispatch, *lines)
    (bury,) = of(effects, Bury)
    assert (bury.reason, bury.first.id, bury.line.number) == ("key_conflict", "own-1", 2)
    assert "'own-1'" in bury.error["message"]


def test_a_failed_job_waits_and_then_runs_with_its_attempt_and_bytes():
    dispatch = make()
    work, _ = start(dispatch, 1, 2)
    assert dispatch.take_failure(work.batch, 1, fail(), NOW) == []
    dispatch.take_finished(work.batch, [0])
    dispatch.take_end(work.batch)
    assert (dispatch.waiting, dispatch.due_at, dispatch.lines) == (1, 104.0, 1)
    assert dispatch.next_jobs(Moment(103.9, 0.0), 1) == []
    (run,) = of(dispatch.next_jobs(Moment(104.0, 0.0), 1), RunJobs)
    assert [(each.number, each.data, each.attempt) for each in run.attempts] == [(2, b"2", 2)]
    (bury,) = dispatch.take_failure(run.batch, 0, fail("reject"), LATER)
    assert (bury.attempts, [each["attempt"] for each in bury.history]) == (2, [1, 2])
    assert (bury.place.batch, bury.place.index) == (work.batch, 1)
    dispatch.take_end(run.batch)
    assert (dispatch.lines, dispatch.bytes) == (0, 0)


@pytest.mark.parametrize("keeps_order", [False, True])
def test_a_result_is_looked_for_under_the_batch_that_it_was_written_with(keeps_order):
    """In the order of the input that is the batch of its line, else the one that it last ran with."""
    asked = []
    dispatch = make(find=lambda spot, _: asked.append(spot), keeps_order=keeps_order)
    work, _ = start(dispatch, 1, 7)
    dispatch.take_failure(work.batch, 1, fail(), NOW)
    dispatch.take_finished(work.batch, [0])
    dispatch.take_end(work.batch)
    (run,) = of(dispatch.next_jobs(LATER, 1), RunJobs)
    assert dispatch.place(run.batch, 0) == Place(work.batch, 1)
    dispatch.take_finished(run.batch, [0])
    dispatch.take_end(run.batch)
    start(dispatch, 7)
    assert asked == [(work.batch, 0.5) if keeps_order else (run.batch, 0.0)]


def test_with_dedupe_off_nothing_is_kept_of_the_dead():
    dispatch = make(dedupe=False, max_attempts=1)
    work, _ = start(dispatch, 7)
    assert len(dispatch.take_failure(work.batch, 0, fail(), NOW)) == 1
    assert dispatch._firsts.dead._by_key == {}


def test_a_probe_that_fails_leaves_no_trace_in_its_job():
    dispatch = make(flow=Flow(trip=Trip(0.5, 10.0, 2)), max_attempts=3)
    start(dispatch, 1, 2)
    for run in of(dispatch.next_jobs(NOW, 2), RunJobs):
        assert dispatch.take_failure(run.batch, 0, fail(), NOW) == []
        dispatch.take_end(run.batch)
    before = dispatch.bytes
    for moment in (200.0, 300.0):
        (probe,) = of(dispatch.next_jobs(Moment(moment, 0.0), 2), RunJobs)
        assert [(attempt.attempt, attempt.is_probe) for attempt in probe.attempts] == [(2, True)]
        assert dispatch.take_failure(probe.batch, 0, fail(), Moment(moment, 0.0, 0.5)) == [Spare()]
        dispatch.take_end(probe.batch)
        assert dispatch.bytes == before
    (probe,) = of(dispatch.next_jobs(Moment(400.0, 0.0), 2), RunJobs)
    (letter,) = dispatch.take_failure(probe.batch, 0, fail("reject"), Moment(400.0, 0.0, 0.5))
    assert (letter.attempts, [each["attempt"] for each in letter.history]) == (2, [1, 2])


def test_a_history_says_when_each_attempt_began():
    dispatch = make()
    work, _ = start(dispatch, 1)
    (bury,) = dispatch.take_failure(work.batch, 0, fail("reject"), NOW)
    assert bury.history == [
        {"attempt": 1, "at": "1970-01-01T00:16:39.500Z", "duration": 0.5, "type": "mine.Oops", "message": "m"}
    ]


def test_a_duplicate_of_a_job_that_was_set_aside_once_more_waits_with_it():
    dispatch = make(room=Room(MemoryScratch(), lambda *_: b"", 100, 1 << 20))
    work, _ = start(dispatch, 7)
    for now in (NOW, LATER):
        dispatch.take_failure(work.batch, 0, fail("snooze", after=50.0), now)
        dispatch.take_end(work.batch)
        assert dispatch.aside == 1
        (work,) = of(dispatch.next_jobs(now._replace(monotonic=now.monotonic + 60), 1), RunJobs)
    dispatch.take_failure(work.batch, 0, fail("snooze", after=50.0), LATER)
    dispatch.take_end(work.batch)
    assert start(dispatch, 7)[1] == [Opened(work.batch + 1, 1), Drop(work.batch + 1)]
    assert dispatch.aside == 2


def test_a_duplicate_that_is_set_aside_leaves_the_first_of_its_identity_where_it_waits():
    dispatch = make(room=Room(MemoryScratch(), lambda *_: b"", 100, 1 << 20))
    work, _ = start(dispatch, 7)
    dispatch.take_failure(work.batch, 0, fail("snooze", after=50.0), NOW)
    dispatch.take_end(work.batch)
    start(dispatch, 7)
    (run,) = of(dispatch.next_jobs(LATER, 1), RunJobs)
    dispatch.take_failure(run.batch, 0, fail(), LATER)
    dispatch.take_end(run.batch)
    for aside in (2, 3):
        assert of(start(dispatch, 7)[1], Double) == []
        assert dispatch.aside == aside


def test_a_snooze_charges_nothing():
    dispatch = make(max_attempts=1)
    work, _ = start(dispatch, 1)
    assert dispatch.take_failure(work.batch, 0, fail("snooze", after=60.0), NOW) == []
    dispatch.take_end(work.batch)
    assert dispatch.due_at == 160.0
    (run,) = of(dispatch.next_jobs(LATER, 1), RunJobs)
    assert run.attempts[0].attempt == 1


def test_jobs_that_came_back_run_before_anything_that_was_due_and_in_their_order():
    dispatch = make()
    work, _ = start(dispatch, 1, 2, 3, 4)
    dispatch.take_failure(work.batch, 0, fail(), NOW)
    dispatch.take_returned(work.batch, [2, 3])
    dispatch.take_returned(work.batch, [1])
    dispatch.take_end(work.batch)
    assert dispatch._backlog.ready
    (run,) = of(dispatch.next_jobs(LATER, 1), RunJobs)
    assert [each.number for each in run.attempts] == [2, 3, 4, 1]


def test_behind_a_limit_a_job_that_waited_goes_before_those_that_came_after_it():
    dispatch = make(flow=Flow(rate=Rate(1.0, 1)))
    start(dispatch, 1, 2, 3)
    (run,) = of(dispatch.next_jobs(NOW, 1), RunJobs)
    dispatch.take_failure(run.batch, 0, fail("snooze", after=0.0), NOW)
    dispatch.take_end(run.batch)
    (run,) = of(dispatch.next_jobs(LATER, 1), RunJobs)
    assert [each.number for each in run.attempts] == [1]


@pytest.mark.parametrize(
    "flow, most", [(Flow(rate=Rate(1.0)), 32), (Flow(level=4), 1), (Flow(rate=Rate(1.0), trip=Trip(0.5, 10.0)), 1)]
)
def test_where_each_start_hangs_on_the_end_of_another_a_worker_gets_one_job_at_a_time(flow, most):
    gate = make(flow=flow).gate
    assert gate.handful == 1, "as long as nobody knows how long they take"
    gate._pace = 1e-6
    assert gate.handful == most


def test_the_level_hears_of_each_answer_to_slow_down():
    dispatch = make(flow=Flow(level=4))
    start(dispatch, 1)
    (run,) = of(dispatch.next_jobs(NOW, 1), RunJobs)
    dispatch.take_failure(run.batch, 0, fail("limited"), NOW)
    assert dispatch.gate._level._limited == 1


def test_who_is_told_to_slow_down_waits_a_moment_in_any_case():
    dispatch = make()
    work, _ = start(dispatch, 1)
    assert dispatch.take_failure(work.batch, 0, fail("limited", after=0.0), NOW) == [Spare()]
    dispatch.take_end(work.batch)
    assert dispatch.next_jobs(NOW, 1) == []
    assert len(of(dispatch.next_jobs(NOW._replace(monotonic=NOW.monotonic + 0.02), 1), RunJobs)) == 1


def test_the_backlog_is_shared_among_the_workers():
    dispatch = make()
    work, _ = start(dispatch, *range(10))
    dispatch.take_returned(work.batch, range(10))
    dispatch.take_end(work.batch)
    sizes = []
    while dispatch._backlog.ready:
        sizes += [len(run.attempts) for run in of(dispatch.next_jobs(NOW, 4), RunJobs)]
    assert sum(sizes) == 10
    assert max(sizes) == 3


def test_a_job_that_may_not_start_yet_waits_and_one_that_came_too_late_is_dead():
    dispatch = make()
    lines = [
        {"payload": 1, "not_before": 1050},
        {"payload": 2, "expires": 1000},
        {"payload": 3, "not_before": 1050, "expires": 1020},
    ]
    work, effects = start(dispatch, *lines)
    assert [(each.reason, each.line.number, each.attempts) for each in of(effects, Bury)] == [("expired", 2, 0)]
    assert of(effects, Drop) == [Drop(work.batch)]
    assert (dispatch.waiting, dispatch.due_at) == (2, 150.0)
    effects = dispatch.next_jobs(LATER, 1)
    assert [(each.reason, each.line.number) for each in of(effects, Bury)] == [("expired", 3)]
    (run,) = of(effects, RunJobs)
    assert [each.number for each in run.attempts] == [1]


def test_a_job_that_expires_while_it_waits_for_its_retry_is_expired():
    dispatch = make()
    work, _ = start(dispatch, {"payload": 1, "expires": 1002})
    assert dispatch.take_failure(work.batch, 0, fail(), NOW) == []
    (bury,) = dispatch.next_jobs(LATER, 1)
    assert (bury.reason, bury.attempts, len(bury.history)) == ("expired", 1, 1)


def test_a_job_that_came_back_and_expired_meanwhile_does_not_start():
    dispatch = make()
    work, _ = start(dispatch, {"payload": 1, "expires": 1050})
    dispatch.take_returned(work.batch, [0])
    dispatch.take_end(work.batch)
    effects = dispatch.next_jobs(LATER, 1)
    assert of(effects, RunJobs) == []
    assert [each.reason for each in of(effects, Bury)] == ["expired"]


def test_a_batch_that_kills_its_reader_is_halved_until_one_line_is_left_to_blame():
    dispatch = make(max_crashes=2)
    works = [admit(dispatch, "a", "poison", "c", "d")]
    buried, runs, tries = [], 0, 0
    while works:
        work = works.pop(0)
        if b"poison" in work.data:
            tries += work.lines == 1
            effects = dispatch.split(work.batch, "the worker ended with SIGSEGV", NOW)
        else:
            effects = answer(dispatch, work)
        works += [effect.work for effect in of(effects, Prepare)]
        buried += of(effects, Bury)
        runs += sum(run.lines for run in of(effects, Run))
    assert [(each.reason, each.line.number, each.attempts, each.error["message"]) for each in buried] == [
        ("worker_crash", 2, 0, "the worker ended with SIGSEGV")
    ]
    assert (runs, tries) == (3, 2)


def bury_unread(dispatch, *lines):
    """Admit lines and let one with `poison` in it end its worker, again and again; return the letters."""
    works, buried = [admit(dispatch, *lines)], []
    while works:
        work = works.pop(0)
        is_deadly = b"poison" in work.data
        effects = dispatch.split(work.batch, "m", NOW) if is_deadly else answer(dispatch, work)
        works += [effect.work for effect in of(effects, Prepare)]
        buried += of(effects, Bury)
    return buried


def test_halves_are_ruled_in_the_order_of_their_lines():
    dispatch = make()
    work = admit(dispatch, 7, 7)
    first, second = (each.work for each in dispatch.split(work.batch, "died", NOW))
    assert answer(dispatch, second) == []
    effects = answer(dispatch, first)
    assert [each.batch for each in of(effects, Run)] == [first.batch]
    assert [each.batch for each in of(effects, Drop)] == [second.batch]


@pytest.mark.parametrize("dedupe", [True, False])
def test_a_line_that_was_buried_unread_is_not_read_again_and_one_more_like_it_is(dedupe):
    letters = bury_unread(make(), "a", "poison", "b")
    settled = Settled()
    for each in letters:
        key = bytes.fromhex(each.key_text)
        settled.add(key, json.dumps(each.line.made_id).encode(), "dead", 0)
        settled.unread.add(key)
    dispatch = make(settled=settled, dedupe=dedupe)
    work = admit(dispatch, "b", "poison", "c", b"")
    assert (work.lines, work.data) == (4, b'"b"\n\n"c"\n\n')
    effects = answer(dispatch, work)
    (found,) = of(effects, Pass)
    assert (found.indexes, found.statuses) == ([1, 3], {"dead": 1, None: 1})
    assert [list(run.order) for run in of(effects, Run)] == [[0, 2]]
    assert of(effects, Bury) == []
    assert b"poison" in admit(dispatch, "poison", first_line=5).data


def test_a_line_that_was_buried_unread_is_counted_in_the_half_where_it_stands():
    (letter,) = bury_unread(make(), "poison")
    settled = Settled()
    settled.add(bytes.fromhex(letter.key_text), b'"jobs:1"', "dead", 0)
    settled.unread.add(bytes.fromhex(letter.key_text))
    dispatch = make(settled=settled, max_crashes=1)
    works, passed = [admit(dispatch, "a", "other poison", "b", "poison")], {}
    while works:
        work = works.pop(0)
        effects = dispatch.split(work.batch, "m", NOW) if b"poison" in work.data else answer(dispatch, work)
        works += [effect.work for effect in of(effects, Prepare)]
        for each in of(effects, Pass):
            passed |= each.statuses
    assert passed == {"dead": 1}
    assert dispatch.lines == 2


def test_a_job_that_was_stopped_by_us_is_not_charged_and_has_no_record():
    dispatch = make(max_attempts=1)
    work, _ = start(dispatch, 1)
    assert dispatch.take_failure(work.batch, 0, fail("stop"), NOW) == []
    assert dispatch.lines == 1


def test_a_line_that_an_earlier_run_settled_is_passed_with_its_status():
    settled = Settled()
    first, _ = start(make(), 7)
    keys = prepare(Lines(first.data, 1, "", "jobs", 1), SCHEME, mark="no line holds this", with_ids=True).digests
    settled.add(keys, b'"jobs:9"', "completed", 0)
    dispatch = make(settled=settled, find=lambda *_: First("jobs:9", "completed", b"5"))
    work, effects = start(dispatch, 7, 7, 8)
    assert work.with_ids
    assert of(effects, Pass) == [Pass(work.batch, [0], {"completed": 1})]
    assert [each.first.result for each in of(effects, Double)] == [b"5"]
    assert dispatch.lines == 1


def test_the_same_line_twice_that_died_is_settled_twice_by_its_two_letters():
    """Two lines may carry one id and one payload; on going on, neither may get a further letter."""
    dispatch = make(max_attempts=1)
    line = {"payload": 7, "id": "a"}
    work, _ = start(dispatch, line, line)
    letters = of(dispatch.take_failure(work.batch, 0, fail(), NOW), Bury)
    assert len(letters) == 2
    settled = Settled()
    for offset, each in enumerate(letters):
        settled.add(each.job.key, json.dumps(each.job.id).encode(), "dead", offset)
        settled.dead.add(each.job.key, "a", {"type": "t", "message": "m"})
    later = make(settled=settled)
    work, effects = start(later, line, line)
    assert of(effects, Pass) == [Pass(work.batch, [0, 1], {"dead": 2})]
    assert of(effects, Bury) == []
    assert (later.lines, later.bytes) == (0, 0)


def test_a_duplicate_of_a_job_that_an_earlier_run_buried_is_buried_with_its_error():
    first, _ = start(make(), 7)
    keys = prepare(Lines(first.data, 1, "", "jobs", 1), SCHEME, mark="no line holds this", with_ids=True).digests
    settled = Settled()
    settled.add(keys, b'"jobs:1"', "dead", 0)
    settled.dead.add(keys, "jobs:1", {"type": "t", "message": "m"})
    dispatch = make(settled=settled)
    work, effects = start(dispatch, 7, b"", 7)
    assert of(effects, Pass) == [Pass(work.batch, [0, 1], {"dead": 1, None: 1})]
    (bury,) = of(effects, Bury)
    assert (bury.reason, bury.first.id, bury.error["type"], bury.place.index) == ("duplicate_of_dead", "jobs:1", "t", 2)
    assert of(effects, Drop) == [Drop(work.batch)]
    assert (dispatch.lines, dispatch.bytes) == (0, 0)


def test_a_running_job_is_named_by_its_place_in_the_input():
    dispatch = make()
    work, _ = start(dispatch, 1, 2)
    assert dispatch.label(work.batch, 1) == "in/jobs.jsonl:2"
    assert dispatch.label(work.batch, None) == "reading lines"
    dispatch.take_returned(work.batch, [1])
    (run,) = of(dispatch.next_jobs(NOW, 1), RunJobs)
    assert dispatch.label(run.batch, 0) == "in/jobs.jsonl:2"
    assert dispatch.label(999, 0) == "reading lines"


def test_lines_and_bytes_are_counted_from_admission_to_record():
    dispatch = make()
    work = admit(dispatch, 1, 22)
    assert (dispatch.lines, dispatch.bytes) == (2, 5)
    answer(dispatch, work)
    assert dispatch.in_flight == 2
    dispatch.take_finished(work.batch, [0, 1])
    assert dispatch.lines == 0
    dispatch.take_end(work.batch)
    assert (dispatch.bytes, dispatch.in_flight) == (0, 0)


def test_of_a_job_that_travels_alone_the_bytes_are_counted_until_its_record():
    dispatch = make()
    work, _ = start(dispatch, 1)
    dispatch.take_returned(work.batch, [0])
    dispatch.take_end(work.batch)
    (run,) = of(dispatch.next_jobs(NOW, 1), RunJobs)
    assert (dispatch.lines, dispatch.bytes) == (1, len("1"))
    dispatch.take_finished(run.batch, [0])
    dispatch.take_end(run.batch)
    assert (dispatch.lines, dispatch.bytes) == (0, 0)


def test_what_went_wrong_with_a_waiting_job_counts_towards_the_queue_until_it_is_settled():
    dispatch = make(max_attempts=2)
    work, _ = start(dispatch, 1)
    dispatch.take_failure(work.batch, 0, fail()._replace(message="m" * 300), NOW)
    dispatch.take_end(work.batch)
    assert dispatch.bytes == len("1") + 300
    (again,) = of(dispatch.next_jobs(LATER, 1), RunJobs)
    dispatch.take_failure(again.batch, 0, fail()._replace(message="m" * 300), LATER)
    dispatch.take_end(again.batch)
    assert (dispatch.lines, dispatch.bytes) == (0, 0)
