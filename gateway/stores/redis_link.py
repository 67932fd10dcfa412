"""Connections to one Redis or Valkey: commands out, replies back, under deadlines of ours.

Invariant: a cancelled or late command takes its connection with it, so its reply can never reach another caller.

redis-py's own retries and timeouts are off: there is one attempt, under one deadline. Cancelling it is what closes the
connection. (Its `socket_timeout` would also cost a task for every command on Python 3.11.)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio.connection import ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

log = logging.getLogger("gateway.accounts")

CONNECT_TIMEOUT_S = 0.25
TIMEOUT_S = 0.1

GONE = (RedisError, OSError, TimeoutError)
"""What `ask` raises when there is no answer to be had."""

Reply = bytes | int | list[Any] | None  # Any: a reply may nest
Word = bytes | str


def packed(*words: Word) -> bytes:
    """One command in Redis' protocol."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        raw = word if isinstance(word, bytes) else word.encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


class RedisLink:
    """A pool of connections. Does not wait for a free one: whoever asks bounds how many ask at once."""

    def __init__(
        self,
        url: str,
        *,
        connections: int,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Raises ValueError when the address is none; its text never repeats the address, which may hold a password."""
        ours: dict[str, Any] = {  # Any: keyword arguments of every kind
            # RESP2 without the driver's name needs no greeting, so a new connection is ready at once and the first
            # thing to wait for is the answer. And only with RESP2 does redis-py look for unread bytes before it lends
            # a connection again.
            "protocol": 2,
            "driver_info": None,
            "decode_responses": False,
            "socket_timeout": None,
            "socket_connect_timeout": None,
            "retry": Retry(NoBackoff(), 0),
            "max_connections": connections,
        }
        try:
            self._pool = ConnectionPool(**{**parse_url(url), **ours})
            self._pool.make_connection()  # type: ignore[no-untyped-call]  # opens nothing; finds options that are none
        except (ValueError, TypeError):
            raise ValueError("the Redis address must look like redis://, rediss:// or unix://") from None
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s

    async def ask(self, commands: Sequence[bytes], *, timeout_s: float | None = None) -> list[Reply | ResponseError]:
        """The replies to packed commands sent in one go; an error of the server is a reply. Raises what GONE lists."""
        async with asyncio.timeout(self._connect_timeout_s) as deadline:
            connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py has no types here
            try:
                deadline.reschedule(asyncio.get_running_loop().time() + (timeout_s or self._timeout_s))
                await connection.send_packed_command(commands)
                return [await _reply(connection) for _ in commands]
            finally:
                await self._pool.release(connection)  # does not wait: nobody keeps the pool's lock across an await

    async def carry(self, commands: Sequence[bytes], heard: Callable[[int, Reply | ResponseError], None]) -> None:
        """The same, but each reply is told as it arrives, by its command's number. Whoever asks brings the deadline."""
        connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py has no types here
        try:
            await connection.send_packed_command(commands)
            for number in range(len(commands)):
                heard(number, await _reply(connection))
        except BaseException:
            await connection.disconnect(nowait=True)  # replies that are still to come must not meet another caller
            raise
        finally:
            await self._pool.release(connection)

    async def close(self) -> None:
        """Close all connections. Whatever still uses one fails."""
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await self._pool.aclose()
        except GONE:
            log.debug("a connection to Redis did not close cleanly")


async def _reply(connection: Any) -> Reply | ResponseError:  # Any: redis-py has no types here
    try:
        reply: Reply = await connection.read_response()
    except ResponseError as exc:
        return exc
    return reply


def kind_of(exc: BaseException) -> str:
    """One word for a failure: `timeout` or `unreachable`."""
    return "timeout" if isinstance(exc, (TimeoutError, RedisTimeout)) else "unreachable"
