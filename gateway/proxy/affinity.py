"""A conversation as one request continues it: who answered the turn before, and what is remembered of this one.

A first question costs nothing here. Only a request in which the assistant has spoken is looked up, and only what may
be continued to some purpose is kept: a long prompt, one with tools, or a conversation that goes on already. A
conversation is its team's, whatever the route.
"""

from __future__ import annotations

from gateway.core.candidate import Warm
from gateway.core.catalog import Capability
from gateway.core.contracts import Warmth
from gateway.core.conversation import LOOP_S, WORTH_BYTES, answered, fingerprint, subkey, warmth
from gateway.core.request import ChatRequest
from gateway.core.world import Caller

from .attempt import Attempt, Job
from .clock import now_us


class Affinity:
    """`find` before deciding, `keep` after an answer."""

    def __init__(self, store: Warmth, secret: bytes) -> None:
        self._store = store
        self._key = subkey(secret)

    def start(self) -> None:
        self._store.start()

    async def close(self) -> None:
        await self._store.close()

    async def find(self, request: ChatRequest, caller: Caller) -> Warm | None:
        """Who answered the turn that this request continues; None when nobody knows, or nothing follows from it."""
        history = request.history
        if history is None or not history.answered:
            return None
        conversation = request.conversation
        turn = await self._store.find(self._name(caller, conversation.before))
        return None if turn is None else warmth(turn, history, conversation, now_us())

    def keep(self, job: Job, attempt: Attempt) -> None:
        """Remember a whole answer: the next turn finds it. Never waits."""
        request, model = job.request, attempt.candidate.model
        if attempt.outcome != "ok" or not _worth_keeping(request):
            return
        conversation = request.conversation
        cache = attempt.target.dialect.prompt_cache(model)
        held = cache.after(model.id, prompt=attempt.usage.prompt, size=request.prompt_size, now_us=now_us())
        turn = answered(held, conversation, job.decision.signals.warm)
        # Not by the finish reason: there are providers that end a tool call with "stop".
        ttl_s = max(cache.keeps_s, LOOP_S) if Capability.TOOLS in request.needs else cache.keeps_s
        self._store.keep(self._name(job.caller, conversation.whole), turn, ttl_s)

    def _name(self, caller: Caller, said: bytes) -> str:
        return fingerprint(self._key, organisation=caller.organisation, team=caller.team, said=said)


def _worth_keeping(request: ChatRequest) -> bool:
    return request.history is not None or request.prompt_bytes >= WORTH_BYTES or Capability.TOOLS in request.needs
