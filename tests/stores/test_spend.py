"""Sums that finance may sign: the same from both databases, and the same as counting by hand."""

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.corrections import correction, reversal
from gateway.core.money import Nano
from gateway.core.records import SpendRecord, State
from gateway.stores.ledger import SqlLedger, open_engine
from gateway.stores.question import DIMENSIONS
from gateway.stores.spans import Rows, Span, parts
from gateway.stores.spend import SpendLine, attempts_of, both_kinds, period, recent, spend, total
from gateway.stores.spend_text import render_table, to_json
from gateway.stores.table import EPOCH, HOUR_US, day_of, to_us
from tests.stores.samples import DAY_US, ONE, TAG_NAMES, by_chance, numbered, varied

BYS = [
    (), ("provider",), ("model",), ("route",), ("team",), ("day",), ("key",), ("policy",), ("outcome",), ("cache",),
    ("day", "team"), ("team", "day"), ("provider", "model", "route"), ("hour",), ("organisation", "hour", "day"),
    ("end_user",), ("team", "tag:project"), tuple(f"tag:{name}" for name in TAG_NAMES), DIMENSIONS,
]  # fmt: skip
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def values_of(record: SpendRecord, by: tuple[str, ...]) -> dict[str, str]:
    named = msgspec.to_builtins(record) | {
        "day": day_of(record.at_us),
        "hour": f"{EPOCH + timedelta(microseconds=record.at_us):%Y-%m-%dT%H:00Z}",
        "key": record.key_id,
        "request": record.request_id,
        "end_user": record.end_user or "",
        **{f"tag:{name}": json.loads(record.tags).get(name, "") for name in TAG_NAMES},
    }
    return {name: named[name] for name in by}


def by_hand(records: list[SpendRecord], by: tuple[str, ...], *, simulated: bool = False) -> list[SpendLine]:
    """What the database should say, counted in plain Python."""
    heaps: dict[tuple[str, ...], list[SpendRecord]] = defaultdict(list)
    for record in records:
        if record.simulated is simulated:
            heaps[tuple(values_of(record, by).values())].append(record)
    lines = []
    for key, heap in heaps.items():
        uncertain = sum(one.cost_nano for one in heap if one.state is State.UNCERTAIN)
        settled = sum(one.cost_nano for one in heap if one.state is State.SETTLED)
        baseline = sum(one.baseline_nano for one in heap)
        attempts = sum(one.sign for one in heap)
        answered = sum(one.sign for one in heap if one.outcome in ("ok", "cached"))
        aborted = sum(one.sign for one in heap if one.outcome == "aborted")
        background = sum(one.sign for one in heap if one.outcome == "revalidated")
        lines.append(
            SpendLine(
                group=dict(zip(by, key, strict=True)), simulated=simulated,
                requests=answered, attempts=attempts, aborted=aborted, background=background,
                failed=attempts - answered - aborted - background,
                cache_hits=sum(one.sign for one in heap if one.outcome == "cached"),
                input_tokens=sum(one.input_tokens for one in heap),
                cached_input_tokens=sum(one.cached_input_tokens for one in heap),
                cache_write_tokens=sum(one.cache_write_tokens for one in heap),
                output_tokens=sum(one.output_tokens for one in heap),
                reasoning_tokens=sum(one.reasoning_tokens for one in heap),
                audio_input_tokens=sum(one.audio_input_tokens for one in heap),
                image_input_tokens=sum(one.image_input_tokens for one in heap),
                audio_output_tokens=sum(one.audio_output_tokens for one in heap),
                image_output_tokens=sum(one.image_output_tokens for one in heap),
                duration_us=sum(one.duration_us for one in heap),
                settled_nano=settled, uncertain_nano=uncertain, baseline_nano=baseline,
                saved_nano=sum(one.saved_nano for one in heap),
            )
        )  # fmt: skip
    lines = [line for line in lines if line.attempts or line.settled_nano or line.uncertain_nano]
    times = [name for name in ("day", "hour") if name in by]
    if times:
        return sorted(lines, key=lambda line: ([line.group[name] for name in times], list(line.group.values())))
    return sorted(lines, key=lambda line: (-line.settled_nano - line.uncertain_nano, *line.group.values()))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_both_databases_say_the_same_and_what_counting_by_hand_says(sqlite_url: str, postgres_url: str, seed: int):
    records = varied(seed, 1200)
    small, large = SqlLedger(open_engine(sqlite_url)), SqlLedger(open_engine(postgres_url))
    for ledger in (small, large):
        ledger.append(records)
        ledger.append(records[::-1])

    for by in BYS:
        for simulated in (False, True):
            expected = by_hand(records, by, simulated=simulated)
            assert spend(small.engine, by=by, simulated=simulated) == expected
            assert spend(large.engine, by=by, simulated=simulated) == expected
            assert to_json(spend(small.engine, by=by, simulated=simulated)) == to_json(expected)
    assert both_kinds(small.engine) == both_kinds(large.engine)
    small.close()
    large.close()


def test_filters_and_the_period_leave_the_rest_out(ledger: SqlLedger):
    records = varied(4, 800)
    ledger.append(records)
    since, until = datetime(2026, 11, 24, tzinfo=UTC), datetime(2026, 11, 26, 18, 30, tzinfo=UTC)

    for by in ((), ("team", "day")):
        for name, wanted in (("team", "Zürich"), ("provider", "google"), ("model", "m1"), ("route", "code")):
            rest = [one for one in records if getattr(one, name) == wanted]
            assert spend(ledger.engine, by=by, simulated=False, **{name: wanted}) == by_hand(rest, by)
        within = [one for one in records if to_us(since) <= one.at_us < to_us(until)]
        assert spend(ledger.engine, by=by, since=since, until=until, simulated=False) == by_hand(within, by)
        for name, field, wanted in (("key", "key_id", "key-1"), ("organisation", "organisation", "acme"),
                                    ("end_user", "end_user", "u1")):  # fmt: skip
            rest = [one for one in records if getattr(one, field) == wanted]
            assert spend(ledger.engine, by=by, simulated=False, **{name: wanted}) == by_hand(rest, by)
        for tags in ({"project": "x"}, dict.fromkeys(TAG_NAMES, 'q"\\'), {"project": "東京", "$[0]": "y"}):
            rest = [one for one in records if json.loads(one.tags).items() >= tags.items()]
            assert spend(ledger.engine, by=by, simulated=False, tags=tags) == by_hand(rest, by)
    assert spend(ledger.engine, by=("team",), team="nobody\0", simulated=False) == []


@pytest.fixture(scope="module")
def same_books(tmp_path_factory, postgres_cluster) -> Iterator[tuple[list[SpendRecord], list[SqlLedger]]]:
    """One book of three days in both databases, written by two at once, and its records."""
    records = varied(11, 600)
    urls = [f"sqlite:///{tmp_path_factory.mktemp('same') / 'ledger.sqlite'}", postgres_cluster.new_database()]
    ledgers = [SqlLedger(open_engine(url)) for url in urls]
    for ledger in ledgers:
        ledger.prepare()
        batches = [records[start : start + 40] for start in range(0, len(records), 40)]
        shuffled = random.Random(1).sample(batches, len(batches))
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda order, to=ledger: [to.append(batch) for batch in order], [batches, shuffled]))
    yield records, ledgers
    for ledger in ledgers:
        ledger.close()


INSTANTS = st.one_of(
    st.none(),
    st.datetimes(datetime(2026, 11, 22), datetime(2026, 11, 29), timezones=st.just(UTC)),  # noqa: DTZ001
    st.builds(lambda hours: NOON + timedelta(hours=hours), st.integers(-72, 96)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    by=st.lists(st.sampled_from([*DIMENSIONS, "tag:project"]), max_size=4, unique=True).map(tuple),
    since=INSTANTS, until=INSTANTS, simulated=st.booleans(),
    wanted=st.fixed_dictionaries({}, optional={"team": st.just("search"), "key": st.just("key-1"),
                                               "end_user": st.just("u2")}),
)  # fmt: skip
def test_any_question_has_the_answer_that_counting_every_row_gives(same_books, by, since, until, simulated, wanted):
    records, ledgers = same_books
    field = {"team": "team", "key": "key_id", "end_user": "end_user"}
    within = [
        one
        for one in records
        if (since is None or to_us(since) <= one.at_us)
        and (until is None or one.at_us < to_us(until))
        and all(getattr(one, field[name]) == value for name, value in wanted.items())
    ]
    expected = by_hand(within, by, simulated=simulated)
    for ledger in ledgers:
        assert spend(ledger.engine, by=by, since=since, until=until, simulated=simulated, **wanted) == expected


@settings(max_examples=300)
@given(since=st.none() | st.integers(0, 10 * DAY_US), length=st.none() | st.integers(0, 6 * DAY_US),
       coarsest=st.sampled_from([0, 1, 24]), instants=st.lists(st.integers(0, 16 * DAY_US), min_size=5))  # fmt: skip
def test_every_instant_of_a_period_lies_in_exactly_one_part(since, length, coarsest, instants):
    until = None if length is None else (since or 0) + length
    found = parts(since, until, coarsest_h=coarsest)
    edges = [at + by for at in (since, until) if at is not None for by in (-1, 0, 1)]
    for at in [*instants, *edges, *(edge // HOUR_US * HOUR_US for edge in edges)]:
        inside = (since is None or since <= at) and (until is None or at < until)
        holding = [part for part in found if _holds(part, at)]
        assert len(holding) == inside
    assert all(part.hours <= coarsest and part.first % part.hours == 0 for part in found if isinstance(part, Span))


def _holds(part: Span | Rows, at: int) -> bool:
    if isinstance(part, Span):
        return part.first <= at // HOUR_US < part.end
    return (part.first_us is None or part.first_us <= at) and (part.end_us is None or at < part.end_us)


def test_a_corrected_row_is_one_request_at_its_new_cost(ledger: SqlLedger):
    wrong = msgspec.structs.replace(ONE, state=State.UNCERTAIN, outcome="cached")
    ledger.append([wrong, *numbered(2)])
    ledger.append([reversal(wrong), correction(wrong, cost_nano=Nano(7))])
    ledger.append([reversal(wrong), correction(wrong, cost_nano=Nano(8))])  # once more: the first stands

    (line,) = spend(ledger.engine, by=(), simulated=False)
    assert (line.attempts, line.requests, line.cache_hits) == (3, 3, 1)
    assert (line.settled_nano, line.uncertain_nano) == (2 * ONE.cost_nano + 7, 0)
    assert (line.input_tokens, line.duration_us) == (3 * ONE.input_tokens, 3 * ONE.duration_us)
    assert both_kinds(ledger.engine) == (3, 0)


def test_too_many_lines_are_refused(ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch):
    ledger.append(numbered(6))
    monkeypatch.setattr("gateway.stores.spend.LINES_AT_MOST", 5)
    with pytest.raises(ValueError, match="more than 5 lines"):
        spend(ledger.engine, by=("request",), simulated=False)


def test_the_period_includes_its_beginning_and_not_its_end(ledger: SqlLedger):
    at = to_us(NOON)
    ledger.append([
        msgspec.structs.replace(ONE, attempt_id=str(number), at_us=at + number) for number in (-1, 0, 1, 999, 1000)
    ])  # fmt: skip
    (line,) = spend(ledger.engine, by=(), since=NOON, until=NOON + timedelta(milliseconds=1), simulated=False)
    assert line.attempts == 3


def test_instants_are_exact_and_carry_their_zone():
    shanghai = timezone(timedelta(hours=8))
    assert to_us(NOON) == to_us(NOON.astimezone(shanghai)) == 1_795_608_000_000_000
    assert to_us(datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)) == 253_402_300_799_999_999
    with pytest.raises(ValueError, match="names no time zone"):
        to_us(datetime(2026, 11, 25))  # noqa: DTZ001


def test_a_period_is_read_from_text():
    assert period("2026-11-25T12:00:00Z", None) == (NOON, None)
    assert period("2026-11-24", "2026-11-25T20:00:00+08:00") == (datetime(2026, 11, 24, tzinfo=UTC), NOON)
    with pytest.raises(ValueError, match="'yesterday' is no ISO date"):
        period("yesterday", None)
    with pytest.raises(ValueError, match="before it begins"):
        period("2026-11-25", "2026-11-24")


def test_an_unknown_dimension_is_refused_with_those_that_exist(ledger: SqlLedger):
    for name in ("weather", "tag:", "tags"):
        with pytest.raises(ValueError, match=f"cannot group by '{name}'; choose from provider, model, .*, tag:NAME"):
            spend(ledger.engine, by=("team", name), simulated=False)


def test_nothing_booked_is_no_line(ledger: SqlLedger):
    ledger.prepare()
    assert spend(ledger.engine, by=(), simulated=False) == []
    assert both_kinds(ledger.engine) == (0, 0)


def test_sums_past_what_a_float_holds_are_exact(ledger: SqlLedger):
    amount = 2**53 - 1
    ledger.append(numbered(1000, cost_nano=Nano(amount), baseline_nano=Nano(1)))
    (line,) = spend(ledger.engine, by=(), simulated=False)
    assert line.settled_nano == 1000 * amount
    assert line.saved_nano == 1000 - 1000 * amount


def test_real_and_simulated_spend_are_never_in_one_sum(ledger: SqlLedger):
    ledger.append([*numbered(3), *numbered(2, start=10, simulated=True)])
    real, simulated = (spend(ledger.engine, by=("team",), simulated=kind) for kind in (False, True))

    assert (real[0].attempts, simulated[0].attempts) == (3, 2)
    assert both_kinds(ledger.engine) == (3, 2)
    with pytest.raises(ValueError, match="never summed together"):
        total([*real, *simulated])
    assert render_table(simulated, ("team",)).startswith("simulated spend: no provider was asked")


def test_recent_records_come_newest_first_and_attempts_in_their_order(ledger: SqlLedger):
    records = by_chance(5, 300)
    ledger.append(records)

    real = [one for one in records if not one.simulated]
    newest = sorted(real, key=lambda one: (one.at_us, one.attempt_id), reverse=True)
    assert recent(ledger.engine, 20, simulated=False) == newest[:20]
    assert recent(ledger.engine, 10**9, simulated=False) == newest
    assert recent(ledger.engine, 0, simulated=False) == []
    assert (
        recent(ledger.engine, 5, simulated=False, team="search") == [one for one in newest if one.team == "search"][:5]
    )
    request = records[0].request_id
    same = [one for one in records if one.request_id == request]
    assert attempts_of(ledger.engine, request) == sorted(same, key=lambda one: (one.attempt, one.attempt_id))


def line(name: str, **changes: object) -> SpendLine:
    zero = dict.fromkeys((field for field in SpendLine.__struct_fields__ if field not in ("group", "simulated")), 0)
    return SpendLine(**{"group": {"provider": name}, "simulated": False, **zero, **changes})


TABLE_OF_TWO = """
provider  requests  attempts  failed  aborted  cache hits  tokens in  tokens out       cost $  uncertain $  baseline $       saved $
------------------------------------------------------------------------------------------------------------------------------------
deepseek     1,990     2,003      12        1          40  1,500,000      90,001  0.252000001     0.000000    9.000000   8.747999999
openai           2         2       0        0           0          0           0  0.000000000     0.005000    0.000000  -0.005000000
------------------------------------------------------------------------------------------------------------------------------------
total        1,992     2,005      12        1          40  1,500,000      90,001  0.252000001     0.005000    9.000000   8.742999999
"""  # noqa: E501


def test_the_table_lines_up_and_ends_with_the_total():
    lines = [
        line(
            "deepseek", requests=1990, attempts=2003, failed=12, aborted=1, cache_hits=40, input_tokens=1_200_000,
            cached_input_tokens=300_000, output_tokens=90_000, reasoning_tokens=1, settled_nano=252_000_001,
            baseline_nano=9_000_000_000, saved_nano=8_747_999_999,
        ),
        line("openai", requests=2, attempts=2, uncertain_nano=5_000_000, saved_nano=-5_000_000),
    ]  # fmt: skip
    assert render_table(lines, ("provider",)).splitlines() == TABLE_OF_TWO.strip().splitlines()


def test_a_table_of_everything_and_of_nothing():
    table = render_table([line("x", requests=1, attempts=1)], ())
    assert len(table.splitlines()) == 3
    assert render_table([], ("provider",)) == "nothing was spent in this period\n"


def test_json_has_integers_and_dollars_as_text():
    said = json.loads(to_json([line("openai", settled_nano=1_500, baseline_nano=2**60, saved_nano=2**60 - 1_500)]))
    (first,) = said["lines"]
    assert first["group"] == {"provider": "openai"}
    assert (first["settled_nano"], first["settled_usd"]) == (1_500, "0.000001500")
    assert (first["baseline_nano"], first["baseline_usd"]) == (2**60, "1152921504.606846976")
    assert said["total"]["saved_usd"] == "1152921504.606845476"
    assert said["total"]["simulated"] is False
    assert json.loads(to_json([])) == {"lines": [], "total": None}
