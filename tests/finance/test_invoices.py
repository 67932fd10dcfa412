"""Invoices in every known layout: read as they are meant, and wrong files refused with the line."""

from __future__ import annotations

import dataclasses
import io
import random
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from gateway.core.money import Nano
from gateway.core.records import SpendRecord, State, UsageSource
from gateway.finance.attempts import AttemptBills, Fault, compare_attempts, settled_by
from gateway.finance.invoice import Invoice, InvoiceError, columns_from
from gateway.finance.names import ModelNames
from gateway.finance.reconcile import Bills, Report, What, compare, days_in
from gateway.simulator.bill import BillLine, Tokens, cost_nano
from tests.core.market import model
from tests.finance.bills import LAYOUTS, per_attempt, spoilt
from tests.stores.samples import ONE

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
SOLD = {"openai": "gpt-6", "deepseek": "deepseek-flash", "google": "gemini-3-flash-preview"}
PRICE = {"input": "0.31", "cached_input": "0.07", "output": "1.13"}
MODELS = [model(f"{provider}/{name}") for provider, name in SOLD.items()]


def a_bill(provider: str, attempts: int = 60) -> list[BillLine]:
    """Five noons, so that they are five days in every zone between California and Greenwich."""
    dice = random.Random(provider)
    lines = []
    for number in range(attempts):
        tokens = Tokens(input=dice.randrange(1, 900), cached_input=dice.choice([0, 128]), output=dice.randrange(1, 400))
        at = (START + timedelta(days=number % 5, hours=dice.randrange(8))).timestamp()
        lines.append(
            BillLine(f"r{number:03d}.1", provider, SOLD[provider], at, 200, True, None, tokens, PRICE,
                     cost_nano(tokens, PRICE), True, "completed")
        )  # fmt: skip
    return lines


def booked(line: BillLine, **changes) -> SpendRecord:
    return msgspec.structs.replace(
        ONE, attempt_id=line.attempt, request_id=line.attempt[:-2], at_us=int(line.received_at * 1e6),
        provider=line.provider, model=f"{line.provider}/{line.model}", cost_nano=Nano(line.cost_nano),
        input_tokens=line.tokens.input, cached_input_tokens=line.tokens.cached_input, cache_write_tokens=0,
        output_tokens=line.tokens.output, reasoning_tokens=0, **changes,
    )  # fmt: skip


def invoice_of(text: str, columns: str | None = None) -> Invoice:
    file = io.StringIO(text.removeprefix("\ufeff"), newline="")  # as the command opens it
    return Invoice("bill.csv", file, columns_from(columns) if columns else None)


def compared(text: str, records: list[SpendRecord], *, tolerance: int = 0, columns: str | None = None) -> Report:
    invoice = invoice_of(text, columns)
    names = ModelNames(MODELS, invoice.layout.provider)
    bills = Bills(invoice.lines(), names, since=None, until=None)
    return compare(bills, records, days_in(invoice.layout.zone), tolerance_nano=tolerance)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_right_bill_agrees_in_every_layout(layout):
    write, provider = LAYOUTS[layout]
    bill = a_bill(provider)
    report = compared(write(bill), [booked(line) for line in bill])

    assert invoice_of(write(bill)).layout.name == layout
    assert report.findings == []
    assert report.lines >= 5
    assert abs(report.settled_nano - report.invoice_nano) <= len(bill)
    assert (report.first, report.last) == (START.date(), START.date() + timedelta(days=4))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_lost_a_doubled_and_a_mispriced_line_are_named_by_day_and_model_in_one_run(layout):
    write, provider = LAYOUTS[layout]
    bill = a_bill(provider)
    lost, doubled, mispriced = 10, 21, 32  # of the first, second and third day
    report = compared(
        write(spoilt(bill, lost=lost, doubled=doubled, mispriced=mispriced)), [booked(one) for one in bill]
    )

    tells_tokens = layout != "deepseek cost"
    found = [(one.first, one.model, one.what) for one in report.findings]
    name = f"{provider}/{SOLD[provider]}"
    assert found == [
        (START.date(), name, What.BILLED_LESS),
        (START.date() + timedelta(days=1), name, What.BILLED_MORE),
        (START.date() + timedelta(days=2), name, What.PRICE if tells_tokens else What.BILLED_MORE),
    ]
    if tells_tokens:
        theirs, ours = report.findings[0].tokens["output"]
        assert ours - theirs == bill[lost].tokens.output
        theirs, ours = report.findings[1].tokens["output"]
        assert theirs - ours == bill[doubled].tokens.output
        assert report.findings[2].tokens == {}
    assert all(one.lines for one in report.findings)


def test_whole_days_and_models_that_one_side_lacks_are_named():
    bill = a_bill("openai")
    report = compared(
        LAYOUTS["generic"][0](bill[0::5] + bill[1::5]), [booked(line) for line in bill[1::5] + bill[2::5]]
    )

    assert [(one.first.day, one.what) for one in report.findings] == [(23, What.NOT_BOOKED), (25, What.NOT_BILLED)]


def test_a_difference_within_the_tolerance_is_none():
    bill = a_bill("openai")
    records = [booked(line) for line in bill[1:]]

    assert compared(LAYOUTS["deepseek cost"][0](a_bill("deepseek")), [], tolerance=10**9).findings == []
    (found,) = compared(LAYOUTS["generic"][0](bill), records, tolerance=bill[0].cost_nano).findings
    assert found.what is What.TOKENS
    (found,) = compared(LAYOUTS["generic"][0](bill), records, tolerance=bill[0].cost_nano - 1).findings
    assert found.what is What.BILLED_MORE


def test_what_is_uncertain_explains_a_difference_that_it_is_large_enough_for():
    bill = a_bill("openai")
    unsure = [booked(line, state=State.UNCERTAIN) if at == 3 else booked(line) for at, line in enumerate(bill)]

    (found,) = compared(LAYOUTS["generic"][0](bill[:3] + bill[4:]), unsure).findings
    assert found.explained
    assert found.uncertain_nano == bill[3].cost_nano
    (found,) = compared(LAYOUTS["generic"][0](bill[:3] + bill[4:8] + bill[9:]), unsure).findings
    assert (found.explained, found.uncertain_attempts) == (False, 1)


def test_a_month_in_one_line_is_compared_with_the_month():
    bill = a_bill("google")
    total = sum(line.cost_nano for line in bill)
    text = (
        "SKU description,Usage start date,Usage end date,Cost ($)\n"
        f"Gemini 3 Flash input tokens,2026-11-23,2026-11-26,$0.0000001\n"
        f"Gemini 3 Flash output tokens,2026-11-24,2026-11-27,{(total - 100) / 10**9:.9f}\n"
    )
    report = compared(text, [booked(line) for line in bill])

    assert report.findings == []
    assert report.lines == 2


def test_names_that_the_catalogue_does_not_have_are_listed():
    text = "date,model,cost_usd\n2026-11-23,gpt-6-2026-01-01,0\n2026-11-23,whisper-9,1.5\n2026-11-24,whisper-9,0.5\n"
    report = compared(text, [])

    assert [(one.what, one.model, one.invoice_nano, one.lines) for one in report.findings] == [
        (What.UNKNOWN, "whisper-9", 1_500_000_000, (3,)),
        (What.UNKNOWN, "whisper-9", 500_000_000, (4,)),
    ]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("openai/gpt-5", "openai/gpt-5"),
        ("GPT-5", "openai/gpt-5"),
        ("gpt-5-2025-08-07", "openai/gpt-5"),
        ("five", "openai/gpt-5"),
        ("models/g3", "google/gemini-3-flash-preview"),
        ("Gemini 3 Flash output tokens", "google/gemini-3-flash-preview"),
        ("Gemini 3 Flash Lite output tokens", "google/gemini-3-flash-lite"),
        ("Gemini 3.1 Flash output tokens", None),
        ("gpt-5-turbo", None),
        ("twin", None),
        ("", None),
    ],
)
def test_a_model_is_found_under_all_its_names_and_only_its_own(said, meant):
    names = ModelNames(
        [
            model("openai/gpt-5", aliases=("five", "twin")),
            model("deepseek/other", aliases=("twin",)),
            dataclasses.replace(model("google/gemini-3-flash-preview"), upstream_name="models/g3"),
            model("google/gemini-3-flash-lite"),
        ],
        None,
    )
    assert names.find(said) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "bill.csv: no known header"),
        ("", "bill.csv: no known header"),
        ("date,model,cost_usd\n2026-11-23,m,1\n2026-13-40,m,1\n", "bill.csv:3: '2026-13-40' is no date"),
        ("date,model,cost_usd\n2026-11-23,m,lots\n", "bill.csv:2: 'lots' is not a number"),
        ("date,model,cost_usd\n2026-11-23,m,NaN\n", "bill.csv:2: 'NaN' is not an amount"),
        ("date,model,cost_usd\n2026-11-23,m,1E+999999\n", "bill.csv:2: '1E+999999' is not an amount"),
        ("date,model,cost_usd,input_tokens\n2026-11-23,m,1,1.5\n", "bill.csv:2: '1.5' is not a whole number"),
        ("date,model,cost_usd\n\n2026-11-23\n,m\n", "bill.csv:4: '' is no date"),
        ("utc_date,model,cost,currency\n2026-11-23,m,1,CNY\n", "bill.csv:2: an amount in 'CNY'"),
        ("utc_date,model,type,price,amount\n20261123,m,gold,1,1\n", "bill.csv:2: unknown type 'gold'"),
        ("start_time,amount_value,amount_currency,line_item\n1790553600,1,eur,m\n", "bill.csv:2: an amount in 'eur'"),
    ],
)
def test_a_file_that_is_no_invoice_is_refused_with_its_line(text, said):
    with pytest.raises(InvoiceError) as error:
        list(invoice_of(text).lines())
    assert str(error.value).startswith(said)


def test_another_layout_is_read_by_the_names_of_its_columns():
    text = "Report of May\nTag,Modell,Betrag (USD),Aus\n2026-11-23,gpt-6,1.5,7\n"
    (line,) = invoice_of(text, "date=Tag,model=Modell,cost=Betrag (USD),output_tokens=aus").lines()

    assert (line.first, line.model, line.cost_pico, line.tokens) == (
        date(2026, 11, 23), "gpt-6", 1_500_000_000_000, {"output": 7},
    )  # fmt: skip
    with pytest.raises(InvoiceError, match="has the columns Day, Modell, Aus"):
        invoice_of(text, "date=Day,model=Modell,output_tokens=Aus")
    for wrong in ("date=a", "date=a,model=b", "when=a", "date=,model=b,cost=c", "nonsense"):
        with pytest.raises(ValueError, match="--columns"):
            columns_from(wrong)


# Attempt by attempt --------------------------------------------------------------------------------------------------


def by_attempt(text: str, records: list[SpendRecord]):
    invoice = invoice_of(text)
    bills = AttemptBills(invoice.name, invoice.lines(), since=None, until=None)
    return compare_attempts(bills, records, days_in(None), tolerance_nano=0)


def test_each_lost_doubled_and_mispriced_attempt_is_named_by_its_id():
    bill = a_bill("openai")
    stranger = msgspec.structs.replace(booked(bill[5]), attempt_id="never-sent.1")
    report = by_attempt(
        per_attempt(spoilt(bill[1:], lost=10, doubled=21, mispriced=32)),
        [*(booked(line) for line in bill if line is not bill[45]), stranger],
    )

    assert {one.attempt_id: one.fault for one in report.findings} == {
        bill[0].attempt: Fault.LOST,
        "never-sent.1": Fault.LOST,
        bill[11].attempt: Fault.LOST,
        bill[22].attempt: Fault.DOUBLED,
        bill[33].attempt: Fault.MISPRICED,
        bill[45].attempt: Fault.NOT_BOOKED,
    }
    assert by_attempt(per_attempt(bill), [booked(line) for line in bill]).findings == []


def test_a_line_without_an_attempt_is_refused():
    text = "date,model,cost_usd,attempt_id\n2026-11-23,gpt-6,1,a.1\n2026-11-23,gpt-6,1,\n"
    with pytest.raises(InvoiceError, match=r"bill.csv:3: no attempt is named"):
        by_attempt(text, [])


def test_what_a_bill_says_of_an_uncertain_attempt_settles_it_once():
    bill = a_bill("openai", 4)
    unsure = booked(bill[1], state=State.UNCERTAIN, usage_source=UsageSource.ESTIMATED)
    unsure = msgspec.structs.replace(unsure, cost_nano=Nano(5), output_tokens=9)
    records = [booked(bill[0]), unsure, *map(booked, bill[2:])]
    report = by_attempt(per_attempt(bill), records)

    ((finding,), (known,)) = report.findings, report.known
    assert (finding.fault, finding.attempt_id) == (Fault.UNCERTAIN, bill[1].attempt)
    rows = settled_by(unsure, known)
    after = by_attempt(per_attempt(bill), [*records, *rows])
    assert (after.findings, after.known) == ([], [])
    assert (after.uncertain_nano, after.attempts) == (0, 4)
    assert after.settled_nano == sum(line.cost_nano for line in bill) == after.billed_nano
