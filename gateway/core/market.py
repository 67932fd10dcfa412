"""What can be bought: models, their providers and prices, and what is expected of each before anything is learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .candidate import Estimate
from .catalog import Model, Provider
from .pricing import PriceBook, Status


@dataclass(frozen=True, slots=True)
class Market:
    """`off` says why a provider is not in use here. priors: by model id, made from the models."""

    models: Mapping[str, Model]
    providers: Mapping[str, Provider]
    prices: PriceBook
    off: Mapping[str, str] = field(default_factory=dict)
    priors: Mapping[str, Estimate] = field(init=False, repr=False, compare=False)

    @property
    def plain(self) -> Mapping[str, Model]:
        """The models without their efforts: what has a price of its own, and what providers know."""
        return {name: model for name, model in self.models.items() if model.effort is None}

    def __post_init__(self) -> None:
        object.__setattr__(self, "priors", {name: prior(model) for name, model in self.models.items()})


def prior(model: Model) -> Estimate:
    """What its makers and its public scores say of a model. A rumoured score counts as none."""
    return Estimate(
        tokens_per_byte=model.tokens_per_byte,
        output_tokens=model.expected_output_tokens,
        scores={kind: one.score for kind, one in model.quality.items() if one.status is not Status.RUMOURED},
    )
