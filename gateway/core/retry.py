"""What may be asked after an attempt has failed: by whom, how often, and after which pause.

Pure: the time and the dice come in. The rules, in the order in which they are looked at:

- a request that is longer than the model takes: only models that take more;
- a mistake of the caller: nobody;
- credentials, a balance, or silence: nobody of the same provider;
- a connection lost before any reply: once more the same model, then the others;
- anything else: the others, in their order.

Another provider is asked at once. The same provider again is a retry: it needs a token of that provider's budget, so
that a fault cannot be multiplied by those who ask again, and it waits a little (full jitter).
"""

from __future__ import annotations

from collections.abc import Sequence

from .candidate import Candidate
from .errors import GatewayError

RETRIES_PERCENT = 10
"""Of the attempts at a provider in the last SPAN_S, so many may be retries (the SRE book's figure)."""

RETRIES_PER_S = 3
"""... and so many a second in any case, or a quiet provider could never be asked twice (Envoy's floor)."""

SPAN_S = 10
FIRST_PAUSE_S = 0.025
LONGEST_PAUSE_S = 0.25


def following(
    error: GatewayError, failed: Candidate, waiting: Sequence[Candidate], *, repeated: bool
) -> list[Candidate]:
    """Who may be asked next, first choice first. repeated: a candidate was asked twice in this request already."""
    if error.too_long:
        return [one for one in waiting if one.model.context_tokens > failed.model.context_tokens]
    if not error.retryable:
        return []
    if error.trips_provider or error.silent:
        return [one for one in waiting if one.model.provider != failed.model.provider]
    if error.repeatable and not repeated:
        return [failed, *waiting]
    return list(waiting)


def pause_s(retries: int, chance: float) -> float:
    """Before the next retry after so many of them: anything up to a bound that doubles. chance: from 0 to 1."""
    return chance * min(FIRST_PAUSE_S * (1 << retries), LONGEST_PAUSE_S)


class RetryBudget:
    """How many attempts at one provider may be retries. Counted by the second, over SPAN_S of them."""

    __slots__ = ("_attempts", "_retries", "_second")

    def __init__(self) -> None:
        self._attempts = [0] * SPAN_S
        self._retries = [0] * SPAN_S
        self._second = 0

    def began(self, now_s: float) -> None:
        """An attempt, of whatever kind, begins."""
        self._attempts[self._place(now_s)] += 1

    def take(self, now_s: float) -> bool:
        """Leave for one retry; false when there is none."""
        place = self._place(now_s)
        few = self._retries[place] < RETRIES_PER_S
        if few or sum(self._retries) * 100 < sum(self._attempts) * RETRIES_PERCENT:
            self._retries[place] += 1
            return True
        return False

    def _place(self, now_s: float) -> int:
        second = int(now_s)
        if second != self._second:
            for passed in range(self._second + 1, min(second, self._second + SPAN_S) + 1):
                self._attempts[passed % SPAN_S] = self._retries[passed % SPAN_S] = 0
            self._second = second
        return second % SPAN_S
