"""What the response cache knows of its server: whether it is left alone, and which errors there were.

The log hears of a change once. No key and no answer is ever logged.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

from .breaker import Breaker, Pass
from .redis_link import kind_of

log = logging.getLogger("gateway.cache")


class Health:
    """What is known of the server: one breaker and one count of errors for all who ask it.

    Kinds: timeout, unreachable (the connection), busy (no turn in time), refused (the server answered with an error),
    unreadable (a value that does not open). The first two close the breaker. on_off: told when they do.
    """

    def __init__(self, on_error: Callable[[str], None] | None) -> None:
        self.breaker = Breaker()
        self.errors: Counter[str] = Counter()
        self.on_off: Callable[[], None] | None = None
        self._on_error = on_error
        self._refused = False

    def count(self, kind: str) -> None:
        self.errors[kind] += 1
        if self._on_error is not None:
            self._on_error(kind)

    def went_well(self, how: Pass) -> None:
        if self.breaker.succeeded(how):
            log.info("the response cache is on again")

    @property
    def off(self) -> bool:
        """The server is being left alone."""
        return self.breaker.off_s > 0

    def went_wrong(self, how: Pass, exc: Exception) -> None:
        kind = kind_of(exc)
        self.count(kind)
        if self.breaker.failed(how, time.monotonic()):
            # The kind of error only: a server's words may repeat the command, and so the key.
            told = "the response cache is off, requests go to the providers until it answers: %s (%s)"
            log.warning(told, kind, type(exc).__name__)
            if self.on_off is not None:
                self.on_off()

    def was_refused(self, what: str) -> None:
        self.count("refused")
        if not self._refused:
            self._refused = True
            log.warning("the response cache's server refuses commands: %s", what)

    def was_kept(self) -> None:
        if self._refused:
            self._refused = False
            log.info("the response cache keeps answers again")
