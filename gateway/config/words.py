"""Words of routes.yaml that are data of other rooms, where a caller of `load` does not hand them in."""

from __future__ import annotations

KINDS = (
    "code",
    "maths",
    "extraction",
    "translation",
    "summarisation",
    "knowledge",
    "reasoning",
    "writing",
    "chat",
)
"""The task kinds that requests are told apart by. Scores may name further ones."""

STRICTER, ANY = OVERRIDES = ("stricter", "any")
"""What a team's requests may make of their route's terms."""
