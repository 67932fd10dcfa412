"""Money as integers: nano-dollars for amounts, pico-dollars for the price of one token.

$1 per million tokens is 1,000,000 pico-dollars a token, so every published price is a whole number here.
No float ever holds money; decimals appear only at the edges, as text read from a file or shown to a person.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NewType

Nano = NewType("Nano", int)
"""An amount, in nano-dollars (1e-9 USD)."""

Pico = NewType("Pico", int)
"""The price of one token, in pico-dollars (1e-12 USD)."""

NANO_PER_USD = 1_000_000_000
PICO_PER_NANO = 1_000
PICO_PER_USD_PER_MILLION = 1_000_000


def pico_from_usd_per_million(text: str) -> Pico:
    """Read a published price ("0.15" dollars per million tokens). Raises ValueError when it is not an exact price."""
    return Pico(_exact(text, PICO_PER_USD_PER_MILLION, decimals=6, unit="dollars per million tokens"))


def nano_from_usd(text: str) -> Nano:
    """Read an amount in dollars ("0.05"). Raises ValueError below a nano-dollar or when it is no amount."""
    return Nano(_exact(text, NANO_PER_USD, decimals=9, unit="dollars"))


def _exact(text: str, scale: int, *, decimals: int, unit: str) -> int:
    try:
        scaled = Decimal(text) * scale
    except ArithmeticError as exc:
        raise ValueError(f"{text!r} is not a decimal number of {unit}") from exc
    if not scaled.is_finite() or scaled < 0 or scaled != scaled.to_integral_value():
        raise ValueError(f"{text!r} must be zero or more, with at most {decimals} decimals, in {unit}")
    return int(scaled)


def usd(nano: int) -> str:
    """Show nano-dollars as dollars with all nine decimals: 1500 -> "0.000001500". Losses keep their sign."""
    whole, part = divmod(abs(nano), NANO_PER_USD)
    return f"{'-' if nano < 0 else ''}{whole}.{part:09d}"


def usd_per_million(pico: int) -> str:
    """Show a token price as published: 150000 -> "0.15"."""
    text = f"{Decimal(pico) / PICO_PER_USD_PER_MILLION:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def nano_from_pico(pico: int) -> Nano:
    """Round an amount up to the nano-dollar, once for each attempt."""
    return Nano(-(-pico // PICO_PER_NANO))
