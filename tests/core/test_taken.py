"""Laws of the taken identities: cheap to fill, and yet a mapping."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from jqcli.core.taken import Taken

LIGHT = settings(max_examples=100, deadline=None, database=None)
LETTERS = "abcde"
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["all", "try"]), st.text(LETTERS, max_size=4)),
        st.tuples(st.sampled_from(["one", "find", "has"]), st.sampled_from(LETTERS)),
    ),
    max_size=12,
)


def key(letter):
    return letter.encode() * 16


@LIGHT
@given(STEPS)
def test_it_says_what_a_plain_mapping_would_say_whenever_it_is_asked(steps):
    taken, model = Taken(), {}
    for number, (step, letters) in enumerate(steps):
        if step in ("all", "try"):
            is_new = len(set(letters)) == len(letters) and not any(letter in model for letter in letters)
            assert taken.add_all(b"".join(map(key, letters)), number) == is_new
            if is_new and step == "try":
                taken.give_back(b"".join(map(key, letters)))
            elif is_new:
                model |= {letter: (number, at) for at, letter in enumerate(letters)}
        elif step == "one":
            at = (0, 7, 2**32 - 1)[number % 3]
            taken.add(key(letters), number, at)
            model[letters] = (number, at)
        elif step == "find":
            assert taken.find(key(letters)) == model.get(letters)
        else:
            assert (key(letters) in taken) == (letters in model)
    assert {letter: taken.find(key(letter)) for letter in LETTERS} == {letter: model.get(letter) for letter in LETTERS}
