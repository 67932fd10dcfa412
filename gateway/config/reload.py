"""Read the files again while the gateway runs, and put another configuration in force once it is whole and good.

The one place where a running gateway takes a changed file: asked for (a signal, the admin API) or found by the watch.
Everything is read, built and checked anew, then handed over as one value. What is wrong is refused as a whole: its
mistakes are told once for each state of the files, and the last good configuration stays in force.

The watch compares bytes, and takes only files that read the same a moment later. Whoever replaces one does so by
renaming a finished file onto it: a list cut off between two rows is a good file, and nobody could tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Literal, TypeAlias, get_args

import msgspec

from .load import Loaded, Texts, reviewed_again
from .mistakes import ConfigError

log = logging.getLogger("gateway.reload")

STILL_S = 0.5
"""Changed files must read the same this much later, or somebody is writing them."""

Trigger: TypeAlias = Literal["start", "signal", "watch", "admin"]
Result: TypeAlias = Literal["applied", "refused", "unchanged"]
RESULTS: tuple[Result, ...] = get_args(Result)


class Outcome(msgspec.Struct, frozen=True, tag="outcome"):
    """What came of one reload. version: in force afterwards. late: processes that have not taken it in time."""

    result: Result
    version: str
    warnings: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()
    late: int = 0


class Refusal(msgspec.Struct, frozen=True):
    at: datetime
    trigger: Trigger
    mistakes: tuple[str, ...]


class Standing(msgspec.Struct, frozen=True, tag="standing"):
    """The configuration in force, since when and by what; what was refused since; how many reloads by result."""

    version: str
    since: datetime
    trigger: Trigger = "start"
    refusal: Refusal | None = None
    reloads: Mapping[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(RESULTS, 0))


def _nobody(_: Standing) -> None:
    pass


class Reloader:
    """Owns the watch: `start` it in a running loop, `close` ends it. `reload` may be called at any time.

    read, build: block, and raise ConfigError. take: puts a configuration in force wherever requests are served, and
    returns how many processes have not taken it in time; called in the loop, one at a time. told: hears of every other
    change of `standing`.
    """

    def __init__(
        self,
        loaded: Loaded,
        read: Callable[[], Texts],
        build: Callable[[Texts], Loaded],
        take: Callable[[Loaded, Standing], Awaitable[int]],
        *,
        standing: Standing,
        now: Callable[[], datetime],
        told: Callable[[Standing], None] = _nobody,
        still_s: float = STILL_S,
    ) -> None:
        self.loaded = loaded
        self.standing = standing
        self._read = read
        self._build = build
        self._take = take
        self._now = now
        self._told = told
        self._still_s = still_s
        self._refused: Texts | str | None = None
        """The state of the files that was refused last: texts, or why they cannot be read."""
        self._one_at_a_time = asyncio.Lock()
        self._asked = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_looking(), name="config-watch")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def ask(self) -> None:
        """For a signal's handler: reload soon. Several signals at once are one."""
        self._asked = True
        self._wake.set()

    async def reload(self, trigger: Trigger) -> Outcome:
        """Read the files now, whoever may be writing them, and put in force what they hold."""
        async with self._one_at_a_time:  # bounded: reading and building end, and `take` has a deadline
            try:
                texts = await asyncio.to_thread(self._read)
            except ConfigError as exc:
                return self._refuse(str(exc), exc, trigger)
            return await self._judge(texts, trigger)

    async def look(self) -> None:
        """One look of the watch: has a file changed, and is it still?"""
        try:
            texts = await asyncio.to_thread(self._find)
            if texts == self.loaded.texts:
                self._mended()
                return
            if texts == self._refused:
                return
            await asyncio.sleep(self._still_s)
            async with self._one_at_a_time:  # bounded as above
                if texts == await asyncio.to_thread(self._find) != self.loaded.texts:
                    await self._judge(texts, "watch")
        except ConfigError as exc:
            if str(exc) != self._refused:
                self._refuse(str(exc), exc, "watch")

    def _find(self) -> Texts:
        """What the watch looks at: all files, or with `watch_s: 0` the reviewed one alone, beside those in force."""
        now = self.loaded
        return self._read() if now.world.server.watch_s else reviewed_again(now.texts)

    async def _keep_looking(self) -> None:
        while True:
            if not self._asked:
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause_s):
                        await self._wake.wait()  # for a signal, or a configuration with another pause
            try:
                if self._asked:
                    self._asked = False
                    await self.reload("signal")
                elif self._pause_s is not None:
                    await self.look()
            except Exception:  # a fault of ours at one look must not end the watch
                log.exception("a reload of the configuration failed inside the gateway")

    @property
    def _pause_s(self) -> float | None:
        refresh, watch_s = self.loaded.refresh, self.loaded.world.server.watch_s
        pauses = [one for one in (watch_s, 0 if refresh is None else refresh.every_s) if one]
        return min(pauses, default=None)

    async def _judge(self, texts: Texts, trigger: Trigger) -> Outcome:
        if texts == self.loaded.texts:
            self._refused = None
            self._tell(msgspec.structs.replace(self.standing, refusal=None, reloads=self._counted("unchanged")))
            return self._outcome("unchanged")
        try:
            found = await asyncio.to_thread(self._build, texts)
        except ConfigError as exc:
            return self._refuse(texts, exc, trigger)
        standing = msgspec.structs.replace(
            self.standing, version=found.world.version, since=self._now(), trigger=trigger, refusal=None,
            reloads=self._counted("applied"),
        )  # fmt: skip
        late = await self._take(found, standing)
        self.loaded, self.standing, self._refused = found, standing, None
        self._wake.set()
        log.info("configuration %s is in force (%s)", found.world.version, trigger)
        return self._outcome("applied", late)

    def _refuse(self, state: Texts | str, error: ConfigError, trigger: Trigger) -> Outcome:
        """Logged once for each state of the files, not at every look."""
        mistakes = tuple(map(str, error.mistakes))
        if state != self._refused:
            self._refused = state
            log.error("refused, and configuration %s stays in force:\n%s", self.standing.version, error)
        refusal = Refusal(self._now(), trigger, mistakes)
        self._tell(msgspec.structs.replace(self.standing, refusal=refusal, reloads=self._counted("refused")))
        return Outcome("refused", self.standing.version, mistakes=mistakes)

    def _counted(self, result: Result) -> Mapping[str, int]:
        return {**self.standing.reloads, result: self.standing.reloads[result] + 1}

    def _outcome(self, result: Result, late: int = 0) -> Outcome:
        warnings = tuple(one.as_warning() for one in self.loaded.warnings)
        return Outcome(result, self.standing.version, warnings, late=late)

    def _mended(self) -> None:
        """The files hold again what is in force. Those that the watch does not look at may still be bad ones."""
        if self._refused is not None and self.loaded.world.server.watch_s:
            self._refused = None
            self._tell(msgspec.structs.replace(self.standing, refusal=None))

    def _tell(self, standing: Standing) -> None:
        self.standing = standing
        self._told(standing)
