"""The labelled pairs of questions, and the figures that are made of them."""

from __future__ import annotations

import pytest

from learn.near import HERE, interval, lines, read_pairs


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"), [(0, 256, 0.0, 0.0143), (5, 100, 0.0164, 0.1128), (10, 10, 0.6915, 1.0)]
)
def test_an_interval_is_the_one_of_the_tables(hits, of, low, high):
    assert interval(hits, of) == pytest.approx((low, high), abs=1e-4)


def test_there_are_pairs_of_both_kinds_and_those_held_out_share_no_question_with_the_others():
    tune, held = (read_pairs(HERE / f"near_{name}.txt") for name in ("tune", "held"))
    direct = [pair for pair in (*tune, *held) if pair.direct]

    assert len(direct) >= 600
    assert sum(pair.same for pair in direct) > 250
    assert {pair.one for pair in tune}.isdisjoint(pair.one for pair in held)


def test_the_table_counts_what_similarity_alone_and_with_the_rules_would_do(tmp_path):
    file = tmp_path / "pairs.txt"
    file.write_text("= How do I pay?\n+ How can I pay?\n- question: Why do I pay?\n")

    rows = list(lines([pair for pair in read_pairs(file) if pair.direct], lambda one, other: 0.9))

    assert rows[-3].split(" | ") == ["| 0.90", "1/1 (100.0%)", "0/1 (0.0%)", "0.0% to 97.5%", "1/1 (100.0%)",
                                     "1/1 (100.0%) |"]  # fmt: skip
    assert rows[-1].split(" | ")[1] == "0/1 (0.0%)"
