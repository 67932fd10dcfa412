"""A month of real price events, simulated: what routing by learned costs spends, beside an oracle that knows more.

Prices are the shipped price book's, and they move within the span (2026-08-10 to 2026-09-12): DeepSeek goes from one
price to peak and off-peak hours, frees weekends and renews its Flash; gpt-5.6-sol is cut; Gemini's 3.6 halves; new
models come into force. Traffic is made up: requests of mixed task kinds, whose true answer lengths belong to the model
and the kind (far from the stated priors: that must be learned), to the request itself, and to chance. The gateway sees
the length of the answers that it paid for and of no other; the oracle sees all of them, before it chooses.

Both keep the same quality floors, by the same scores. Printed for each seed: what the oracle spends, what routing
spends beyond it (regret), what one would who knows every mean and no single answer (luck: that much of the regret
nobody could have known), the same without learning, and the best single model that keeps all floors.

    .venv/bin/python bench/regret.py [--requests 20000] [--seeds 5] [--check]    --check: exit 1 past its bars
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import random
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from gateway.config import SHIPPED_ROUTES, load
from gateway.core.candidate import Candidate, Signals
from gateway.core.catalog import AUTO, Model
from gateway.core.estimates import Learned
from gateway.core.learning import DAY_US, Tallies, learn, merge, weighted
from gateway.core.money import Nano, usd
from gateway.core.pricing import Usage
from gateway.core.question import Question, answer
from gateway.core.records import SpendRecord, State, UsageSource
from gateway.core.remembered import remember
from gateway.core.request import ChatRequest
from gateway.core.route import Route
from gateway.core.routing import Decision, expected_score
from gateway.core.world import KEYLESS, World
from gateway.policies import POLICIES

SINCE, UNTIL = datetime(2026, 8, 10, tzinfo=UTC), datetime(2026, 9, 12, tzinfo=UTC)
KEYS = dict.fromkeys(("OPENAI_API_KEY", "DEEPSEEK_API_KEY", "GEMINI_API_KEY"), "sk-regret")
KINDS = {"code": 0.25, "maths": 0.1, "reasoning": 0.15, "writing": 0.2, "extraction": 0.2, "overall": 0.1}
FLOORS = {"code": 70.0, "maths": 84.0, "reasoning": 74.0, "writing": 75.0, "extraction": 60.0, "overall": 60.0}
LENGTHS = {"code": 1.3, "maths": 1.8, "reasoning": 2.2, "writing": 0.9, "extraction": 0.3, "overall": 0.7}
"""The mean answer of a kind, as a multiple of the model's."""

OFF_PRIOR, BY_KIND, BY_REQUEST, BY_CHANCE = 0.5, 0.15, 0.6, 0.15
"""Spreads (of the logarithm): of a model's mean about its stated prior, of a kind's within the model, of a request's
length whoever answers it, and of what is left to chance."""

MOST_REGRET = 0.01
LEARNED_EVERY_S = 600
EXPLORED_PERCENT = 1


class Case(NamedTuple):
    """One request: when, what it is, how long each model's answer is and how many tokens its prompt has there."""

    at: datetime
    kind: str
    prompt_bytes: int
    outputs: Mapping[str, int]
    prompts: Mapping[str, int]


class Month:
    """One seed's traffic."""

    def __init__(self, seed: int, count: int, models: Mapping[str, Model], since: datetime, until: datetime) -> None:
        dice = self._dice = random.Random(seed)
        self._means = {
            (name, kind): model.expected_output_tokens * LENGTHS[kind] * dice.lognormvariate(0, BY_KIND) * off
            for name, model in models.items()
            for off in [dice.lognormvariate(0, OFF_PRIOR)]
            for kind in KINDS
        }
        self._ratios = {name: model.tokens_per_byte * dice.lognormvariate(0, 0.1) for name, model in models.items()}
        moments = sorted(dice.random() for _ in range(count))
        self.cases = [self._case(since + share * (until - since)) for share in moments]

    def mean_bill(self, candidate: Candidate, case: Case) -> Nano:
        """What this kind of answer takes of the model in the mean, at this moment's price."""
        name = candidate.model.id
        mean = self._means[name, case.kind] * math.exp((BY_REQUEST**2 + BY_CHANCE**2) / 2)
        return candidate.price.cost(Usage(input=case.prompts[name], output=int(mean)))

    def _case(self, at: datetime) -> Case:
        dice = self._dice
        kind = dice.choices(list(KINDS), list(KINDS.values()))[0]
        prompt_bytes = int(dice.lognormvariate(math.log(3_000), 1.0)) + 50
        common = dice.lognormvariate(0, BY_REQUEST)
        outputs = {
            name: max(int(mean * common * dice.lognormvariate(0, BY_CHANCE)), 1)
            for (name, of), mean in self._means.items()
            if of == kind
        }
        return Case(at, kind, prompt_bytes, outputs, {name: int(prompt_bytes * r) for name, r in self._ratios.items()})


def world_of() -> World:
    """The shipped market. Its scores count as they stand today; its prices as they stood."""
    world = load(SHIPPED_ROUTES, KEYS, now=datetime.now(UTC)).world
    scored = [one.id for one in world.market.models.values() if one.effort is None and one.score("overall") is not None]
    # As it was then: a model that has been retired since could still be asked.
    models = {name: dataclasses.replace(model, deprecated_on=None) for name, model in world.market.models.items()}
    market = dataclasses.replace(world.market, models=models, off={})
    route = Route("month", POLICIES["cheapest"], tuple(scored), kind=AUTO, floors=FLOORS,
                  explore_percent=EXPLORED_PERCENT)  # fmt: skip
    return dataclasses.replace(world, market=market, routes={"month": route})


def decided(case: Case, seed: int, estimates: Mapping[str, object], world: World) -> tuple[Question, Decision]:
    request = ChatRequest(
        model="month", stream=False, include_usage=False, needs=frozenset(), prompt_bytes=case.prompt_bytes, images=0,
        max_output_tokens=None, n=1, fields={},
    )  # fmt: skip
    signals = Signals(now=case.at, seed=seed, kinds={case.kind: 1.0}, estimates=estimates)
    question = Question(world.routes["month"], request, KEYLESS, signals)
    return question, answer(question, world)


def bill(candidate: Candidate, case: Case) -> Nano:
    name = candidate.model.id
    return candidate.price.cost(Usage(input=case.prompts[name], output=case.outputs[name]))


def booked(case: Case, candidate: Candidate, question: Question, decision: Decision, number: int) -> SpendRecord:
    """The row of an answer, as far as it teaches something."""
    name = candidate.model.id
    return SpendRecord(
        attempt_id=f"{number}.1", request_id=str(number), attempt=1, at_us=int(case.at.timestamp()) * 1_000_000,
        route="month", policy="cheapest", kind=decision.kind, team="default", key_id="keyless",
        provider=candidate.model.provider, model=name, simulated=False, stream=False, cache="off", state=State.SETTLED,
        outcome="ok", status=200, finish_reason="stop", usage_source=UsageSource.PROVIDER,
        input_tokens=case.prompts[name], cached_input_tokens=0, cache_write_tokens=0, output_tokens=case.outputs[name],
        reasoning_tokens=0, service_tier=None, price_id=candidate.price.id, expected_nano=candidate.expected_cost,
        cost_nano=bill(candidate, case), baseline_model=None, baseline_price_id=None, baseline_nano=Nano(0),
        duration_us=0, ttft_us=None, candidates="[]", drops="[]", prompt_bytes=case.prompt_bytes,
        decision=remember(question, decision, "month"),
    )  # fmt: skip


class Outcome(NamedTuple):
    """Nano-dollars. below: answers whose model is under the floor of the request's kind."""

    spent: int
    oracle: int
    means: int
    priors: int
    below: int
    chosen: Mapping[str, int]


def lived(month: Month, world: World, seed: int) -> Outcome:
    """The month as the gateway lives it, request by request."""
    dice, tallies, estimates = random.Random(seed), Tallies(), {}
    spent = oracle = means = priors = below = 0
    learned_at = SINCE - timedelta(days=1)
    chosen: dict[str, int] = {}
    route = world.routes["month"]
    for number, case in enumerate(month.cases):
        if (case.at - learned_at).total_seconds() >= LEARNED_EVERY_S:
            learned_at = case.at
            learned = Learned()
            learned.add(weighted(tallies, int(case.at.timestamp()) * 1_000_000 // DAY_US))
            estimates = {kind: learned.estimates(route, kind, world) for kind in KINDS}
        question, decision = decided(case, dice.getrandbits(48), estimates.get(case.kind, {}), world)
        first = decision.candidates[0]
        spent += bill(first, case)
        chosen[first.model.id] = chosen.get(first.model.id, 0) + 1
        merge(tallies, learn([booked(case, first, question, decision, number)]))
        score = expected_score(world.market.priors[first.model.id].scores, [(case.kind, 1.0)])
        below += score is None or score < FLOORS[case.kind]
        untaught = decided(case, 99, {}, world)[1].candidates
        oracle += min(bill(one, case) for one in untaught)
        means += bill(min(untaught, key=lambda one: month.mean_bill(one, case)), case)
        priors += bill(untaught[0], case)
    return Outcome(spent, oracle, means, priors, below, chosen)


def static_best(month: Month, world: World) -> tuple[str, int]:
    """The one model that keeps every floor and would have taken the least, with what it would have taken."""
    totals: dict[str, int] = {}
    served: dict[str, int] = {}
    for case in month.cases:
        for one in decided(case, 99, {}, world)[1].candidates:
            totals[one.model.id] = totals.get(one.model.id, 0) + bill(one, case)
            served[one.model.id] = served.get(one.model.id, 0) + 1
    whole = {name: total for name, total in totals.items() if served[name] == len(month.cases)}
    best = min(whole, key=whole.__getitem__)
    return best, whole[best]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000, help="in the month (default: 20000)")
    parser.add_argument("--seeds", type=int, default=5, help="how many months (default: 5)")
    parser.add_argument("--check", action="store_true", help="exit 1 past 1 %% of regret, or under a floor")
    asked = parser.parse_args()
    world = world_of()
    models = {name: world.market.models[name] for name in world.routes["month"].candidates}
    print(f"{asked.requests} requests from {SINCE.date()} to {UNTIL.date()}, {len(models)} candidates of 3 providers")
    print(f"{'seed':>4}{'oracle $':>12}{'regret':>9}{'luck':>8}{'unlearned':>11}{'one model':>11}{'under':>14}  models")
    regrets, broken = [], 0
    for seed in range(asked.seeds):
        month = Month(seed, asked.requests, models, SINCE, UNTIL)
        outcome = lived(month, world, seed)
        _, single = static_best(month, world)
        spent = (outcome.spent, outcome.means, outcome.priors, single)
        regret, luck, unlearned, one = (value / outcome.oracle - 1 for value in spent)
        regrets.append(regret)
        broken += outcome.below
        print(f"{seed:>4}{usd(outcome.oracle)[:-6]:>12}{regret:>9.2%}{luck:>8.2%}{unlearned:>11.1%}{one:>11.1%}"
              f"{outcome.below:>14}  {len(outcome.chosen)}")  # fmt: skip
    mean = sum(regrets) / len(regrets)
    print(f"mean regret {mean:.2%} (must be: at most {MOST_REGRET:.0%}); answers under a floor: {broken} (must be: 0)")
    return 1 if asked.check and (mean > MOST_REGRET or broken) else 0


if __name__ == "__main__":
    sys.exit(main())
