"""How good answers were, as their callers say: one row for each decision, and with it the tallies it is counted in.

Invariant: a decision counts once. A second word on it takes the first one back in the same transaction, so the tallies
are at every moment those of the rows that are there.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, Engine, select

from gateway.core.learning import DAY_US, KEPT_DAYS, Grade, Tallies, grade_of, with_effort
from gateway.core.records import SpendRecord
from gateway.core.remembered import outlined

from .learned import add_tallies
from .ledger import transaction
from .spend import attempts_of
from .table import FEEDBACK, storable

ANSWERED = ("ok", "cached", "aborted")


class NoAnswer(ValueError):
    """The decision led to no answer that could be good or bad."""


class Feedback(msgspec.Struct, frozen=True):
    """What was taken down. replaced: it takes the place of an earlier word on the same decision."""

    decision: str
    model: str
    kind: str
    score: float
    replaced: bool


def give_feedback(
    engine: Engine, decision: str, *, team: str, key_id: str, score: float, kind: str | None, now_us: int
) -> Feedback:
    """score: 0 to 1. kind: None: what the decision took it for.

    Blocks. Raises LookupError for a decision that the ledger does not have or that is another team's, NoAnswer for one
    that was not answered, LedgerUnavailable.
    """
    rows = [row for row in attempts_of(engine, decision) if row.sign == 1]
    if not rows or rows[0].team != team:
        raise LookupError(decision)
    answered = next((row for row in reversed(rows) if row.outcome in ANSWERED), None)
    if answered is None:
        raise NoAnswer(f"the request failed ({rows[-1].outcome}), so there is no answer to grade")
    grade = grade_of(answered, _expected(answered), score, None if kind is None else storable(kind), now_us)
    with transaction(engine) as connection:
        before = _put(connection, decision, team, key_id, grade)
        add_tallies(connection, _change(before, grade))
    return Feedback(decision, grade.model, grade.kind, score, replaced=before is not None)


def _expected(answered: SpendRecord) -> float | None:
    """The quality that its decision expected of the model that answered."""
    candidates, _ = outlined(answered.candidates, answered.drops)
    scores = {model: score for model, _, _, score in candidates}
    return scores.get(with_effort(answered.model, answered.effort), scores.get(answered.model))


def _put(connection: Connection, decision: str, team: str, key_id: str, grade: Grade) -> Grade | None:
    """Returns what was there before. Whoever comes second waits for the first, and then finds it."""
    values = dict(zip(("simulated", "at_us", "model", "kind", "decided", "bucket", "score"), grade, strict=True))
    values |= {"request_id": storable(decision), "team": team, "key_id": key_id}
    names = ", ".join(values)
    marks = ", ".join("?" if connection.dialect.name == "sqlite" else "%s" for _ in values)
    added = connection.exec_driver_sql(
        f"INSERT INTO {FEEDBACK.name} ({names}) VALUES ({marks}) ON CONFLICT (request_id) DO NOTHING",  # noqa: S608
        tuple(values.values()),
    )
    if added.rowcount == 1:
        return None
    columns = [FEEDBACK.c[name] for name in ("simulated", "at_us", "model", "kind", "decided", "bucket", "score")]
    of_it = FEEDBACK.c.request_id == values["request_id"]
    before = Grade(*connection.execute(select(*columns).where(of_it).with_for_update()).one())
    connection.execute(FEEDBACK.update().where(of_it).values(values))
    return before


def _change(before: Grade | None, after: Grade) -> Tallies:
    change: Tallies = {}
    for grade, sign in ((before, -1), (after, 1)):
        # What has been forgotten cannot be taken back any more.
        if grade is None or grade.at_us // DAY_US <= after.at_us // DAY_US - KEPT_DAYS:
            continue
        for place in grade.places():
            n, total, base = change.get(place, (0, 0, 0))
            change[place] = [n + sign, total + sign * grade.score, base]
    return change
