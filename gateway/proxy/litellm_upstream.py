"""The way to every provider that litellm's SDK speaks and this gateway does not: `via: litellm`.

Only the SDK, never `litellm.proxy` (of which the SDK itself takes types and helpers, not the server). It is imported at
the first request that needs it, in a thread, for that takes 4 s and 200 MB; a process that never sends this way never
loads it. Its retries, fallbacks, cache, callbacks, logs, telemetry, tokenizer and its reading of `.env` are off; it
follows no redirect and fetches no URL that a request names: what is tried, counted and told is decided here.

The rule a newcomer would break: what a client sent reaches the SDK through `litellm_call.arguments` only.

Known limits. The SDK has no connect timeout of its own for most providers, so the caller's deadline bounds connecting
too. Its adapter for GigaChat fetches image URLs by itself. What it makes up and how much of that is found out stands in
`litellm_answer`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gateway.core.contracts import Target
from gateway.core.errors import Blame, GatewayError
from gateway.core.route import Timeouts

from .faults import truncated
from .litellm_answer import event, finishes, usage_was_reported, was_cut, whole_body
from .litellm_call import arguments
from .litellm_fault import IN_BAND, ErrorReply, is_in_band, read_fault

CLOSE_S = 5.0
"""How long cutting off one stream, or giving up all connections, may take."""

READ_MARGIN_S = 10.0
"""The SDK's own timeout is this much longer than the route's, so that it is never the one to strike."""

_ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or it fetches a price list at import
    "LITELLM_MODE": "PRODUCTION",  # or it loads .env into the environment, keys and all
    "MAX_IMAGE_URL_DOWNLOAD_SIZE_MB": "0",
}
_LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")

# Providers that authenticate by the machine's or the account's identity when no key is configured.
_KEYLESS = ("azure", "bedrock", "oci", "sagemaker", "sap", "vertex_ai", "watsonx")


class LiteLLMUpstream:
    """Implements contracts.Upstream. Close it at the end; the SDK's connections are shared by the whole process."""

    def __init__(self) -> None:
        self._sdk: _Sdk | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def send(self, target: Target, body: bytes, *, attempt_id: str, timeouts: Timeouts) -> Answered | Streamed:
        """Raises GatewayError as contracts.Upstream says, and for a request that the SDK cannot carry."""
        provider = target.provider.name
        sdk = self._sdk = self._sdk or await _loaded(provider)
        call = arguments(body, provider=provider, controls=sdk.controls)
        key = _key(target.headers)
        try:
            answer = await sdk.acompletion(
                model=f"{target.provider.litellm_provider or provider}/{target.model.upstream_name}",
                api_base=target.provider.base_url or None,
                api_key=key or _no_key(target),
                headers={"x-gateway-attempt": attempt_id},
                timeout=timeouts.total + READ_MARGIN_S,
                num_retries=0,
                max_retries=0,
                **call,
            )
            if not call.get("stream"):
                return Answered(200, whole_body(answer.model_dump()))
            if answer.completion_stream is None:  # opened lazily: a refusal must come now, with its status
                await answer.fetch_stream()
        except Exception as exc:  # the SDK raises what it likes; each becomes ours here
            fault = read_fault(exc, provider=provider, attempt_id=attempt_id, key=key)
            if isinstance(fault, ErrorReply):
                return Answered(fault.status, fault.body, fault.headers)
            raise fault from exc
        return Streamed(answer, target, attempt_id, self._cut_off)

    async def close(self) -> None:
        if self._closing:
            await asyncio.wait(self._closing)
        if self._sdk is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._sdk.release()

    async def _cut_off(self, stream: Any) -> None:  # Any: litellm's stream
        """End a stream, finished or not; goes on when the caller is cancelled meanwhile."""
        task = asyncio.create_task(_close(stream))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        await asyncio.shield(task)


@dataclass(slots=True)
class Answered:
    """Implements contracts.Exchange for a reply that is here already: an answer or an error."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    async def read(self) -> bytes:
        return self.body

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.body

    async def close(self) -> None: ...


class Streamed:
    """Implements contracts.Exchange over one of the SDK's streams: OpenAI's events, `[DONE]` only when it finished."""

    __slots__ = ("_attempt_id", "_cut_off", "_stream", "_target", "headers", "status")

    def __init__(self, stream: Any, target: Target, attempt_id: str, cut_off: Callable[[Any], Awaitable[None]]) -> None:
        self._stream = stream  # Any: litellm's stream, whose module is not followed
        self._target = target
        self._attempt_id = attempt_id
        self._cut_off = cut_off
        self.status = 200
        self.headers: Mapping[str, str] = {}

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        stream, provider = self._stream, self._target.provider.name
        finished = False
        while True:
            try:
                chunk = (await anext(stream)).model_dump()
            except StopAsyncIteration:
                break
            except Exception as exc:  # as in send
                if is_in_band(exc):
                    yield IN_BAND
                    return
                raise self._fault(exc) from exc
            if finishes(chunk):
                if was_cut(stream):
                    raise truncated(provider)
                finished = True
            reported = chunk.get("usage") is not None and usage_was_reported(stream)
            if data := event(chunk, usage_reported=reported):
                yield data
        if not finished:
            raise truncated(provider)
        yield b"data: [DONE]\n\n"

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await self._cut_off(stream)

    def _fault(self, exc: Exception) -> GatewayError:
        target = self._target
        fault = read_fault(exc, provider=target.provider.name, attempt_id=self._attempt_id, key=_key(target.headers))
        return target.dialect.error(fault.status, fault.headers, fault.body) if isinstance(fault, ErrorReply) else fault


async def _close(stream: Any) -> None:  # Any: litellm's stream
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await stream.aclose()


def _key(headers: Mapping[str, str]) -> str | None:
    for name, value in headers.items():
        if name.lower() == "authorization":
            return value.removeprefix("Bearer ").strip() or None
    return None


def _no_key(target: Target) -> str | None:
    # Without a key the SDK would take one from the environment, perhaps another provider's, and send it to base_url.
    by_identity = (target.provider.litellm_provider or target.provider.name).startswith(_KEYLESS)
    return None if by_identity or not target.provider.base_url else "none"


@dataclass(frozen=True, slots=True)
class _Sdk:
    """All that is used of litellm. controls: names of keywords that are the SDK's own."""

    acompletion: Callable[..., Awaitable[Any]]  # Any: an answer or a stream of litellm's
    controls: frozenset[str]
    release: Callable[[], Awaitable[None]]


async def _loaded(provider: str) -> _Sdk:
    try:
        return await asyncio.to_thread(_load)
    except (ImportError, AttributeError) as exc:
        told = f"{provider} is reached through litellm, which cannot be used here; the operator must look into it"
        raise GatewayError(
            Blame.OPERATOR, 502, told=told, noted=f"litellm: {type(exc).__name__}: {exc}", retry=True,
            outcome="unreachable",
        ) from exc  # fmt: skip


_loading = threading.Lock()


def _load() -> _Sdk:
    with _loading:
        return _load_once()


@functools.cache
def _load_once() -> _Sdk:
    """Import litellm and turn off what it would do by itself. Raises ImportError, AttributeError: it has changed."""
    os.environ.update(_ENVIRONMENT)
    import litellm
    from litellm.litellm_core_utils import url_utils
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
    from litellm.llms.custom_httpx.async_client_cleanup import close_litellm_async_clients
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler
    from litellm.llms.openai.common_utils import BaseOpenAILLM
    from litellm.types.router import GenericLiteLLMParams
    from litellm.types.utils import all_litellm_params

    _silence()
    for name in ("telemetry", "set_verbose", "drop_params", "modify_params"):
        setattr(litellm, name, False)
    for name in ("suppress_debug_info", "turn_off_message_logging", "disable_token_counter",
                 "disable_hf_tokenizer_download", "disable_streaming_logging"):  # fmt: skip
        setattr(litellm, name, True)
    for name in ("cache", "num_retries", "num_retries_per_request", "model_fallbacks", "context_window_fallbacks"):
        setattr(litellm, name, None)
    for name in ("callbacks", "input_callback", "success_callback", "failure_callback", "service_callback",
                 "_async_input_callback", "_async_success_callback", "_async_failure_callback"):  # fmt: skip
        setattr(litellm, name, [])

    litellm.REPEATED_STREAMING_CHUNK_LIMIT = sys.maxsize  # or it fails an answer that says one thing a hundred times

    def refuse_url(url: str) -> tuple[str, str]:
        raise url_utils.SSRFError("this gateway fetches no URLs; send the content itself")

    url_utils.validate_url = refuse_url
    AsyncHTTPHandler.create_client = _without_redirects(AsyncHTTPHandler.create_client)
    BaseOpenAILLM._get_async_http_client = staticmethod(_without_redirects(BaseOpenAILLM._get_async_http_client))

    async def release() -> None:
        await GLOBAL_LOGGING_WORKER.stop(discard_pending=True, timeout=CLOSE_S)
        await close_litellm_async_clients()
        litellm.in_memory_llm_clients_cache.flush_cache()

    controls = frozenset(all_litellm_params) | frozenset(GenericLiteLLMParams.model_fields)
    return _Sdk(litellm.acompletion, controls, release)


def _silence() -> None:
    """No prompt, key or address in any log: the SDK's loggers are mute, its libraries only warn."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
        logger.disabled = True
    for name in ("httpx", "httpcore", "openai"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _without_redirects(make: Callable[..., Any]) -> Callable[..., Any]:  # Any: an httpx client, as litellm makes it
    @functools.wraps(make)
    def made(*args: Any, **kwargs: Any) -> Any:
        client = make(*args, **kwargs)
        client.follow_redirects = False
        return client

    return made
