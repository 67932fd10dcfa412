"""A decision of the past, for people: what it was made of, what became of it, and whether it comes out the same again.

Pure: the rows of the ledger and the configuration of then come in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from .candidate import Warm
from .explain import Explanation, explain, render, table
from .money import usd
from .records import SpendRecord, State, UsageSource
from .remembered import Remembered, again, outline, outlined, question_of, recall
from .terms import AS_THE_ROUTE, Terms
from .world import World

THE_SAME = "the same"

_tags = msgspec.json.Decoder(dict[str, str]).decode


class WeighedModel(msgspec.Struct, frozen=True):
    """A candidate as it was recorded, first choice first."""

    model: str
    price_id: str
    expected_cost_usd: str
    quality: float | None


class DroppedModel(msgspec.Struct, frozen=True):
    model: str
    code: str


class Known(msgspec.Struct, frozen=True):
    """What was known of a model: an Estimate, by the names of its fields."""

    tokens_per_byte: float
    output_tokens: int
    cached_share: float
    scores: Mapping[str, float]
    bars: Mapping[str, float]
    ttft_ms: int | None
    tokens_per_s: float | None
    answers: int


class Moment(msgspec.Struct, frozen=True):
    """The signals and the request's own terms. prompt_bytes: the size of the prompt, which is not kept."""

    prompt_bytes: int
    terms: Terms
    kinds: Mapping[str, float]
    warm: Warm | None
    used_percent: int
    unhealthy: Mapping[str, str]
    estimates: Mapping[str, Known]


class MadeAttempt(msgspec.Struct, frozen=True):
    """A row of the ledger. takes_back: the attempt that this row takes back; it is then no attempt of its own."""

    attempt: str
    model: str
    effort: str | None
    outcome: str
    state: State
    usage_source: UsageSource
    expected_cost_usd: str
    cost_usd: str
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    duration_ms: int
    ttft_ms: int | None
    takes_back: str | None


class PastDecision(msgspec.Struct, frozen=True):
    """replayed: "the same", or what differs, or why it cannot be made again. explanation: the decision made again.

    moment: None where the ledger has none, as of a decision that an older version made. cost_usd: of all attempts.
    """

    decision: str
    at: str
    config: str | None
    team: str
    key_id: str
    route: str
    policy: str
    kind: str
    simulated: bool
    replayed: str
    cost_usd: str
    baseline_usd: str
    moment: Moment | None
    candidates: list[WeighedModel]
    drops: list[DroppedModel]
    attempts: list[MadeAttempt]
    explanation: Explanation | None


def remembered_in(rows: Sequence[SpendRecord]) -> Remembered | None:
    """What the decision of a request was made of, if its rows say it and can be read."""
    text = next((row.decision for row in rows if row.decision), "")
    try:
        return recall(text) if text else None
    except msgspec.MsgspecError:
        return None


def look_back(rows: Sequence[SpendRecord], world: World | None, why_not: str, at: str) -> PastDecision:
    """rows: all of one request, at least one. world: the configuration of then; None, with `why_not`, without it."""
    first = rows[0]
    remembered = remembered_in(rows)
    candidates, drops = outlined(first.candidates, first.drops)
    replayed, explanation = why_not, None
    if remembered is not None and world is not None:
        replayed, explanation = _replayed(first, remembered, world)
    return PastDecision(
        decision=first.request_id,
        at=at,
        config=None if remembered is None else remembered.config,
        team=first.team,
        key_id=first.key_id,
        route=first.route,
        policy=first.policy,
        kind=first.kind,
        simulated=first.simulated,
        replayed=replayed,
        cost_usd=usd(sum(row.cost_nano for row in rows)),
        baseline_usd=usd(sum(row.baseline_nano for row in rows)),
        moment=None if remembered is None else _moment(remembered),
        candidates=[WeighedModel(model, price, usd(cost), score) for model, price, cost, score in candidates],
        drops=[DroppedModel(*drop) for drop in drops],
        attempts=[_attempt(row) for row in rows],
        explanation=explanation,
    )


def _replayed(row: SpendRecord, remembered: Remembered, world: World) -> tuple[str, Explanation | None]:
    tags = _tags(row.tags)
    decision = again(remembered, world, team=row.team, tags=tags)
    question = question_of(remembered, world, team=row.team, tags=tags)
    if decision is None or question is None:
        return f"not possible: its configuration has no route or model {remembered.request.model!r}", None
    candidates, drops = outline(decision)
    was, dropped = outlined(row.candidates, row.drops)
    found = []
    if [one[0] for one in candidates] != [one[0] for one in was]:
        order = ", ".join(one[0] for one in candidates) or "nobody"
        found.append(f"the order is now {order}")
    costs = {one[0]: one[2] for one in was}
    found += [f"{model} is now expected at ${usd(cost)}" for model, _, cost, _ in candidates
              if model in costs and costs[model] != cost]  # fmt: skip
    if sorted(drops) != sorted(dropped):
        found.append(f"left out are now {', '.join(f'{model} [{code}]' for model, code in drops) or 'none'}")
    told = f"differs: {'; '.join(found)}" if found else THE_SAME
    return told, explain(decision, question.request, world.market)


def _moment(one: Remembered) -> Moment:
    estimates = {model: Known(*msgspec.structs.astuple(known)) for model, known in one.estimates.items()}
    return Moment(one.request.prompt_bytes, one.terms, one.kinds, one.warm, one.used_percent, one.unhealthy, estimates)


def _attempt(row: SpendRecord) -> MadeAttempt:
    return MadeAttempt(
        attempt=row.attempt_id,
        model=row.model,
        effort=row.effort,
        outcome=row.outcome,
        state=row.state,
        usage_source=row.usage_source,
        expected_cost_usd=usd(row.expected_nano),
        cost_usd=usd(row.cost_nano),
        input_tokens=row.input_tokens + row.cache_write_tokens + row.audio_input_tokens + row.image_input_tokens,
        cached_input_tokens=row.cached_input_tokens,
        output_tokens=row.output_tokens + row.audio_output_tokens + row.image_output_tokens,
        reasoning_tokens=row.reasoning_tokens,
        duration_ms=round(row.duration_us / 1_000),
        ttft_ms=None if row.ttft_us is None else round(row.ttft_us / 1_000),
        takes_back=row.corrects if row.sign < 0 else None,
    )


def render_past(past: PastDecision) -> str:
    """A past decision as plain text for a terminal."""
    lines = [
        f"decision {past.decision} of {past.at}, team {past.team}{', simulated' if past.simulated else ''}",
        f"made again under configuration {past.config or 'unknown'}: {past.replayed}",
        "",
    ]
    if past.explanation is not None:
        lines += [render(past.explanation), ""]
    else:
        rows = [{"model": one.model, "expected $": one.expected_cost_usd, "price row": one.price_id}
                for one in past.candidates]  # fmt: skip
        lines += [*(table(rows) if rows else ["no candidate was left"])]
        lines += [*(f"  {drop.model} was left out [{drop.code}]" for drop in past.drops), ""]
    if past.moment is not None:
        lines += [*_signals(past.moment), ""]
    lines += table([_attempt_row(one) for one in past.attempts])
    lines.append(f"cost ${past.cost_usd}, baseline ${past.baseline_usd}")
    return "\n".join(lines)


def _signals(moment: Moment) -> list[str]:
    lines = [f"prompt of {moment.prompt_bytes:,} bytes; {moment.used_percent} % of its fullest budget was used"]
    if moment.terms != AS_THE_ROUTE:
        lines.append(f"its own terms: {msgspec.json.encode(moment.terms).decode()}")
    if moment.kinds:
        shares = sorted(moment.kinds.items(), key=lambda one: -one[1])[:3]
        lines.append(f"it seemed to be: {', '.join(f'{kind} {share:.0%}' for kind, share in shares)}")
    if moment.warm is not None:
        held = ", and had to stay there" if moment.warm.locked else ""
        lines.append(f"{moment.warm.prompt_bytes:,} bytes of it were warm at {moment.warm.model}{held}")
        lines += [f"{one.prompt_bytes:,} bytes of it were warm at {one.model}" for one in moment.warm.others]
    lines += [f"{model} was set aside: {why}" for model, why in moment.unhealthy.items()]
    lines += [f"{model} was known by {one.answers} answers: {one.output_tokens} tokens of output,"
              f" {one.tokens_per_byte} tokens per byte, {one.cached_share:.1%} cached"
              for model, one in moment.estimates.items()]  # fmt: skip
    return lines


def _attempt_row(one: MadeAttempt) -> Mapping[str, str]:
    return {
        "attempt": one.attempt if one.takes_back is None else f"takes back {one.takes_back}",
        "model": one.model if one.effort is None else f"{one.model} at {one.effort}",
        "outcome": one.outcome,
        "expected $": one.expected_cost_usd,
        "cost $": one.cost_usd if one.state is State.SETTLED else f"{one.cost_usd} ({one.state})",
        "tokens in/cached/out/thinking": f"{one.input_tokens}/{one.cached_input_tokens}/{one.output_tokens}"
        f"/{one.reasoning_tokens}",
        "ms": str(one.duration_ms),
        "first ms": "-" if one.ttft_ms is None else str(one.ttft_ms),
    }
