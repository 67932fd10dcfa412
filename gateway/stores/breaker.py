"""How long a failing server is left alone: a second at first, doubling to ten, then one caller at a time may look.

Pure: the time comes in. Invariant: while the server stays away, at most one caller a period pays for finding out.
"""

from __future__ import annotations

from enum import Enum


class Pass(Enum):
    """What a caller is told at the door."""

    FREE = "free"
    PROBE = "probe"
    CLOSED = "closed"


class Breaker:
    """Ask `enter`; after FREE or PROBE report `succeeded`, `failed` or, when it came to nothing, `abandoned`.

    Only the first failure of a FREE crowd counts, and only a probe opens again: stragglers that were on their way
    when the breaker closed say nothing new.
    """

    def __init__(self, *, first_s: float = 1.0, longest_s: float = 10.0) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._off_s = 0.0
        self._off_until = 0.0
        self._probing = False

    @property
    def off_s(self) -> float:
        """The current period in seconds; 0 while everything passes."""
        return self._off_s

    def enter(self, now: float) -> Pass:
        if not self._off_s:
            return Pass.FREE
        if self._probing or now < self._off_until:
            return Pass.CLOSED
        self._probing = True
        return Pass.PROBE

    def failed(self, how: Pass, now: float) -> bool:
        """True when this failure closed the breaker."""
        if how is Pass.FREE and self._off_s:
            return False
        closed = not self._off_s
        self._off_s = self._first_s if closed else min(self._off_s * 2, self._longest_s)
        self._off_until = now + self._off_s
        self._probing = False
        return closed

    def succeeded(self, how: Pass) -> bool:
        """True when this success opened the breaker again."""
        if how is not Pass.PROBE:
            return False
        self._off_s = 0.0
        self._probing = False
        return True

    def abandoned(self, how: Pass) -> None:
        """The caller left before there was an answer; the next one may look."""
        if how is Pass.PROBE:
            self._probing = False
