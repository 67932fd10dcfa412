"""The response cache as routes.yaml writes it: how long answers are kept, for whom, and what else they answer."""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeAlias

from pydantic import Field

from gateway.core.caching import LONGEST_S

from .leaves import CacheScopeWord, ModelName, Similarity
from .shape_book import Keys

Stale: TypeAlias = Annotated[int, Field(ge=0, le=LONGEST_S)]


class SemanticKeys(Keys):
    """Kept answers are also replayed to questions that mean the same; off when the key is absent."""

    stand_ins: ClassVar[dict[str, object]] = {"model": "none"}

    model: ModelName = Field(description="The embedding model that questions are compared by.")
    threshold: Similarity = Field(
        default=0.95, description="The least cosine similarity of two questions that get one answer, 0.8 to 1."
    )


class CacheKeys(Keys):
    """The response cache of a route; off when the key is absent."""

    stand_ins: ClassVar[dict[str, object]] = {"ttl_s": 1}

    ttl_s: Annotated[int, Field(gt=0, le=LONGEST_S)] = Field(description="How long an answer may be replayed.")
    max_kib: Annotated[int, Field(gt=0, le=65_536)] = Field(
        default=256, description="The largest answer that is kept, in KiB."
    )
    scope: CacheScopeWord = Field(
        default="team", description="Who shares an answer: one team, one key, one organisation, or everybody (global)."
    )
    jitter_percent: Annotated[int, Field(ge=0, le=50)] = Field(
        default=10, description="Up to so much shorter is each answer kept, so that not all of them end together."
    )
    stale_while_revalidate_s: Stale = Field(
        default=0, description="For so long after its time an answer is replayed while another one is fetched."
    )
    stale_if_error_s: Stale = Field(
        default=0, description="For so long after its time an answer is replayed when no other one can be had."
    )
    sampled: bool = Field(
        default=False, description="Keep also answers that are meant to vary: a temperature above 0, an n above 1."
    )
    coalesce: bool = Field(default=True, description="Equal requests at the same time make one call.")
    semantic: SemanticKeys | None = Field(
        default=None, description="Answer also what means the same. Absent: equal requests only."
    )
