"""The clocks and the dice of the proxy, in one place; everything pure receives their readings as arguments."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime


def now_us() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1_000


def instant(at_us: int) -> datetime:
    """The same moment as an aware datetime in UTC."""
    return datetime.fromtimestamp(at_us / 1e6, UTC)


def ticks_us() -> int:
    """A monotonic clock for durations, in microseconds."""
    return time.perf_counter_ns() // 1_000


def ticks_s() -> float:
    """The same clock in seconds, for pauses."""
    return ticks_us() / 1e6


def new_id(at_us: int) -> str:
    """A time-sortable id: 48 bits of milliseconds and 64 random bits, in hex. It names, and keeps no secret."""
    return f"{at_us // 1_000:012x}{random.getrandbits(64):016x}"


def chance() -> float:
    """From 0 to 1: for pauses that must not end together."""
    return random.random()  # noqa: S311 - it spreads, and keeps no secret


def made_within(id: str, seconds: float) -> bool:
    """Whether an id of `new_id` was made so short a time ago, by what it says itself."""
    try:
        made_us = int(id[:12], 16) * 1_000
    except ValueError:
        return False
    return abs(now_us() - made_us) < seconds * 1e6


def dice() -> int:
    """A seed for one decision."""
    return random.getrandbits(48)
