"""The list of policies, by the name routes.yaml gives them. Each is a file of its own, and pure."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core.route import Policy

from .best import Best
from .cheapest import Cheapest
from .fastest import Fastest
from .ordered import Ordered
from .split import Split
from .value import Value

POLICIES: Mapping[str, Policy] = {
    policy.name: policy for policy in (Cheapest(), Best(), Value(), Fastest(), Split(), Ordered())
}
