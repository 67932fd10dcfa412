"""The answer to a request, decided whole before its first byte leaves: text or tool calls, reasoning, token counts.

Pure, and the same for the same body: everything is drawn from dice seeded with the body's digest. The one thing that
depends on what came before is how much of the prompt was cached, and that comes in as an argument.
"""

import json
import random
from dataclasses import dataclass, replace

from gateway.simulator.ask import Ask
from gateway.simulator.bill import NO_TOKENS, Tokens
from gateway.simulator.scenario import Scenario
from gateway.simulator.schema import example
from gateway.simulator.tokens import count_tokens, cut_at_stop, make_text, pieces, seeded

# Reasoning tokens by effort; what no provider of ours knows costs as much as "high".
_EFFORTS = {"none": 0, "minimal": 4, "low": 8, "medium": 16, "high": 32, "xhigh": 48, "max": 64, "ultra": 64}


@dataclass(frozen=True, slots=True)
class Call:
    id: str
    name: str
    arguments: tuple[str, ...]  # pieces of one token; joined they are JSON


@dataclass(frozen=True, slots=True)
class Choice:
    index: int
    content: tuple[str, ...]  # pieces of one token; empty when the answer is tool calls
    calls: tuple[Call, ...]
    reasoning: tuple[str, ...]
    finish: str

    @property
    def text(self) -> str:
        return "".join(self.content)

    @property
    def output_tokens(self) -> int:
        called = sum(count_tokens(call.name) + len(call.arguments) for call in self.calls)
        return len(self.content) + called


@dataclass(frozen=True, slots=True)
class Answer:
    id: str  # hex; each wire dresses it its own way
    created: int
    ask: Ask
    choices: tuple[Choice, ...]
    service_tier: str
    tokens: Tokens  # what was counted, so what a completed answer is billed
    tells_usage: bool
    usage_at: str | None
    chunk_tokens: int

    @property
    def dice(self) -> random.Random:
        """For what decorates the wire (signatures, log probabilities); the counts are settled."""
        return seeded(self.ask.seed, b"wire")


@dataclass(frozen=True, slots=True)
class Manner:
    """How this provider answers this request, besides what the request says itself."""

    scenario: Scenario
    fault: str  # a kind, or ""
    effort: str | None  # the reasoning effort in force; None: this model does not reason
    most_choices: int
    chunk_tokens: int


def make_answer(ask: Ask, manner: Manner, prompt: Tokens, id: str, created: int) -> Answer:
    """`prompt` holds the prompt's counts only; `id` is hex, and the one thing that no two answers share."""
    several = ask.body.get("n")
    count = several if isinstance(several, int) and several > 0 else 1
    choices = tuple(_choice(ask, manner, index) for index in range(min(count, manner.most_choices)))
    tokens = replace(
        prompt,
        output=sum(choice.output_tokens for choice in choices),
        reasoning=sum(len(choice.reasoning) for choice in choices),
    )
    return Answer(
        id=id,
        created=created,
        ask=ask,
        choices=choices,
        service_tier=service_tier(ask),
        tokens=NO_TOKENS if manner.fault == "zero_usage" else tokens,
        tells_usage=manner.fault != "no_usage",
        usage_at=manner.scenario.usage_at,
        chunk_tokens=manner.chunk_tokens,
    )


def service_tier(ask: Ask) -> str:
    """The tier that serves the request: what was asked for, where auto is default."""
    tier = ask.body.get("service_tier")
    return tier if isinstance(tier, str) and tier not in ("auto", "standard") else "default"


def _choice(ask: Ask, manner: Manner, index: int) -> Choice:
    dice = seeded(ask.seed, index.to_bytes(2, "big"))
    left = ask.max_tokens if ask.max_tokens is not None else 10**9
    reasoning = pieces(make_text(min(left, _reasoning_tokens(manner, dice)), dice))
    left -= len(reasoning)
    calls = tuple(_call(function, dice) for function in ask.functions)
    if calls and sum(count_tokens(call.name) + len(call.arguments) for call in calls) <= left:
        return Choice(index, (), calls, reasoning, "tool_calls")
    content, finish = _text(ask, manner.scenario, dice), "stop"
    if manner.fault == "content_filter":
        content, finish = content[: len(content) // 2], "content_filter"
    if len(content) > left:
        content, finish = content[:left], "length"
    return Choice(index, content, (), reasoning, finish)


def _reasoning_tokens(manner: Manner, dice: random.Random) -> int:
    if manner.effort is None:
        return 0
    if manner.scenario.reasoning_tokens is not None:
        return manner.scenario.reasoning_tokens
    usual = _EFFORTS.get(manner.effort, _EFFORTS["high"])
    return usual + dice.randrange(1 + usual // 4)


def _text(ask: Ask, scenario: Scenario, dice: random.Random) -> tuple[str, ...]:
    wanted = scenario.answer_tokens if scenario.answer_tokens is not None else dice.randint(8, 60)
    if ask.response_format == "json_schema":
        return pieces(_dumps(example(ask.schema, dice)))
    if ask.response_format == "json_object":
        return pieces(_dumps({"answer": make_text(wanted, dice)}))
    text, _ = cut_at_stop(make_text(wanted, dice), ask.stops)
    return pieces(text)


def _call(function: dict[str, object], dice: random.Random) -> Call:
    arguments = example(function.get("parameters") or {"type": "object"}, dice)
    return Call(id=dice.randbytes(12).hex(), name=str(function.get("name", "")), arguments=pieces(_dumps(arguments)))


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
