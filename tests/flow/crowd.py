"""Many clients that ask the same at once, each on a connection of its own, whose worker can be found out.

A plain client of HTTP/1.1: a thousand of these take little of the machine that the gateway runs on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.running import RunningGateway

ANSWER_S = 60.0


@dataclass
class Client:
    """One connection and what came on it. broke: why there is no whole answer."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    broke: str = ""
    ended_s: float = 0.0

    @property
    def port(self) -> int:
        return self.writer.get_extra_info("sockname")[1]

    @property
    def cache(self) -> str:
        return self.headers.get("x-gateway-cache", "")

    @property
    def events(self) -> bytes:
        """A stream without what is each reader's own: the gateway's trailer."""
        return self.body.partition(b": gateway ")[0]

    @property
    def chunks(self) -> list[dict]:
        return [json.loads(line[6:]) for line in self.body.splitlines() if line.startswith(b"data: {")]

    @property
    def text(self) -> str:
        """What the answer says, whole or streamed; "" when it is not whole."""
        if self.status != 200 or self.broke:
            return ""
        if self.body.startswith(b"{"):
            return json.loads(self.body)["choices"][0]["message"]["content"]
        if not self.body.endswith(b"data: [DONE]\n\n"):
            return ""
        return "".join(part["delta"].get("content") or "" for chunk in self.chunks for part in chunk["choices"])

    async def ask(self, fields: dict, key: str | None = None) -> None:
        body = json.dumps(fields).encode()
        told = "" if key is None else f"authorization: Bearer {key}\r\n"
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n{told}content-length: {len(body)}\r\n"
        try:
            async with asyncio.timeout(ANSWER_S):
                self.writer.write(f"{head}connection: close\r\n\r\n".encode() + body)
                await self._read()
        except (OSError, EOFError, ValueError) as exc:
            self.broke = type(exc).__name__
        finally:
            self.ended_s = time.monotonic()
            self.writer.close()

    async def _read(self) -> None:
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if "content-length" in self.headers:
            self.body = await self.reader.readexactly(int(self.headers["content-length"]))
            return
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            self.body += (await self.reader.readexactly(size + 2))[:-2]


async def crowd(gateway: RunningGateway, count: int) -> list[Client]:
    """Connected, and not asking yet."""
    clients = []
    for _ in range(count):
        clients.append(Client(*await asyncio.open_connection("127.0.0.1", gateway.port)))
    return clients


async def ask_all(clients: Sequence[Client], fields: dict, key: str | None = None) -> None:
    await asyncio.gather(*(client.ask(fields, key) for client in clients))


async def workers_of(gateway: RunningGateway, clients: Sequence[Client]) -> dict[int, int]:
    """The worker that has each client's connection, by the client's port. Linux only."""
    deadline = time.monotonic() + 10
    while True:
        found = _held_by(gateway)
        if all(client.port in found for client in clients):
            return {client.port: found[client.port] for client in clients}
        assert time.monotonic() < deadline, "a connection was not taken up"
        await asyncio.sleep(0.02)


def _held_by(gateway: RunningGateway) -> dict[int, int]:
    holders = {inode: pid for pid in gateway.worker_pids() for inode in _sockets(pid)}
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, inode = (line.split()[at] for at in (1, 2, 9))
        if _port(local) == gateway.port and inode in holders:
            found[_port(remote)] = holders[inode]
    return found


def _port(address: str) -> int:
    return int(address.split(":")[1], 16)


def _sockets(pid: int) -> list[str]:
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            links.append(os.readlink(entry))
    return [link[8:-1] for link in links if link.startswith("socket:[")]
