"""Grades in both databases: a decision counts once, whoever says it how often, and only for those whose it is."""

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from sqlalchemy import func, select

from gateway.core.learning import DAY_US, KEPT_DAYS, Key, Tallies
from gateway.core.records import SpendRecord
from gateway.stores.feedback import Feedback, NoAnswer, give_feedback
from gateway.stores.learned import SqlTallies
from gateway.stores.ledger import SqlLedger, open_engine
from gateway.stores.table import FEEDBACK
from tests.stores.samples import ONE

NOW_US = ONE.at_us + 60_000_000
DAY = NOW_US // DAY_US
ANSWER = msgspec.structs.replace(
    ONE, kind="code", effort="high",
    candidates='[["deepseek/v4-flash","row",7,51.0],["deepseek/v4-flash@high","row",8,72.5],["openai/x","row",9,null]]',
)  # fmt: skip


@pytest.fixture
def book(ledger: SqlLedger) -> SqlLedger:
    ledger.prepare()
    return ledger


def give(book: SqlLedger, score: float, **changes) -> Feedback:
    said = {"team": "search", "key_id": "key-1", "kind": None, "now_us": NOW_US, **changes}
    return give_feedback(book.engine, ANSWER.request_id, score=score, **said)


def tallies(book: SqlLedger, *, simulated: bool = False, day: int = DAY) -> Tallies:
    """Those that count anything."""
    found = SqlTallies(book.engine).present(simulated, day, 0)
    return {key: tally for key, tally in found.items() if any(tally)}


def places(kind: str = "code", *, simulated: bool = False, bucket: int = 14, model: str = "deepseek/v4-flash@high"):
    grade = Key("grade", simulated, DAY, "", kind, model, 0)
    return grade, grade._replace(what="bar", kind="code", bucket=bucket)


def test_a_grade_counts_for_the_model_at_its_effort_and_in_the_bin_of_what_was_expected(book: SqlLedger):
    book.append([ANSWER])
    assert give(book, 0.25) == Feedback(ANSWER.request_id, "deepseek/v4-flash@high", "code", 0.25, replaced=False)
    assert tallies(book) == {key: [1, 250, 0] for key in places()}


def test_the_last_word_on_a_decision_is_the_one_that_counts(book: SqlLedger):
    book.append([ANSWER])
    give(book, 0.25)
    assert give(book, 1.0, kind="maths").replaced
    give(book, 0.75, kind="maths")
    assert tallies(book) == {key: [1, 750, 0] for key in places("maths")}


def test_another_kind_than_was_decided_teaches_the_score_of_that_kind_and_the_bar_of_the_decided_one(book: SqlLedger):
    book.append([ANSWER])
    give(book, 1.0, kind="chat")
    assert set(tallies(book)) == {*places("chat")}


def test_words_given_at_the_same_time_count_once(book: SqlLedger, database_url: str):
    book.append([ANSWER])
    others = [SqlLedger(open_engine(database_url)) for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(give, others, [n / 10 for n in range(6)]))

    assert sorted(one.replaced for one in found) == [False] + [True] * 5
    with book.engine.connect() as connection:
        (score,) = connection.execute(select(FEEDBACK.c.score)).scalars()
        assert connection.execute(select(func.count()).select_from(FEEDBACK)).scalar_one() == 1
    assert tallies(book) == {key: [1, score, 0] for key in places()}
    for other in others:
        other.close()


def test_a_word_on_what_is_forgotten_takes_nothing_back(book: SqlLedger):
    book.append([ANSWER])
    give(book, 0.0)
    later = NOW_US + KEPT_DAYS * DAY_US
    SqlTallies(book.engine).forget(DAY + KEPT_DAYS, 0)
    give(book, 1.0, now_us=later)
    assert tallies(book) == {key._replace(span=DAY + KEPT_DAYS): [1, 1_000, 0] for key in places()}


def test_simulated_answers_are_graded_apart(book: SqlLedger):
    book.append([msgspec.structs.replace(ANSWER, simulated=True)])
    give(book, 1.0)
    assert tallies(book) == {}
    assert set(tallies(book, simulated=True)) == set(places(simulated=True))


def test_the_attempt_that_answered_is_graded_and_not_those_before(book: SqlLedger):
    failed = msgspec.structs.replace(
        ANSWER, attempt_id=f"{ANSWER.request_id}.1", outcome="http_503", model="openai/x", effort=None
    )
    answered = msgspec.structs.replace(ANSWER, attempt_id=f"{ANSWER.request_id}.2", attempt=2)
    book.append([failed, answered])
    assert give(book, 1.0).model == "deepseek/v4-flash@high"


@pytest.mark.parametrize("outcome", ["http_503", "timeout", "truncated", "lost"])
def test_what_was_not_answered_cannot_be_graded(book: SqlLedger, outcome: str):
    book.append([msgspec.structs.replace(ANSWER, outcome=outcome)])
    with pytest.raises(NoAnswer, match=outcome):
        give(book, 1.0)


@pytest.mark.parametrize("rows", [[], [ANSWER]])
def test_the_decision_of_another_team_is_as_unknown_as_none(book: SqlLedger, rows: list[SpendRecord]):
    book.append(rows)
    with pytest.raises(LookupError):
        give(book, 1.0, team="support")
    assert tallies(book) == {}


def test_a_model_that_nobody_measured_is_graded_without_a_bin(book: SqlLedger):
    book.append([msgspec.structs.replace(ANSWER, model="openai/x", effort=None)])
    give(book, 1.0)
    assert set(tallies(book)) == set(places(bucket=-1, model="openai/x"))
