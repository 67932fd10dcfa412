"""What the rooms promise one another: types only. The proxy sees stores, upstreams and dialects through these."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from .budget import Ask
from .caching import CachedAnswer, Lookup
from .candidate import Warm
from .catalog import Model, Provider
from .conversation import PromptCache, Turn
from .errors import GatewayError
from .learning import Tallies, WeightedTallies
from .pricing import Usage
from .records import SpendRecord
from .request import ChatRequest
from .route import Timeouts


class Embedded(msgspec.Struct, frozen=True):
    """A text as a vector. tokens: those that the provider counted; None when it did not say."""

    vector: list[float]
    tokens: int | None


class Embeddings(Protocol):
    """A provider's wire for vectors. Pure."""

    def body(self, text: str, model: Model) -> bytes: ...

    def read(self, raw: bytes) -> Embedded | None:
        """The vector in a whole reply; None when there is none in it."""
        ...


class Dialect(Protocol):
    """One provider's wire. Pure: bytes and values in, bytes and values out."""

    @property
    def name(self) -> str: ...

    @property
    def embeddings(self) -> Embeddings | None:
        """How texts become vectors at this provider; None where they do not."""
        ...

    def body(
        self, request: ChatRequest, model: Model, output_cap: int | None = None, warm: Warm | None = None
    ) -> bytes:
        """The body to send: the caller's fields with the model's own name and effort, usage always asked for.

        output_cap: an output limit that must hold. It is sent where the caller names none, and a caller's limit past
        the model's own is brought down to that: what may be spent was bounded by it.
        warm: who answered before, where that is known. What other models left in the messages becomes something that
        this provider accepts; messages without such things go on as they came, byte for byte.
        """
        ...

    def prompt_cache(self, model: Model) -> PromptCache:
        """How the provider caches this model's prompts by itself."""
        ...

    def usage(self, raw: bytes) -> Usage | None:
        """Disjoint token classes from a usage object's JSON; None when it states nothing usable."""
        ...

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """A provider's error reply as ours: who is to blame, whether another candidate may do better."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """Where one model's requests go, everything resolved but the request itself."""

    model: Model
    provider: Provider
    dialect: Dialect
    url: str
    headers: Mapping[str, str]
    simulated: bool


class Exchange(Protocol):
    """One reply in progress."""

    status: int
    headers: Mapping[str, str]

    async def read(self) -> bytes:
        """The whole body. Raises GatewayError when the provider breaks off or sends too much."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises GatewayError when the provider breaks off."""
        ...

    async def close(self) -> None:
        """Stop reading; an unfinished reply is cut off."""
        ...


class Upstream(Protocol):
    """The way to providers. Deadlines for the reply are the caller's; only connecting has one of its own."""

    async def send(self, target: Target, body: bytes, *, attempt_id: str, timeouts: Timeouts) -> Exchange:
        """Raises GatewayError when no reply begins."""
        ...

    async def close(self) -> None: ...


class CircuitState(msgspec.Struct, frozen=True, array_like=True):
    """A model's circuit as workers tell one another: durations only, for the clocks of machines differ.

    mark: names this state; replaces: the mark of the state that it follows, "" for none; open: false when an answer has
    closed it; left_ms: until it may be tried again, negative since then; firm: its provider asked for the pause.
    """

    model: str
    mark: str
    replaces: str
    open: bool
    opened_ago_ms: int = 0
    left_ms: int = 0
    openings: int = 0
    firm: bool = False
    reason: str = ""


class CircuitBook(Protocol):
    """What one worker knows of circuits, and how it hears of the others'. Never waits."""

    def unsaid(self) -> list[CircuitState]:
        """What has changed here and the others have not been told."""
        ...

    def hear(self, said: Sequence[CircuitState], states: Sequence[CircuitState]) -> None:
        """What was `said` has been told; `states` are all circuits that are open now, whoever opened them."""
        ...


class Cache(Protocol):
    """Kept answers, and the calls under way that equal requests share. It never fails a request.

    No call waits longer than 50 ms for the store, but `follow`. A store that is away or frozen is "nothing found, and
    alone"; whoever finds that out costs one deadline a period.
    """

    def start(self) -> None:
        """In a running loop, before the first request."""
        ...

    async def look(self, key: str, scope: str, *, flight: str) -> Lookup:
        """What is kept under `key`. When nothing is, the request leads or follows `flight`; "" when it shares nothing.

        What cannot be opened, is of another scope or was purged is deleted and counts as nothing.
        """
        ...

    async def lead(self, flight: str) -> Lookup:
        """Lead or follow a flight, whatever is kept."""
        ...

    async def put(self, key: str, answer: CachedAnswer) -> None:
        """Until the answer ends."""
        ...

    def publish(self, flight: str, parts: Sequence[bytes]) -> None:
        """More of a call that this process leads, for those who follow it. Never waits; they have it soon."""
        ...

    async def land(self, flight: str, parts: Sequence[bytes], *, key: str, answer: CachedAnswer | None) -> None:
        """The last parts of a call, and its answer when it is to be kept, in one step: who looks at the same moment
        finds the answer, or follows to the end."""
        ...

    def follow(self, flight: str) -> AsyncIterator[bytes]:
        """The parts in order, from the first on, until the last. Raises FlightLost within a lease when its leader died,
        or soon when the store is away."""
        ...

    async def close(self) -> None: ...


class Near(msgspec.Struct, frozen=True):
    """A question that was answered. key: of the kept answer; similarity: the cosine of the two vectors."""

    key: str
    text: str
    similarity: float


class Neighbours(Protocol):
    """Questions that were answered, by their vectors. It never fails a request, and none waits for it past 50 ms."""

    async def find(self, context: str, vector: Sequence[float], threshold: float) -> Sequence[Near]:
        """Those asked in the same context, of at least this cosine; the closest first."""
        ...

    async def keep(self, context: str, vector: Sequence[float], text: str, key: str, ends_us: int) -> None: ...

    async def close(self) -> None: ...


class Warmth(Protocol):
    """Who answered which turn of a conversation. It never fails a request: what cannot be known soon is unknown."""

    def start(self) -> None:
        """In a running loop, before the first turn is kept."""
        ...

    async def find(self, name: str) -> Turn | None: ...

    def keep(self, name: str, turn: Turn, ttl_s: int) -> None:
        """Never waits. This process finds it at once, the others soon."""
        ...

    async def close(self) -> None: ...


class Ledger(Protocol):
    """The book. Appending twice under one attempt id is appending once."""

    def append(self, records: Sequence[SpendRecord]) -> None:
        """Blocking; called from a writer thread. Raises LedgerUnavailable when nothing was written."""
        ...


class LedgerUnavailable(Exception):
    """The book cannot be written now; the records are kept and tried again."""


class TallyStore(Protocol):
    """Where all workers add what they learn. Every call blocks and raises LedgerUnavailable when nothing was done."""

    def merge(self, tallies: Tallies) -> None:
        """Add to what is kept: all of it or nothing."""
        ...

    def past(self, simulated: bool, day: int) -> WeightedTallies:
        """What is kept of the days before this one, counted for what it weighs on it."""
        ...

    def present(self, simulated: bool, day: int, hour: int) -> Tallies:
        """What is kept of this day, and of this hour and those that are recent; days and hours since the epoch."""
        ...

    def forget(self, day: int, hour: int) -> None:
        """Remove what is too old to count."""
        ...


class Settlement(msgspec.Struct):
    """One finished attempt on its way into the accounts and the ledger.

    hold, amount, budgets, busy: what was held for it, as the store knows it. refunds: rates it took less of than was
    expected. record: None when there is nothing to book, or the ledger has it. handed_us: when the ledger was given it
    (0: not yet), by the store's clock. stream_id: where the store keeps its copy until the ledger has it. absence: the
    store's absence in which it was admitted, so that no hold is known there (0: it is).
    """

    hold: str
    amount: int
    cost: int
    budgets: list[list[str | int]]
    busy: list[str]
    refunds: list[tuple[str, int]]
    record: SpendRecord | None
    handed_us: int = 0
    stream_id: str = ""
    absence: int = 0


class Admission(msgspec.Struct, frozen=True):
    """An admitted attempt: what was asked, and the budgets and limits in the words of the store's scripts.

    absence: the store's absence in which it was admitted (0: the store was there).
    """

    ask: Ask
    budgets: list[list[str | int]]
    limits: list[list[str | int]]
    absence: int = 0


class Accounts(Protocol):
    """Who may spend and ask how much. What is admitted must be settled, whatever became of it."""

    @property
    def used(self) -> Mapping[str, int]:
        """Nano-dollars spent and held by budget counter, as last heard."""
        ...

    async def admit(self, ask: Ask) -> Admission:
        """Raises GatewayError: 402 for a budget, 429 for a limit, 503 when neither can be known."""
        ...

    def settle(self, admission: Admission | None, record: SpendRecord) -> None:
        """Never waits and never fails; without an admission the record is only booked."""
        ...
