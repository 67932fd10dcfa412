"""What the simulator's tests share: round prices, a short request, and a small client that speaks plain HTTP."""

import asyncio
import json
from dataclasses import dataclass

import aiohttp

from gateway.simulator import Scenario, Simulator

# Round figures, so that bills are worked out by hand: nano-dollars a token are a thousand times these.
PRICES = {
    ("openai", "gpt-6-luna"): [(0, {"input": "2", "cached_input": "0.5", "cache_write": "2.5", "output": "8"})],
    ("openai", "gpt-4o-mini"): [(0, {"input": "0.15", "cached_input": "0.075", "output": "0.6"})],
    ("deepseek", "deepseek-flash"): [(0, {"input": "1", "cached_input": "0.1", "output": "4"})],
    ("deepseek", "deepseek-v4-pro"): [(0, {"input": "1", "cached_input": "0.1", "output": "4"})],
    ("deepseek", "deepseek-chat"): [(0, {"input": "1", "cached_input": "0.1", "output": "4"})],
    ("google", "gemini-3.8-flash"): [(0, {"input": "3", "cached_input": "0.3", "output": "6"})],
    ("google", "gemini-4-argon"): [(0, {"input": "3", "cached_input": "0.3", "output": "6"})],
}

MODELS = {"openai": "gpt-6-luna", "deepseek": "deepseek-flash", "google": "gemini-3.8-flash"}

# "hello there" is 2 tokens, its message 3 more, the request 3 more.
HELLO = [{"role": "user", "content": "hello there"}]
HELLO_TOKENS = 8

TEN = Scenario(answer_tokens=10, reasoning_tokens=4)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self):
        return json.loads(self.raw)

    @property
    def events(self) -> list[str]:
        """What each server-sent event says: its data, or its comment with the colon."""
        blocks = self.raw.decode().split("\n\n")
        assert blocks[-1] == "", "the stream ends inside an event"
        return [block.removeprefix("data: ") for block in blocks[:-1]]

    @property
    def chunks(self) -> list[dict]:
        return [json.loads(event) for event in self.events if event != "[DONE]" and not event.startswith(":")]

    @property
    def text(self) -> str:
        if self.raw.startswith(b"{"):
            return self.json["choices"][0]["message"]["content"]
        return "".join(c["delta"].get("content") or "" for chunk in self.chunks for c in chunk["choices"])


BROKEN = (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


async def read_until_silent(response: aiohttp.ClientResponse, seconds: float = 0.3) -> bytes:
    """What comes within that time; the response must not end before."""
    got = b""
    try:
        async with asyncio.timeout(seconds):
            async for piece in response.content.iter_any():
                got += piece
    except TimeoutError:
        return got
    raise AssertionError("the response ended")


async def read_until_broken(response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """(what came, whether the connection broke before the body's end)."""
    got = b""
    try:
        async for piece in response.content.iter_any():
            got += piece
    except BROKEN:
        return got, True
    return got, False


class Client:
    def __init__(self, session: aiohttp.ClientSession, sim: Simulator) -> None:
        self.session = session
        self.sim = sim

    def open(self, provider: str, *, headers=None, key="sk-any", **body):
        """The response as aiohttp has it, for tests that read only a part of it."""
        body = {"model": MODELS[provider], "messages": HELLO, **body}
        sent = {"authorization": f"Bearer {key}", **(headers or {})}
        return self.session.post(self.sim.base_url(provider) + "/chat/completions", json=body, headers=sent)

    async def chat(self, provider: str, **given) -> Reply:
        async with self.open(provider, **given) as response:
            return Reply(
                response.status,
                {name.lower(): value for name, value in response.headers.items()},
                await response.read(),
            )

    async def stream(self, provider: str, **given) -> Reply:
        return await self.chat(provider, **{"stream": True, "stream_options": {"include_usage": True}, **given})
