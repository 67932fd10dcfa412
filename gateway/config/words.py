"""Words of routes.yaml that are data of other rooms, where a caller of `load` does not hand them in."""

from __future__ import annotations

STRICTER, ANY = OVERRIDES = ("stricter", "any")
"""What a team's requests may make of their route's terms."""
