"""`make eval-routing`, on made-up outcomes of the same columns, and on the real ones where they are."""

import math
import random

import arro3.io
import pytest
from arro3.core import Array, DataType, Table

from learn import evaluate, strangers
from learn.curve import cost_to_reach, hull
from learn.outcomes import PRICES
from tests.kinds.trained import prompts
from tests.running import ROOT

REAL = ROOT.parent / "shared/data/routing" / evaluate.FILE


def outcomes(path, seed, count=120):
    """The dear model is right on ships alone, a cheap one on the rest; now and then nobody knows."""
    dice = random.Random(seed)
    asked = prompts(count, seed)
    columns = {
        "prompt": Array([text for text, _ in asked], DataType.large_utf8()),
        "category": Array([kind for _, kind in asked], DataType.large_utf8()),
    }
    for number, model in enumerate(PRICES):
        good = [(kind == "ships") == (number == 0) for _, kind in asked]
        right = [None if dice.random() < 0.02 else int(dice.random() < (0.9 if well else 0.3)) for well in good]
        columns[f"correct|{model}"] = Array(right, DataType.int8())
        columns[f"out_chars|{model}"] = Array([800 if dice.random() > 0.02 else None for _ in asked], DataType.int32())
    arro3.io.write_parquet(Table.from_pydict(columns), path)
    return path


def test_every_router_is_printed_and_a_table_of_held_out_categories(tmp_path, capsys):
    data = outcomes(tmp_path / "some.parquet", 1)
    evaluate.main(["--data", str(data), "--seeds", "1"])
    printed = capsys.readouterr().out
    routers = ["always", "random", "static best", "length only", "kind table", "true kinds", "oracle"]
    for row in [*routers, "animals", "kitchens", "ships"]:
        assert any(line.startswith(row) for line in printed.splitlines()), row


def test_another_file_can_be_tested_on(tmp_path, capsys):
    data, other = outcomes(tmp_path / "some.parquet", 1), outcomes(tmp_path / "other.parquet", 2, count=30)
    evaluate.main(["--data", str(data), "--test", str(other), "--seeds", "1", "--held-out", "1"])
    taught, calibrated, tested = (270, 90, 90)
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"1 draws of {taught} taught")
    assert int(first.split(" calibrated")[0].split()[-1]) <= calibrated
    assert int(first.split(" tested")[0].split()[-1]) <= tested


def test_an_absent_file_says_what_is_needed_and_exits_with_2(tmp_path, capsys):
    assert evaluate.main(["--data", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "is not there" in said
    assert "out_chars|<model>" in said


def test_a_file_without_a_model_of_the_pool_names_the_column(tmp_path, capsys):
    arro3.io.write_parquet(Table.from_pydict({"prompt": Array(["x"], DataType.utf8())}), tmp_path / "thin.parquet")
    assert evaluate.main(["--data", str(tmp_path / "thin.parquet")]) == 2
    assert "category, correct|gpt-4o-2024-05-13" in capsys.readouterr().err


def test_the_hull_keeps_what_is_worth_its_money():
    points = [(1.0, 0.5), (2.0, 0.7), (2.5, 0.6), (3.0, 0.72), (9.0, 0.9), (1.0, 0.4)]
    assert [points[number] for number in hull(points)] == [(1.0, 0.5), (2.0, 0.7), (9.0, 0.9)]


def test_the_cost_to_reach_lies_on_the_line_between_two_points():
    line = [(1.0, 0.5), (3.0, 0.7)]
    assert cost_to_reach(line, 0.6) == pytest.approx(2.0)
    assert cost_to_reach(line, 0.4) == 1.0
    assert math.isnan(cost_to_reach(line, 0.8))


@pytest.mark.skipif(not REAL.is_file(), reason=f"the graded answers are not there ({evaluate.FILE})")
def test_on_real_answers_routing_by_kind_costs_less_than_the_static_best_and_a_held_out_category_loses_little(capsys):
    evaluate.main(["--data", str(REAL), "--seeds", "1", "--held-out", "1"])
    lines = capsys.readouterr().out.splitlines()
    percent = {line[:32].strip(): line[32:].split()[0] for line in lines if " +- " in line}
    assert float(percent["kind table and regressions"]) < 30 < float(percent["static best, each prompt priced"])
    held_out = next(line for line in lines if line.startswith("biology"))
    assert float(held_out.split()[-1]) > -100 * strangers.WORSE_BY
