"""The simulator's bill as an invoice, in every layout that `reconcile` knows."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from gateway.core.money import usd
from gateway.simulator.bill import BillLine
from gateway.simulator.prices import rate

PACIFIC = ZoneInfo("America/Los_Angeles")
PREAMBLE = 'Invoice number,4711\nBilling account ID,0A-0B\nCurrency,USD\nTotal amount due,"$1,234.50"\n\n'
WORDS = {"cached_input": "cached input", "cache_write": "cache write"}


def csv_text(header: str, rows: Iterable[Iterable[object]]) -> str:
    out = io.StringIO()
    out.write(header + "\n")
    csv.writer(out).writerows(rows)
    return out.getvalue()


def day(line: BillLine, zone=UTC) -> str:
    return datetime.fromtimestamp(line.received_at, zone).date().isoformat()


def classes(line: BillLine) -> list[tuple[str, int, Decimal]]:
    """class, tokens, dollars a token; reasoning is billed as output."""
    tokens = line.tokens
    counts = {"input": tokens.input, "cached_input": tokens.cached_input, "cache_write": tokens.cache_write,
              "output": tokens.completion}  # fmt: skip
    prices = {name: rate(line.price, name) for name, count in counts.items() if count}
    return [(name, counts[name], Decimal(one.numerator) / one.denominator / 10**6) for name, one in prices.items()]


def totals(lines: Iterable[BillLine], zone=UTC) -> dict[tuple[str, str], dict]:
    """By day and model: tokens and dollars by class, and the whole to the nano-dollar."""
    found: dict = defaultdict(lambda: {"nano": 0, "tokens": defaultdict(int), "usd": defaultdict(Decimal)})
    for line in lines:
        total = found[day(line, zone), line.model]
        total["nano"] += line.cost_nano
        for name, count, price in classes(line):
            total["tokens"][name] += count
            total["usd"][name] += count * price
    return dict(sorted(found.items()))


def by_class(lines: list[BillLine], zone=UTC) -> list[tuple[str, str, str, int, Decimal]]:
    """A day's tokens of a model and class, and what they cost."""
    return [
        (on, model, name, count, total["usd"][name])
        for (on, model), total in totals(lines, zone).items()
        for name, count in total["tokens"].items()
    ]


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def openai_costs(lines: list[BillLine]) -> str:
    rows = [
        (seconds(on), seconds(on) + 86_400, f"{cost:f}", "usd", count, "tokens",
         f"{model}-2026-04-23, {WORDS.get(name, name)}", "proj_1")
        for on, model, name, count, cost in by_class(lines)
    ]  # fmt: skip
    idle = (seconds("2026-01-01"), seconds("2026-01-02"), "", "", "", "", "", "")
    header = "start_time,end_time,amount_value,amount_currency,quantity,quantity_unit,line_item,project_id"
    return csv_text(header, [idle, *rows])


def openai_usage(lines: list[BillLine]) -> str:
    rows = [
        (f"{on}T00:00:00+00:00", model, 1, sum(n for name, n in total["tokens"].items() if name != "output"),
         total["tokens"]["output"], total["tokens"]["cached_input"], usd(total["nano"]))
        for (on, model), total in totals(lines).items()
    ]  # fmt: skip
    header = "start_time,model,num_model_requests,input_tokens,output_tokens,input_cached_tokens,cost_usd"
    return csv_text(header, rows)


def deepseek_amount(lines: list[BillLine]) -> str:
    """One line for each price, as the export has it: a line that costs double is a line of its own."""
    kinds = {"input": "input_cache_miss_tokens", "cached_input": "input_cache_hit_tokens", "output": "output_tokens"}
    found: dict = defaultdict(int)
    for line in lines:
        for name, count, price in classes(line):
            found[day(line).replace("-", ""), line.model, kinds[name], f"{price:f}"] += count
    rows = [("u", on, model, "prod", "sk-a", *rest, count) for (on, model, *rest), count in found.items()]
    rows.append((*rows[0][:5], "request_count", "", 7))
    return "\ufeff" + csv_text("user_id,utc_date,model,api_key_name,api_key,type,price,amount", rows)


def deepseek_cost(lines: list[BillLine]) -> str:
    rows = [("u", on, model, "Paid", usd(total["nano"]), "USD") for (on, model), total in totals(lines).items()]
    return csv_text("user_id,utc_date,model,wallet_type,cost,currency", rows)


def google(lines: list[BillLine]) -> str:
    """With what else stands in such a file: another service, a promotion, a tax."""
    rows: list = [
        ("Gemini API", f"Generate content {WORDS.get(name, name)} token count {model.replace('-', ' ').title()}",
         "", on, on, f"{count:,}", "count", f"{cost:f}", f"{cost:.2f}")
        for on, model, name, count, cost in by_class(lines, PACIFIC)
    ]  # fmt: skip
    first = rows[0][3]
    rows.append(("BigQuery", "Analysis", "", first, first, "1", "count", "60.00", "60.00"))
    rows.append(("Gemini API", "Free trial", "Promotion", first, first, "", "", "-5.00", "-5.00"))
    rows.append(("", "", "", "", "", "", "", "0.4", "0.40"))
    header = (
        "Service description,SKU description,Credit type,Usage start date,Usage end date,Usage amount,Usage unit,"
        "Unrounded cost ($),Cost ($)"
    )
    return PREAMBLE + csv_text(header, rows)


def generic(lines: list[BillLine]) -> str:
    rows = [
        (on, model, usd(total["nano"]), total["tokens"]["input"] + total["tokens"]["cache_write"],
         total["tokens"]["cached_input"], total["tokens"]["output"])
        for (on, model), total in totals(lines).items()
    ]  # fmt: skip
    return csv_text("date,model,cost_usd,input_tokens,cached_input_tokens,output_tokens", rows)


def per_attempt(lines: list[BillLine]) -> str:
    rows = [
        (day(line), line.model, usd(line.cost_nano), line.attempt, line.tokens.input + line.tokens.cache_write,
         line.tokens.cached_input, line.tokens.completion)
        for line in lines
    ]  # fmt: skip
    return csv_text("date,model,cost_usd,attempt_id,input_tokens,cached_input_tokens,output_tokens", rows)


LAYOUTS: dict[str, tuple[Callable[[list[BillLine]], str], str]] = {
    "openai costs": (openai_costs, "openai"),
    "openai usage": (openai_usage, "openai"),
    "deepseek amount": (deepseek_amount, "deepseek"),
    "deepseek cost": (deepseek_cost, "deepseek"),
    "google": (google, "google"),
    "generic": (generic, "openai"),
}
"""name -> (writer, whose bill it is tried on)"""


def spoilt(lines: list[BillLine], *, lost: int, doubled: int, mispriced: int) -> list[BillLine]:
    """A bill with three mistakes, at these places: one line is missing, one is there twice, one costs double."""
    wrong = lines[mispriced]
    price = {name: str(Decimal(amount) * 2) for name, amount in wrong.price.items()}
    rest = [line for at, line in enumerate(lines) if at not in (lost, mispriced)]
    return [*rest, replace(wrong, cost_nano=2 * wrong.cost_nano, price=price), lines[doubled]]
