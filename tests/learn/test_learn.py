"""`make learn` from rows to a file, and its words when rows cannot be learned from."""

import json
import subprocess
import sys

import pytest

from gateway.kinds.reader import KindReader
from learn import seed
from learn.rows import Row, RowsError, divided, read_rows
from tests.kinds.trained import prompts
from tests.running import ROOT


def learn(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "learn", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_rows_become_a_file_that_reads_their_kinds(tmp_path):
    rows = [{"text": text, "kind": kind, "right": {"m": int(kind == "ships")}} for text, kind in prompts(40, 1)]
    data, out = written(tmp_path / "rows.jsonl", rows), tmp_path / "kinds.bin"
    ran = learn("--data", data, "--out", out)
    assert ran.returncode == 0, ran.stderr
    assert "rows kept apart: 100.0% right" in ran.stdout
    reader = KindReader.of(out.read_bytes())
    assert (reader.kinds, reader.heads) == (("animals", "kitchens", "ships"), ("m",))
    assert reader.read("anchor sail deck crew").top == "ships"


def test_rows_made_otherwise_can_be_tested_on(tmp_path):
    data = written(tmp_path / "rows.jsonl", [{"text": text, "kind": kind} for text, kind in prompts(30, 1)])
    other = written(tmp_path / "other.jsonl", [{"text": text, "kind": kind} for text, kind in prompts(5, 2)])
    ran = learn("--data", data, "--out", tmp_path / "kinds.bin", "--test", other)
    assert "rows of other.jsonl: 100.0% right of the 15 known" in ran.stdout


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"text": "x"}', "missing required field `kind`"),
        ('{"text": "x", "kind": "y", "label": 1}', "unknown field `label`"),
        ('{"text": " ", "kind": "y"}', "must not be empty"),
        ('{"text": "x", "kind": "y", "right": {"m": 3}}', "'right' of 'm' must be 0 or 1"),
        ("{", "a row is"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, line, says):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a", "kind": "b"}\n\n' + line + "\n")
    with pytest.raises(RowsError, match=r"rows\.jsonl:3: ") as raised:
        read_rows(path)
    assert says in str(raised.value)


@pytest.mark.parametrize(("count", "says"), [(1, "only 1 rows of the kind"), (0, "has no rows")])
def test_too_few_rows_are_refused_with_what_to_add(tmp_path, count, says):
    data = written(tmp_path / "rows.jsonl", [{"text": text, "kind": kind} for text, kind in prompts(count, 1)])
    ran = learn("--data", data, "--out", tmp_path / "kinds.bin")
    assert (ran.returncode, says in ran.stderr) == (2, True)
    assert not (tmp_path / "kinds.bin").exists()


def test_a_group_of_rows_stays_together():
    rows = [Row(f"{kind} {number}", kind, f"{kind} {number // 10}") for kind in "ab" for number in range(200)]
    parts = divided(rows, (0.7, 0.15, 0.15), seed=1)
    assert sorted(map(len, parts)) == [60, 60, 280]
    places = {(number, row.group) for number, part in enumerate(parts) for row in part}
    assert len(places) == len({group for _, group in places})


def test_seed_prompts_are_the_same_each_time_and_of_every_kind():
    first, second = list(seed.rows(per_kind=20)), list(seed.rows(per_kind=20))
    assert first == second
    assert len({row["kind"] for row in first}) == 9
    assert not [row for row in first if "{small}" in row["text"] or "{number}" in row["text"]]


def test_no_held_out_prompt_is_taught_and_none_that_calibrates():
    held_out = {json.loads(line)["text"] for line in (ROOT / "learn/held_out.jsonl").read_text().splitlines()}
    assert len(held_out) == 180
    taught = {row["text"] for row in seed.rows(per_kind=200)}
    calibrating = {row["text"] for row in seed.calibrating()}
    assert not held_out & (taught | calibrating)
    assert not taught & calibrating
