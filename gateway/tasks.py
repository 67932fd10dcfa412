"""What kind of task a request is, read from its text, where the configuration in force asks for it.

The file of kinds is read, and numpy loaded, when the first configuration comes that has a use for them. A text that is
unlike what the file was trained on is of no kind, and so is every text of a route whose traffic has left it: then the
overall scores and floors hold.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gateway.core.routing import MOST_KINDS
from gateway.core.world import World
from gateway.kinds.watch import START, drifted, watched

from .settings import StartError

if TYPE_CHECKING:
    from gateway.kinds.reader import Kinds

log = logging.getLogger("gateway.kinds")

UNKNOWN: Mapping[str, float] = {}


class TaskKinds:
    """path: the trained file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: Callable[[msgspec.Raw], Kinds] | None = None
        self._levels: dict[str, float] = {}

    def prepare(self, world: World) -> None:
        """Before this configuration is put in force. Raises StartError for a file that cannot be used."""
        routes = world.routes.values()
        if self._read is not None or not any(world.asks_kind(route) for route in routes):
            return
        # Here, because they load numpy: only where it is of use.
        from gateway.kinds.messages import last_user_text
        from gateway.kinds.reader import KindFileError, KindReader

        try:
            reader = KindReader.of(self._path.read_bytes())
        except (OSError, KindFileError) as exc:
            raise StartError(f"the task kinds in {self._path} cannot be used: {exc}") from exc
        self._read = lambda messages: reader.read(last_user_text(messages))

    def shares(self, route: str, messages: msgspec.Raw) -> Mapping[str, float]:
        """The likeliest kinds with their probability; empty where nothing can be said."""
        if self._read is None:
            return UNKNOWN
        found = self._read(messages)
        before = self._levels.get(route, START)
        level = self._levels[route] = watched(before, found.typical)
        if drifted(level) != drifted(before):
            self._say(route, drifted(level))
        if not found.known or drifted(level):
            return UNKNOWN
        likeliest = sorted(found.shares.items(), key=lambda one: one[1], reverse=True)[:MOST_KINDS]
        return {kind: round(share, 4) for kind, share in likeliest}

    def _say(self, route: str, away: bool) -> None:
        if away:
            log.warning("requests of route %s are unlike what task kinds were learned from; none is assumed", route)
        else:
            log.info("requests of route %s are like what task kinds were learned from again", route)
