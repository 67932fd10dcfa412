"""What following conversations is worth: the same synthetic conversations, decided in several ways, at real prices.

Each turn of a conversation has a task kind; a route with quality floors by kind lets some models serve it and others
not, and the cheapest of them is taken. The world keeps every provider's prompt cache by itself, by that provider's
rules, so the cost of a decision is what it would really be, whatever the decision believed:

    each turn alone     a prompt cache is never thought of
    average share       every model is expected to know the share of a prompt that it knew on average (learned)
    never move          whoever served first serves on, wherever a floor allows it
    priced moves        the gateway's own: a move is paid for in cold prefill, tool loops stay
    all caches known    every model's cache is known exactly, each turn's cost is the least: a bound for one turn ahead

Nothing here is measured in time, so it gives the same figures on any machine.

    PYTHONPATH=. python bench/affinity.py
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from gateway.config import load
from gateway.core.candidate import Candidate, Estimate, Signals
from gateway.core.conversation import Conversation, History, PromptCache, answered, warmth
from gateway.core.market import Market
from gateway.core.pricing import Usage
from gateway.core.request import ChatRequest, parse_chat
from gateway.core.route import Route
from gateway.core.routing import decide
from gateway.dialects import DIALECTS
from gateway.policies import POLICIES

ROUTES = Path(__file__).resolve().parent / "routes.yaml"
KEYS = dict.fromkeys(("OPENAI_API_KEY", "DEEPSEEK_API_KEY", "GEMINI_API_KEY"), "sk-affinity")
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
POOL = (
    "deepseek/deepseek-flash", "deepseek/deepseek-v4-pro", "google/gemini-3-flash-preview",
    "google/gemini-3.5-flash@high", "openai/gpt-5.6-luna@xhigh", "openai/gpt-5.6-terra@xhigh",
)  # fmt: skip
FLOORS = {"code": 75.0, "reasoning": 80.0, "writing": 80.0, "extraction": 73.0, "maths": 88.0, "overall": 60.0}
KINDS = tuple(FLOORS)
TALK = Conversation(b"", b"", b"", 0)


@dataclass(frozen=True)
class Turn:
    at: datetime
    kind: str
    prompt: int
    in_loop: bool


@dataclass(frozen=True)
class Traffic:
    """head: tokens of system prompt and tools. added: tokens that come with a turn. pause_s: between two turns."""

    name: str
    head: int
    added: int
    answer: int
    pause_s: float
    same_kind: float
    tools: float = 0.0
    turns: int = 10


TRAFFICS = (
    Traffic("chat", head=800, added=150, answer=500, pause_s=60, same_kind=0.7),
    Traffic("long documents", head=20_000, added=300, answer=500, pause_s=90, same_kind=0.7),
    Traffic("agent with tools", head=6_000, added=1_500, answer=300, pause_s=8, same_kind=0.8, tools=0.7),
)


def conversation(traffic: Traffic, dice: random.Random) -> list[Turn]:
    at = MONDAY + timedelta(seconds=dice.uniform(0, 7 * 86_400))
    main = dice.choice(KINDS)
    prompt, turns, loop = int(traffic.head * dice.lognormvariate(0, 0.5)), [], False
    kind = main
    for _ in range(traffic.turns):
        prompt += 1 + int(traffic.added * dice.lognormvariate(0, 0.7))
        if not loop:
            kind = main if dice.random() < traffic.same_kind else dice.choice(KINDS)
        turns.append(Turn(at, kind, prompt, loop))
        prompt += int(traffic.answer * dice.lognormvariate(0, 0.5))
        at += timedelta(seconds=dice.expovariate(1 / traffic.pause_s))
        loop = dice.random() < traffic.tools
    return turns


@dataclass
class World:
    """The providers' prompt caches for one conversation, and what it has cost."""

    market: Market
    seen: dict[str, tuple[int, datetime]] = field(default_factory=dict)

    def cached(self, model: str, turn: Turn) -> int:
        prompt, at = self.seen.get(model, (0, turn.at))
        rule = self.rule(model)
        return min(rule.holds(prompt), turn.prompt) if turn.at - at < timedelta(seconds=rule.keeps_s) else 0

    def rule(self, model: str) -> PromptCache:
        one = self.market.models[model]
        return DIALECTS[self.market.providers[one.provider].dialect].prompt_cache(one)

    def cost(self, one: Candidate, turn: Turn) -> int:
        cached = self.cached(one.model.id, turn)
        return int(one.price.cost(Usage(turn.prompt - cached, cached, 0, one.expected.output)))


@dataclass
class Tally:
    cost_nano: int = 0
    turns: int = 0
    moves: int = 0
    broken_loops: int = 0
    prompt: int = 0
    cached: int = 0
    by_model: Counter[str] = field(default_factory=Counter)
    prompt_by_model: Counter[str] = field(default_factory=Counter)
    cached_by_model: Counter[str] = field(default_factory=Counter)


class Way:
    """One way to decide: what it is told, and what it makes of the candidates."""

    def __init__(
        self,
        name: str,
        *,
        warm: bool = False,
        shares: Mapping[str, float] | None = None,
        pick: Callable[[list[Candidate], str | None, World, Turn], Candidate] | None = None,
    ) -> None:
        self.name, self.warm, self.shares = name, warm, shares or {}
        self.pick = pick or (lambda found, last, world, turn: found[0])


def stay(found: list[Candidate], last: str | None, world: World, turn: Turn) -> Candidate:
    return next((one for one in found if one.model.id == last), found[0])


def knowing(found: list[Candidate], last: str | None, world: World, turn: Turn) -> Candidate:
    if turn.in_loop:
        return stay(found, last, world, turn)
    return min(found, key=lambda one: world.cost(one, turn))


def run(way: Way, market: Market, conversations: list[list[Turn]]) -> Tally:
    tally = Tally()
    asked = parse_chat(b'{"model":"auto","messages":[{"role":"user","content":"q"}]}')
    routes = {kind: Route("auto", POLICIES["cheapest"], POOL, kind=kind, floors=FLOORS) for kind in KINDS}
    estimates = {name: replaced_share(market.priors[name], share) for name, share in way.shares.items()}
    for turns in conversations:
        world, last, known = World(market), None, None
        for turn in turns:
            now_us = int(turn.at.timestamp()) * 1_000_000
            warm = None if known is None else warmth(known, History(1, (1,), in_loop=turn.in_loop), TALK, now_us)
            request = sized(asked, turn.prompt, market)
            signals = Signals(now=turn.at, warm=warm, estimates=estimates)
            found = list(decide(routes[turn.kind], request, market, signals).candidates)
            chosen = way.pick(found, last, world, turn)
            count(tally, world, chosen, turn, last)
            world.seen[chosen.model.id] = (turn.prompt, turn.at)
            last = chosen.model.id
            held = world.rule(last).after(last, prompt=turn.prompt, size=request.prompt_bytes, now_us=now_us)
            known = answered(held, TALK, warm) if way.warm else None
    return tally


def replaced_share(prior: Estimate, share: float) -> Estimate:
    return msgspec.structs.replace(prior, cached_share=share)


def sized(asked: ChatRequest, tokens: int, market: Market) -> ChatRequest:
    """All tokenizers are taken to be the pool's first one's: who reads a prompt as fewer tokens is not tried here."""
    return msgspec.structs.replace(asked, prompt_bytes=int((tokens - 1) / market.priors[POOL[0]].tokens_per_byte))


def count(tally: Tally, world: World, chosen: Candidate, turn: Turn, last: str | None) -> None:
    name, cached = chosen.model.id, world.cached(chosen.model.id, turn)
    moved = last is not None and name != last
    tally.cost_nano += world.cost(chosen, turn)
    tally.turns += 1
    tally.moves += moved
    tally.broken_loops += moved and turn.in_loop
    tally.prompt += turn.prompt
    tally.cached += cached
    tally.by_model[name] += 1
    tally.prompt_by_model[name] += turn.prompt
    tally.cached_by_model[name] += cached


def ways(market: Market, conversations: list[list[Turn]]) -> Iterator[tuple[str, Tally]]:
    alone = run(Way("each turn alone"), market, conversations)
    yield "each turn alone", alone
    shares = {name: alone.cached_by_model[name] / alone.prompt_by_model[name] for name in alone.by_model}
    yield "average share", run(Way("average share", shares=shares), market, conversations)
    yield "never move", run(Way("never move", pick=stay), market, conversations)
    yield "priced moves", run(Way("priced moves", warm=True, shares=shares), market, conversations)
    yield "all caches known", run(Way("all caches known", pick=knowing), market, conversations)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=400, help="of ten turns each, for each kind of traffic")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    loaded = load(ROUTES, KEYS, now=MONDAY)
    market = replace(loaded.world.market, off={})
    for traffic in TRAFFICS:
        dice = random.Random(options.seed)
        conversations = [conversation(traffic, dice) for _ in range(options.conversations)]
        print(f"\n{traffic.name}: {options.conversations} conversations of {traffic.turns} turns")
        print(f"{'':<20}{'$ per 1,000':>14}{'moves':>10}{'loops broken':>14}{'cached':>10}{'cost':>9}")
        first: int | None = None
        for name, tally in ways(market, conversations):
            first = first or tally.cost_nano
            dollars = tally.cost_nano / 1e9 / options.conversations * 1_000
            print(
                f"{name:<20}{dollars:>14.2f}{tally.moves / options.conversations:>10.2f}{tally.broken_loops:>14}"
                f"{tally.cached / tally.prompt:>10.1%}{tally.cost_nano / first:>9.1%}"
            )


if __name__ == "__main__":
    main()
