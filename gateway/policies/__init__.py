"""The list of policies, by the name routes.yaml gives them. Each is a file of its own, and pure."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core.routing import Policy

from .best import Best
from .cheapest import Cheapest
from .split import Split

POLICIES: Mapping[str, Policy] = {policy.name: policy for policy in (Cheapest(), Best(), Split())}
