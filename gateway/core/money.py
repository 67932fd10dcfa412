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
    try:
        pico = Decimal(text) * PICO_PER_USD_PER_MILLION
    except ArithmeticError as exc:
        raise ValueError(f"{text!r} is not a decimal number of dollars per million tokens") from exc
    if not pico.is_finite() or pico < 0 or pico != pico.to_integral_value():
        raise ValueError(f"{text!r} must be zero or more, with at most 6 decimals, in dollars per million tokens")
    return Pico(int(pico))


def nano_from_usd(text: str) -> Nano:
    """Read an amount in dollars ("0.05"). Raises ValueError below a nano-dollar or when it is no amount."""
    try:
        nano = Decimal(text) * NANO_PER_USD
    except ArithmeticError as exc:
        raise ValueError(f"{text!r} is not a decimal number of dollars") from exc
    if not nano.is_finite() or nano < 0 or nano != nano.to_integral_value():
        raise ValueError(f"{text!r} must be zero or more dollars, with at most 9 decimals")
    return Nano(int(nano))


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
