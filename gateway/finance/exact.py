"""Decimal text to integers and back, exactly: invoices and unit prices go below the nano-dollar."""

from __future__ import annotations

from decimal import Decimal, localcontext

PICO_PER_USD = 1_000_000_000_000
_DIGITS = 80


def usd_from_pico(pico: int) -> str:
    """All twelve decimals: 150000 -> "0.000000150000". A loss keeps its sign."""
    whole, part = divmod(abs(pico), PICO_PER_USD)
    return f"{'-' if pico < 0 else ''}{whole}.{part:012d}"


def decimal_from(text: str) -> Decimal:
    """A number as people's exports write it ("$1,234.50", "3.625e-9"). Raises ValueError when it is none."""
    plain = text.strip().replace(",", "").removeprefix("$").replace("-$", "-")
    try:
        number = Decimal(plain)
    except ArithmeticError as exc:
        raise ValueError(f"{text[:40]!r} is not a number") from exc
    if not number.is_finite() or abs(number.adjusted()) > _DIGITS // 4:
        raise ValueError(f"{text[:40]!r} is not an amount")
    return number


def pico_from(amount: Decimal) -> int:
    """Dollars as pico-dollars; beyond the twelfth decimal it is rounded, half to even."""
    with localcontext(prec=_DIGITS):
        return int((amount * PICO_PER_USD).to_integral_value())


def product(one: Decimal, other: Decimal) -> Decimal:
    with localcontext(prec=_DIGITS):
        return one * other


def whole(text: str) -> int:
    """A count: "1,000" or "1000.0". Raises ValueError when it is not whole."""
    number = decimal_from(text)
    if number != number.to_integral_value():
        raise ValueError(f"{text[:40]!r} is not a whole number")
    return int(number)


def nearest_nano(pico: int) -> int:
    """Half away from zero."""
    magnitude = (abs(pico) + 500) // 1000
    return -magnitude if pico < 0 else magnitude
