"""How long answers are, from few of them."""

from __future__ import annotations

import pytest

from gateway.core.lengths import Seen, fit

NOTHING = Seen(0.0, 0.0)
STATED = {"terse": 500.0, "verbose": 500.0, "unseen": 500.0}


def test_what_was_never_seen_is_as_long_as_stated():
    assert fit({}, {}, STATED).length(500.0, "unseen", "code", NOTHING) == 500.0


def test_a_model_is_judged_in_a_kind_in_which_it_never_answered():
    # Four times the length in maths, whoever answers; the verbose one twice as long as stated.
    here = {("terse", "chat"): Seen(400, 200_000), ("terse", "maths"): Seen(400, 800_000),
            ("verbose", "chat"): Seen(400, 400_000)}  # fmt: skip

    found = fit(here, {}, STATED).length(500.0, "verbose", "maths", NOTHING)

    assert found == pytest.approx(4_000, rel=0.05)


def test_a_kind_of_long_answers_is_expected_to_be_long_of_a_new_model_too():
    here = {(model, kind): Seen(400, 400 * tokens) for model in ("terse", "verbose")
            for kind, tokens in (("chat", 250), ("maths", 1_000))}  # fmt: skip
    factors = fit(here, {}, STATED)

    long, short = (factors.length(500.0, "unseen", kind, NOTHING) for kind in ("maths", "chat"))
    assert long == pytest.approx(4 * short, rel=0.05)


def test_what_one_model_alone_shows_is_its_own():
    factors = fit({("verbose", "overall"): Seen(1_000, 2_000_000)}, {}, STATED)

    assert factors.length(500.0, "verbose", "overall", NOTHING) == pytest.approx(2_000, rel=0.05)
    assert factors.length(500.0, "unseen", "overall", NOTHING) == pytest.approx(500, rel=0.05)


def test_answers_on_other_routes_count_for_the_model():
    factors = fit({}, {"verbose": Seen(1_000, 1_000_000)}, STATED)
    assert factors.length(500.0, "verbose", "code", NOTHING) == pytest.approx(1_000, rel=0.01)


def test_many_answers_are_their_own_mean():
    seen = Seen(10_000, 3_210_000)
    assert fit({("terse", "code"): seen}, {}, STATED).length(500.0, "terse", "code", seen) == pytest.approx(
        321, rel=0.01
    )
