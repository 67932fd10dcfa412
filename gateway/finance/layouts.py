"""The layouts that are known by their header, each read by a function of its own.

docs/money.md says of each who documented it. What a line means is decided here and nowhere else: which tokens a column
counts, whether an end is included, which lines are no usage.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo

from .exact import decimal_from, pico_from, product, whole
from .layout import Cells, InvoiceLine, Layout, plain

UNNAMED = "(no model named)"
_ATTEMPT = ("attempt_id", "x_gateway_attempt", "gateway_attempt")


def _attempt_id(cells: Cells) -> str | None:
    return next((cells[name].strip() for name in _ATTEMPT if cells.get(name, "").strip()), None)


def _prompt(cells: Cells, total: str, cached: str) -> dict[str, int]:
    """Input tokens of a layout whose total includes the cached ones."""
    tokens = {"prompt": whole(cells[total])}
    if cells.get(cached, "").strip():
        tokens["cached_input"] = whole(cells[cached])
        tokens["input"] = tokens["prompt"] - tokens["cached_input"]
    return tokens


def _dollars(currency: str) -> None:
    if currency.strip().lower() not in ("", "usd"):
        raise ValueError(f"an amount in {currency.strip()[:10]!r}; the ledger is in US dollars")


def _openai_costs(layout: Layout, cells: Cells, number: int) -> InvoiceLine | None:
    if not cells["amount_value"].strip():
        return None  # a day without spend has a line without an amount
    _dollars(cells.get("amount_currency", ""))
    first, last = layout.days(cells["start_time"], cells.get("end_time", ""))
    model, _, item = cells["line_item"].rpartition(",")
    kind, tokens = plain(item), {}
    measure = _OPENAI_ITEMS.get(kind.removesuffix("_tokens"))
    if measure and cells.get("quantity", "").strip() and plain(cells.get("quantity_unit", "")) == "tokens":
        tokens[measure] = whole(cells["quantity"])
    return InvoiceLine(
        number=number, first=first, last=last, model=model.strip() or item.strip() or UNNAMED, tokens=tokens,
        cost_pico=pico_from(decimal_from(cells["amount_value"])), attempt_id=_attempt_id(cells), part=kind,
    )  # fmt: skip


_OPENAI_ITEMS = {
    "input": "input",
    "cache_write": "input",
    "cached_input": "cached_input",
    "input_cached": "cached_input",
    "output": "output",
}


def _openai_usage(layout: Layout, cells: Cells, number: int) -> InvoiceLine | None:
    if not cells["input_tokens"].strip():
        return None
    first, last = layout.days(cells["start_time"], cells.get("end_time", ""))
    cost = next((cells[name] for name in ("amount_value", "cost_usd", "cost") if cells.get(name, "").strip()), None)
    return InvoiceLine(
        number=number, first=first, last=last, model=cells["model"].strip() or UNNAMED,
        cost_pico=None if cost is None else pico_from(decimal_from(cost)), attempt_id=_attempt_id(cells),
        tokens=_prompt(cells, "input_tokens", "input_cached_tokens") | {"output": whole(cells["output_tokens"])},
    )  # fmt: skip


def _deepseek_amount(layout: Layout, cells: Cells, number: int) -> InvoiceLine | None:
    kind = cells["type"].strip()
    if kind not in _DEEPSEEK_TYPES:
        raise ValueError(f"unknown type {kind[:40]!r}; known: {', '.join(_DEEPSEEK_TYPES)}")
    measure, amount = _DEEPSEEK_TYPES[kind], decimal_from(cells["amount"])
    price = decimal_from(cells["price"] or "0")
    day = layout.day(cells["utc_date"])
    return InvoiceLine(
        number=number, first=day, last=day, model=cells["model"].strip() or UNNAMED,
        cost_pico=pico_from(product(price, amount)), attempt_id=_attempt_id(cells), part=kind,
        tokens={} if measure is None else {measure: whole(cells["amount"])},
    )  # fmt: skip


_DEEPSEEK_TYPES = {
    "input_cache_hit_tokens": "cached_input",
    "input_cache_miss_tokens": "input",
    "input_tokens": "prompt",
    "output_tokens": "output",
    "request_count": None,
}


def _deepseek_cost(layout: Layout, cells: Cells, number: int) -> InvoiceLine | None:
    _dollars(cells["currency"])
    day = layout.day(cells["utc_date"])
    return InvoiceLine(
        number=number, first=day, last=day, model=cells["model"].strip() or UNNAMED,
        cost_pico=pico_from(decimal_from(cells["cost"])), attempt_id=_attempt_id(cells),
        part=cells.get("wallet_type", ""),
    )  # fmt: skip


def _google(layout: Layout, cells: Cells, number: int) -> InvoiceLine | None:
    sku = cells["sku_description"].strip()
    if not sku or not cells["usage_start_date"].strip() or cells.get("credit_type", "").strip():
        return None  # totals, taxes and credits: the ledger knows the price, not who paid it
    service = cells.get("service_description", "").lower()
    if service and not any(word in service for word in _GOOGLE_SERVICES):
        return None
    first = layout.day(cells["usage_start_date"])
    last = layout.day(cells["usage_end_date"]) if cells.get("usage_end_date", "").strip() else first
    tokens = {}
    if cells.get("usage_amount", "").strip() and plain(cells.get("usage_unit", "")) in ("count", "tokens"):
        tokens[_sku_measure(sku)] = whole(cells["usage_amount"])
    cost = cells.get("unrounded_cost", "").strip() or cells["cost"]
    return InvoiceLine(
        number=number, first=first, last=max(first, last), model=sku, tokens=tokens,
        cost_pico=pico_from(decimal_from(cost)), attempt_id=_attempt_id(cells), part=sku,
    )  # fmt: skip


_GOOGLE_SERVICES = ("gemini", "generative language", "vertex", "agent platform")


def _sku_measure(sku: str) -> str:
    words = sku.lower()
    if "output" in words:
        return "output"
    return "cached_input" if "cach" in words else "input"


def generic(layout: Layout, cells: Cells, number: int) -> InvoiceLine | None:
    first = layout.day(cells["date"])
    end = cells.get("end_date", "").strip()
    tokens = {}
    has_cached = bool(cells.get("cached_input_tokens", "").strip())
    for name, measure in (
        ("input_tokens", "input" if has_cached else "prompt"),
        ("cached_input_tokens", "cached_input"),
        ("output_tokens", "output"),
    ):
        if cells.get(name, "").strip():
            tokens[measure] = whole(cells[name])
    cost = cells.get("cost_usd", "").strip()
    return InvoiceLine(
        number=number, first=first, last=max(first, layout.day(end)) if end else first,
        model=cells["model"].strip() or UNNAMED, tokens=tokens, attempt_id=_attempt_id(cells),
        cost_pico=pico_from(decimal_from(cost)) if cost else None,
    )  # fmt: skip


_PACIFIC = ZoneInfo("America/Los_Angeles")
LAYOUTS = (
    Layout("openai costs", frozenset({"start_time", "amount_value", "line_item"}), _openai_costs, "openai"),
    Layout(
        "openai usage", frozenset({"start_time", "model", "input_tokens", "output_tokens"}), _openai_usage, "openai"
    ),
    Layout(
        "deepseek amount", frozenset({"utc_date", "model", "type", "price", "amount"}), _deepseek_amount, "deepseek"
    ),
    Layout("deepseek cost", frozenset({"utc_date", "model", "cost", "currency"}), _deepseek_cost, "deepseek"),
    Layout("google", frozenset({"sku_description", "usage_start_date", "cost"}), _google, "google", _PACIFIC),
    Layout("generic", frozenset({"date", "model", "cost_usd"}), generic),
)
"""Tried in this order. Google's billing days are those of California, summer time included; all others are UTC."""
