"""The provider's own bill: one line for each attempt it received, and what each line costs.

The rules, as sentences:

1. An attempt answered with an error status is not billed.
2. An answer that the provider itself broke (drop, cut, early end, malformed, stall, error event) is not billed.
3. A completed answer is billed whole, whether or not its usage was told and whether or not [DONE] was sent.
4. A provider bills what it counted: an answer whose usage it reports as zero is billed zero tokens.
5. When the client leaves early, OpenAI and DeepSeek bill the prompt and what was generated until then;
   Google bills the whole answer.
6. Reasoning tokens are billed as output.
7. The price is the one in force at the instant the request was received, however long the answer takes.
8. The sum is exact and is rounded up to a whole nano-dollar once per attempt.

Nothing of the gateway's arithmetic is used here: that is what makes the two sums worth comparing.
"""

from collections import deque
from dataclasses import asdict, dataclass, field
from enum import Enum
from fractions import Fraction

from gateway.simulator.prices import Rates, rate


@dataclass(frozen=True, slots=True)
class Tokens:
    """Disjoint counts: each token of an attempt is in exactly one of them."""

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    output: int = 0  # without reasoning
    reasoning: int = 0

    @property
    def prompt(self) -> int:
        return self.input + self.cached_input + self.cache_write

    @property
    def completion(self) -> int:
        return self.output + self.reasoning


NO_TOKENS = Tokens()


class End(Enum):
    """How an attempt ended; the value is the bill line's `why`."""

    COMPLETED = "completed"
    REFUSED = "error status"
    BROKEN = "the provider broke it off"
    LEFT_PARTIAL = "the client left early: billed as far as it was generated"
    LEFT_WHOLE = "the client left early: this provider bills the whole answer"

    @property
    def billed(self) -> bool:
        return self in (End.COMPLETED, End.LEFT_PARTIAL, End.LEFT_WHOLE)


@dataclass(frozen=True, slots=True)
class BillLine:
    attempt: str | None  # the request's x-gateway-attempt header
    provider: str
    model: str
    received_at: float  # epoch seconds; also the instant whose price holds
    status: int  # 0 when the connection ended before any byte
    stream: bool
    fault: str | None  # the fault that really struck, None when none did
    tokens: Tokens  # what was billed; all zero when nothing was
    price: Rates | None  # USD per million tokens; None when the model is not sold
    cost_nano: int
    billed: bool
    why: str


@dataclass(slots=True)
class Total:
    attempts: int = 0
    billed: int = 0
    cost_nano: int = 0
    tokens: dict[str, int] = field(default_factory=lambda: asdict(NO_TOKENS))

    def add(self, line: BillLine) -> None:
        self.attempts += 1
        self.billed += line.billed
        self.cost_nano += line.cost_nano
        if line.billed:
            for name in self.tokens:
                self.tokens[name] += getattr(line.tokens, name)


def cost_nano(tokens: Tokens, rates: Rates) -> int:
    """Nano-dollars, rounded up once. One USD per million tokens is 1,000 nano-dollars a token."""
    exact = (
        tokens.input * rate(rates, "input")
        + tokens.cached_input * rate(rates, "cached_input")
        + tokens.cache_write * rate(rates, "cache_write")
        + tokens.completion * rate(rates, "output")
    ) * 1000
    return _ceil(exact)


def _ceil(exact: Fraction | int) -> int:
    return -(-exact.numerator // exact.denominator)


class Bill:
    """Running totals for ever, the lines of the last attempts only: memory stays bounded when it runs for ever."""

    def __init__(self, keep_lines: int = 100_000) -> None:
        self._lines: deque[BillLine] = deque(maxlen=keep_lines)
        self._totals: dict[tuple[str, str], Total] = {}

    def add(self, line: BillLine) -> None:
        self._lines.append(line)
        # Model names that are not sold are whatever a client wrote: they share one total, or memory would grow.
        model = line.model if line.price is not None else "(unpriced)"
        if (key := (line.provider, model)) not in self._totals:
            self._totals[key] = Total()
        self._totals[key].add(line)

    def clear(self) -> None:
        self._lines.clear()
        self._totals.clear()

    @property
    def lines(self) -> list[BillLine]:
        return list(self._lines)

    @property
    def totals(self) -> dict[tuple[str, str], Total]:
        return dict(self._totals)

    def total_nano(self) -> int:
        return sum(total.cost_nano for total in self._totals.values())

    def attempts(self) -> int:
        return sum(total.attempts for total in self._totals.values())
