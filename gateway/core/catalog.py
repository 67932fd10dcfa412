"""Providers and models as the price book and routes.yaml declare them: values, with a source for every claim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from .pricing import Status


class Capability(StrEnum):
    """What a request may need of a model. Names as the price book writes them."""

    TOOLS = "tools"
    JSON_OBJECT = "json_object"
    JSON_SCHEMA = "json_schema"
    VISION = "vision"
    AUDIO = "audio"
    LOGPROBS = "logprobs"
    N = "n"
    REASONING = "reasoning"


OVERALL = "overall"
"""The kind whose score stands in where a task kind has none of its own."""

AUTO = "auto"
"""In the place of a route's kind: whatever each request seems to be."""

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Reasoning efforts as a request or a candidate may name them; which of them a model knows is its provider's affair."""


@dataclass(frozen=True, slots=True)
class QualityScore:
    """0 to 100, with who measured what and when. `subject` is the entry that was measured (model and effort)."""

    score: float
    status: Status
    source: str
    read: date
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Provider:
    """Whose servers see the prompt: its wire (`dialect`), the way there (`via`), its jurisdiction.

    key_env: the variable with its key, None when it needs none. litellm_provider: litellm's name for it, `via` litellm.
    abort_stops_billing: whether a stream that is cut off is billed only so far; where not, it is read to its end.
    """

    name: str
    dialect: str
    base_url: str
    key_env: str | None
    jurisdiction: str
    via: str = "http"
    litellm_provider: str = ""
    abort_stops_billing: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """One model of one provider. `id` is `provider/name`; `upstream_name` is what the provider's wire calls it.

    A model at one reasoning effort is a model of its own, with the id `provider/name@effort`: its answers have another
    length and another quality. It has the price of the plain one (`base`).

    embeds: it makes vectors of texts for the semantic cache, and never answers; its output and capabilities are none.
    """

    id: str
    provider: str
    upstream_name: str
    context_tokens: int
    max_output_tokens: int
    capabilities: frozenset[Capability]
    expected_output_tokens: int
    tokens_per_byte: float = 0.25
    aliases: tuple[str, ...] = ()
    deprecated_on: date | None = None
    quality: Mapping[str, QualityScore] = field(default_factory=dict)
    effort: str | None = None
    embeds: bool = False

    @property
    def base(self) -> str:
        """The id without the effort: what prices, bills and the provider's health know it by."""
        return self.id if self.effort is None else self.id.rpartition("@")[0]

    def score(self, kind: str) -> QualityScore | None:
        """The score for a task kind, else the overall one, else None: nobody measured it."""
        return self.quality.get(kind) or self.quality.get(OVERALL)
