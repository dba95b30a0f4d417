"""Law: of what is set aside so much comes back at once as a turn of the loop can carry, be it alive or dead."""

from __future__ import annotations

import json
from math import inf

import pytest

from jqcli.core.aside import HELPING, Room
from jqcli.core.batch import Sizer
from jqcli.core.codec import Scheme
from jqcli.core.dedupe import Identities
from jqcli.core.dispatch import Dispatch
from jqcli.core.effect import Bury, RunJobs
from jqcli.core.event import Answer
from jqcli.core.lane import Flow
from jqcli.core.limit import Rate
from jqcli.core.prepare import Lines, prepare
from jqcli.core.rules import Moment, Rules
from jqcli.core.settled import Settled
from jqcli.model import Failure
from jqcli.policy import Policy
from tests.scratch import MemoryScratch

NOW = Moment(100.0, 1000.0, 0.5)
LATER = Moment(200.0, 1100.0, 0.5)
SCHEME = Scheme()
BOTH = pytest.mark.parametrize("flow", [Flow(), Flow(tenant_rate=Rate(1e5, 1e5))], ids=["plain", "gate"])
FEW, LARGE = "x", "x" * (1 << 17)
SIZES = pytest.mark.parametrize("text, number, most", [(FEW, 3000, HELPING), (LARGE, 30, 8)], ids=["many", "large"])


def wait(flow, jobs):
    """Return a dispatch of which all these jobs are set aside."""
    identities, rules = Identities(Settled(), dedupe=True), Rules({None: Policy()})
    room = Room(MemoryScratch(), lambda *_: b"", 100_000, 1 << 30)
    dispatch = Dispatch(identities, rules, SCHEME, Sizer(100), lambda *_: None, flow, keeps_order=False, room=room)
    for part in jobs[:1], jobs[1:]:  # a duplicate is set aside where the first of its identity is so already
        data = b"".join(json.dumps(job).encode() + b"\n" for job in part)
        work = dispatch.admit(0, "in", "in", 1, data, len(part)).work
        found = prepare(Lines(data, len(part), "in", "in", 1), SCHEME, mark="m", with_ids=False)
        dispatch.take_answer(Answer(work.batch, found.digests, found.hashes, b"", found.notes), NOW)
    assert dispatch.aside == len(jobs)
    return dispatch


@BOTH
@SIZES
def test_of_those_that_expired_a_helping_comes_back_at_once(flow, text, number, most):
    jobs = [{"payload": [n, text], "not_before": 1050, "expires": 1020} for n in range(number)]
    dispatch = wait(flow, jobs)
    buried = 0
    while not dispatch.is_empty:
        effects = dispatch.next_jobs(LATER, 2)
        assert 0 < len(effects) <= most
        assert {effect.reason for effect in effects if isinstance(effect, Bury)} == {"expired"}
        assert dispatch.is_empty or dispatch.due_at == -inf, "the rest would wait for nothing"
        assert dispatch.lines <= HELPING, "those that come back fill the memory"
        buried += len(effects)
    assert buried == number


@SIZES
def test_of_the_duplicates_of_a_job_that_ended_a_helping_comes_back_at_once(text, number, most):
    dispatch = wait(Flow(), [{"payload": text, "not_before": 1050}] * (number + 1))
    (run,) = dispatch.next_jobs(LATER, 2)
    assert isinstance(run, RunJobs)
    dispatch.take_failure(run.batch, 0, Failure("reject", "E", "m", "", ("E",), 0.1), LATER)
    dispatch.take_end(run.batch)
    settled = 0
    while not dispatch.is_empty:
        effects = dispatch.next_jobs(LATER, 2)
        assert 0 < len(effects) <= most
        assert {effect.reason for effect in effects if isinstance(effect, Bury)} == {"duplicate_of_dead"}
        settled += len(effects)
    assert settled == number
