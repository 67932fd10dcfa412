"""What one decision takes with everything on, but for the kind of the task: p50 and p99 of single calls, one core.

Everything: learned estimates for every candidate, a quality floor, a warm prompt cache, one model set aside, terms in
the request's headers, four conditions of which none holds, a step down that is not due. The market is the shipped price
book, so real rows with windows and tiers are priced; candidates are repeated models at made-up efforts where the book
has too few. `remember` is what the ledger keeps of the decision, so that it can be made again.

    .venv/bin/python bench/decide.py [--check]     --check: exit 1 when a bar is missed
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter_ns

from gateway.config import load
from gateway.core.candidate import Estimate, Signals, Warm
from gateway.core.catalog import Capability
from gateway.core.market import Market
from gateway.core.question import Question, answer
from gateway.core.remembered import remember
from gateway.core.request import parse_chat
from gateway.core.route import Route, StepDown, When
from gateway.core.terms import Terms, Words
from gateway.core.world import KEYLESS, World
from gateway.policies import POLICIES

ROUTES = Path(__file__).resolve().parent / "routes.yaml"
KEYS = dict.fromkeys(("OPENAI_API_KEY", "DEEPSEEK_API_KEY", "GEMINI_API_KEY"), "sk-decide")
CALLS = 20_000
BARS_US = {8: (30.0, 100.0), 64: (200.0, None)}
"""Candidates -> what p50 and p99 must stay under; for 64 the p50 alone is bounded."""

BODY = b"""{"model":"bench","messages":[{"role":"system","content":"Answer concisely."},{"role":"user","content":
"Which of the three offers is the cheapest over two years, and by how much?"}],"temperature":0,"max_tokens":800}"""


def world_with(count: int) -> tuple[World, Route]:
    """A world whose bench route has this many candidates that may all serve the request."""
    world = load(ROUTES, KEYS, now=datetime.now(UTC)).world
    now = datetime.now(UTC)
    priced = [one for one in world.market.models.values() if world.market.prices.at(one.id, now) is not None]
    able = [one for one in priced if one.deprecated_on is None and Capability.TOOLS in one.capabilities]
    models = able[:count]
    for effort in ("low", "medium", "high"):
        missing = count - len(models)
        models += [dataclasses.replace(one, id=f"{one.base}@{effort}", effort=effort) for one in able[:missing]]
    if len(models) < count:
        raise SystemExit(f"the price book gives {len(models)} candidates, not {count}")
    market = Market({one.id: one for one in models} | dict(world.market.models), world.market.providers,
                    world.market.prices)  # fmt: skip
    other = Route("other", POLICIES["best"], (models[0].id,))
    conditions = tuple(When("other", tags={"tier": tier}, needs=frozenset({Capability.VISION})) for tier in "abcd")
    route = Route(
        "bench", POLICIES["cheapest"], tuple(one.id for one in models), kind="code", floors={"code": 40.0},
        when=conditions, step_down=StepDown(90, "other"), jurisdictions=frozenset({"US", "CN"}),
        baseline=models[0].id,
    )  # fmt: skip
    words = Words(POLICIES, frozenset({"code"}), frozenset({"US", "CN"}))
    return dataclasses.replace(world, market=market, routes={"bench": route, "other": other}, words=words), route


def question_for(route: Route) -> Question:
    estimates = {}
    for at, name in enumerate(route.candidates):
        scores = {"overall": 61.5 + at % 20, "code": 55.25 + at % 30}
        estimates[name] = Estimate(0.2431, 300 + 37 * at, 0.213, scores, {}, 350, 81.5, 412 + at)
    signals = Signals(
        now=datetime.now(UTC), seed=7, unhealthy={route.candidates[1]: "5 faults in a row"}, used_percent=40,
        estimates=estimates, warm=Warm(route.candidates[2], 7_200),
    )  # fmt: skip
    terms = Terms(floor=45.0, max_cost_nano=10**9)
    return Question(route, parse_chat(BODY), KEYLESS, signals, terms, {"project": "apollo"})


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """p50 and p99 in microseconds."""
    for _ in range(200):
        call()
    taken = []
    for _ in range(CALLS):
        began = perf_counter_ns()
        call()
        taken.append(perf_counter_ns() - began)
    taken.sort()
    return taken[CALLS // 2] / 1e3, taken[CALLS * 99 // 100] / 1e3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit 1 when a bar is missed")
    check = parser.parse_args().check
    gc.collect()
    gc.freeze()  # as the server does
    gc.set_threshold(20_000, 20, 50)
    missed = False
    print(f"{'candidates':>10}  {'what':<28}{'p50 us':>9}{'p99 us':>9}   must be under")
    for count, (most_p50, most_p99) in BARS_US.items():
        world, route = world_with(count)
        question = question_for(route)
        decision = answer(question, world)
        assert len(decision.candidates) + len(decision.drops) == count
        p50, p99 = timed(lambda question=question, world=world: answer(question, world))
        missed |= p50 > most_p50 or (most_p99 is not None and p99 > most_p99)
        bars = f"{most_p50:g}" + (f" and {most_p99:g}" if most_p99 else "")
        print(f"{count:>10}  {'decision':<28}{p50:>9.1f}{p99:>9.1f}   {bars}")
        p50, p99 = timed(lambda q=question, d=decision: remember(q, d, "0123456789abcdef"))
        print(f"{count:>10}  {'remember, for the ledger':<28}{p50:>9.1f}{p99:>9.1f}")
    return 1 if check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
