"""A small market for tests: four models of three providers with plain prices."""

from __future__ import annotations

from datetime import UTC, date, datetime

from gateway.core.catalog import Capability, Model, Provider, QualityScore
from gateway.core.market import Market
from gateway.core.money import pico_from_usd_per_million
from gateway.core.pricing import PriceBook, PriceRow, Rates, Status
from gateway.core.request import ChatRequest, parse_chat

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
EVERYTHING = frozenset(Capability)


def rates(input: str, output: str) -> Rates:
    into, out = pico_from_usd_per_million(input), pico_from_usd_per_million(output)
    return Rates(into, into, into, out, out)


def price(model: str, input: str, output: str, *, since: str = "2026-01-01", status=Status.ANNOUNCED) -> PriceRow:
    return PriceRow(
        f"{model}@{since}", model, datetime.fromisoformat(since).replace(tzinfo=UTC), None, status, "test",
        rates(input, output),
    )  # fmt: skip


def model(id: str, score: float | None = None, **more) -> Model:
    provider, name = id.split("/")
    fields = {"context_tokens": 100_000, "max_output_tokens": 8_000, "capabilities": EVERYTHING,
              "expected_output_tokens": 500}  # fmt: skip
    quality = {} if score is None else {"overall": QualityScore(score, Status.MEASURED, "test", date(2026, 1, 1))}
    return Model(id=id, provider=provider, upstream_name=name, quality=quality, **{**fields, **more})


MODELS = {
    one.id: one
    for one in (
        model("openai/big", 80),
        model("openai/small", 60, capabilities=EVERYTHING - {Capability.VISION}),
        model("deepseek/flash", 66),
        model("google/new"),
    )
}
PROVIDERS = {
    name: Provider(name, name, f"https://{name}.test", f"{name.upper()}_KEY", where)
    for name, where in (("openai", "US"), ("deepseek", "CN"), ("google", "US"))
}
PRICES = [
    price("openai/big", "2", "10"),
    price("openai/small", "0.2", "1"),
    price("deepseek/flash", "0.15", "0.6"),
    price("google/new", "0.1", "0.4"),
]
MARKET = Market(MODELS, PROVIDERS, PriceBook(PRICES))
ALL = tuple(MODELS)


def chat(body: bytes = b'{"model":"auto","messages":[{"role":"user","content":"hello"}]}') -> ChatRequest:
    return parse_chat(body)
