"""The way to providers over HTTP: one pooled aiohttp session; this file alone knows the client library.

Every library exception becomes a GatewayError here. Redirects are not followed, URLs come from configuration only,
nothing is decompressed or decoded: bytes stay bytes. Deadlines for the reply belong to the caller, which counts
content; only connecting has its own here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import aiohttp
from yarl import URL

from gateway.core.contracts import Target
from gateway.core.errors import GatewayError
from gateway.core.route import Timeouts

from .faults import MAX_ANSWER_BYTES, lost, oversized, unreachable


class HttpUpstream:
    """Implements contracts.Upstream. Make it inside a running event loop; close it at the end."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            auto_decompress=False,
            trust_env=False,
        )
        self._urls: dict[str, URL] = {}
        self._limits: dict[float, aiohttp.ClientTimeout] = {}

    async def send(self, target: Target, body: bytes, *, attempt_id: str, timeouts: Timeouts) -> HttpExchange:
        url = self._urls.get(target.url)
        if url is None:
            url = self._urls[target.url] = URL(target.url)
        limit = self._limits.get(timeouts.connect)
        if limit is None:
            limit = aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect, ceil_threshold=60)
            self._limits[timeouts.connect] = limit
        headers = {**target.headers, "x-gateway-attempt": attempt_id}
        try:
            response = await self._session.post(url, data=body, headers=headers, timeout=limit, allow_redirects=False)
        except aiohttp.ClientConnectorError as exc:
            raise unreachable(target.provider.name, "no connection") from exc
        except aiohttp.ConnectionTimeoutError as exc:
            raise unreachable(target.provider.name, f"no connection within {timeouts.connect:g} s") from exc
        except (aiohttp.ClientError, OSError) as exc:
            why = f"connection lost before a reply ({type(exc).__name__})"
            raise lost(target.provider.name, why, repeatable=True) from exc
        return HttpExchange(response, target.provider.name)

    async def close(self) -> None:
        await self._session.close()


class HttpExchange:
    """Implements contracts.Exchange over one aiohttp response."""

    __slots__ = ("_provider", "_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse, provider: str) -> None:
        self._response = response
        self._provider = provider
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def read(self) -> bytes:
        content = self._response.content
        parts: list[bytes] = []
        size = 0
        try:
            while chunk := await content.readany():
                parts.append(chunk)
                size += len(chunk)
                if size > MAX_ANSWER_BYTES:
                    raise oversized(self._provider)
        except (aiohttp.ClientError, OSError) as exc:
            raise self._lost(exc) from exc
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def chunks(self) -> AsyncIterator[bytes]:
        content = self._response.content
        try:
            while chunk := await content.readany():
                yield chunk
        except (aiohttp.ClientError, OSError) as exc:
            raise self._lost(exc) from exc

    def _lost(self, exc: Exception) -> GatewayError:
        return lost(self._provider, f"connection lost in the reply ({type(exc).__name__})", repeatable=False)

    async def close(self) -> None:
        # A reply read to its end goes back to the pool; anything else must be cut, which also tells the provider.
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()
