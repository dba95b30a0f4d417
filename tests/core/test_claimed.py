"""Laws of what a run lets go of: all that is done, once, soon, and nothing else."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from jqcli.core.claimed import OwnClaims
from jqcli.core.recall import split_keys

LIGHT = settings(max_examples=200, deadline=None, database=None)


def keys(*numbers):
    return b"".join(bytes([number]) * 16 for number in numbers)


def numbers(own):
    """Return what is let go of by now: numbers of rows, and of identities."""
    done = own.take()
    return [number for _, number in done.rows], [key[0] for _, part in done.keys for key in split_keys(part)]


def test_a_batch_that_is_done_in_parts_is_let_go_of_by_its_number():
    own = OwnClaims()
    assert (own.add(7, keys(1, 2, 3)), own.add(8, keys(4))) == (1, 2)
    own.finish([7], None, keys(1))
    own.finish([8], "other", keys(4))
    assert own.take() == ([("other", 2)], [])
    own.finish([7], None, keys(2, 3))
    assert numbers(own) == ([1], [])
    assert not own.is_any_done


def test_what_waits_for_the_rest_of_its_batch_waits_over_one_commit_at_most():
    own = OwnClaims()
    own.add(7, keys(1, 2, 3, 4))
    own.finish([7], "other", keys(1))
    assert numbers(own) == ([], [])
    assert own.is_any_done
    own.finish([7], "other", keys(2))
    assert own.take() == ([], [("other", keys(1, 2))])
    assert not own.is_any_done
    own.finish([7], "other", keys(3))
    assert own.take() == ([], [("other", keys(3))])


def test_one_that_came_to_a_batch_later_does_not_stand_for_one_that_is_in_flight():
    own = OwnClaims()
    own.add(7, keys(1, 2))
    own.add(None, keys(9))
    own.finish([7], None, keys(9))
    own.finish([7], None, keys(1))
    assert numbers(own) == ([], [9, 1])
    own.finish([7], None, keys(2))
    assert numbers(own) == ([], [2])


def test_jobs_of_several_batches_are_let_go_of_by_their_identities():
    own = OwnClaims()
    own.add(7, keys(1))
    own.add(8, keys(2))
    own.finish({7: None, 8: None}, None, keys(1, 2))
    assert numbers(own) == ([], [1, 2])


BATCHES = st.lists(st.integers(1, 5), max_size=6)


@LIGHT
@given(BATCHES, st.randoms(use_true_random=False))
def test_all_that_is_done_is_let_go_of_once_and_nothing_else(sizes, chance):
    own, rows, todo = OwnClaims(), {}, []
    for batch, size in enumerate(sizes):
        claimed = [10 * batch + at for at in range(size)]
        rows[own.add(batch, keys(*claimed))] = set(claimed)
        cut = chance.randint(0, size)
        parts = [claimed[:cut], claimed[cut:]]
        if chance.random() < 0.3:
            parts.reverse()
        todo += [(batch, part) for part in parts if part and chance.random() < 0.8]
    if chance.random() < 0.5:
        chance.shuffle(todo)
    done, let_go, before = [], [], set()
    for batch, part in todo:
        own.finish([batch], None, keys(*part))
        done += part
        if chance.random() < 0.4:
            whole, loose = numbers(own)
            let_go += [*loose, *(key for number in whole for key in rows[number])]
            assert set(let_go) <= set(done)
            assert set(let_go) >= before, "what was done before the last commit waited too long"
            before = set(done)
    for _ in range(2):
        whole, loose = numbers(own)
        let_go += [*loose, *(key for number in whole for key in rows[number])]
    assert sorted(let_go) == sorted(done)
