"""The configuration in force, as the requests see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.contracts import Target
from gateway.core.world import World


@dataclass(frozen=True, slots=True)
class Live:
    """A world, and where each of its models' requests go: swapped in by one reference."""

    world: World
    targets: Mapping[str, Target]
    simulated: bool
