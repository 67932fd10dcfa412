"""Words of routes.yaml that stand in no other room."""

from __future__ import annotations

STRICTER, ANY = OVERRIDES = ("stricter", "any")
"""What a team's requests may make of their route's terms."""

ALL, NONE = WHOSE = ("all", "none")
"""Of a team's keys, in the place of a list of them."""
