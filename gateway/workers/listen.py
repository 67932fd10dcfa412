"""The listening sockets of a machine: bound once by the supervisor, inherited by every worker.

One socket for all, and not one for each worker (SO_REUSEPORT): the kernel would then give a connection to a worker
before it is accepted, and what waits for a worker that leaves would be lost.
"""

from __future__ import annotations

import socket

from gateway.settings import BACKLOG, Settings, StartError


def listen(settings: Settings) -> list[socket.socket]:
    """One socket for each address of the host. Raises StartError when the address cannot be had."""
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
            one.listen(BACKLOG)
            one.setblocking(False)
    except OSError as exc:
        for one in sockets:
            one.close()
        told = f"cannot listen on {settings.host}:{settings.port}: {exc.strerror}; is another program using it?"
        raise StartError(told) from exc
    return sockets
