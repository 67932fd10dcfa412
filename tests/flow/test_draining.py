"""A gateway that is told to stop: what open connections may still do, seen from the client's end of the socket."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse

import pytest

from gateway.server import GRACE_S
from tests.running import RunningGateway

ROUTES = "routes:\n  auto: {policy: cheapest, candidates: [openai/gpt-6-luna]}\n"


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def gateway(request, tmp_path) -> Iterator[RunningGateway]:
    with RunningGateway(tmp_path, ROUTES, workers=request.param) as running:
        yield running


@contextmanager
def connected(gateway: RunningGateway) -> Iterator[HTTPConnection]:
    """A connection that has been used and is open."""
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    assert ask(connection).read()
    yield connection
    connection.close()


def ask(connection: HTTPConnection, **fields) -> HTTPResponse:
    body = {"model": "auto", "messages": [{"role": "user", "content": "hello"}], **fields}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
    return connection.getresponse()


def stop_was_heard(gateway: RunningGateway) -> None:
    """Once the port is closed, every worker drains."""
    os.kill(gateway.pid, signal.SIGTERM)
    for _ in range(500):
        probe = HTTPConnection("127.0.0.1", gateway.port, timeout=5)
        try:
            probe.connect()
        except ConnectionResetError:
            pass  # it was closed at this very moment; the next one is refused
        except ConnectionRefusedError:
            return
        finally:
            probe.close()
        time.sleep(0.01)
    raise AssertionError("the port is still open")


def test_a_request_on_an_open_connection_is_answered_and_told_that_it_was_the_last(gateway):
    with connected(gateway) as connection:
        stop_was_heard(gateway)

        reply = ask(connection)

        assert (reply.status, reply.getheader("connection")) == (200, "close")
        assert json.loads(reply.read())["choices"]
    assert gateway.stop() == 0
    assert len(gateway.rows()) == 2


def test_an_idle_connection_is_closed_after_the_grace_and_holds_up_nothing_else(gateway):
    with connected(gateway) as connection:
        stop_was_heard(gateway)
        began = time.monotonic()

        assert connection.sock.recv(1) == b""

        assert GRACE_S / 2 < time.monotonic() - began < GRACE_S + 1
        assert gateway.process.wait(GRACE_S + 3) == 0


def test_a_stream_ends_whole_and_its_connection_takes_one_request_more(gateway):
    with connected(gateway) as connection:
        stream = ask(connection, stream=True, user="sim:gap_ms=15")
        assert stream.getheader("connection") is None
        first = stream.read(100)
        stop_was_heard(gateway)

        assert (first + stream.read()).endswith(b"data: [DONE]\n\n")
        # Its head could not say that the connection ends, so a client may well use it again at once.
        reply = ask(connection)

        assert (reply.status, reply.getheader("connection")) == (200, "close")
        reply.read()
    assert gateway.stop() == 0


def test_a_stream_that_begins_while_draining_ends_whole(gateway):
    with connected(gateway) as connection:
        stop_was_heard(gateway)

        stream = ask(connection, stream=True)

        assert stream.getheader("connection") == "close"
        assert stream.read().endswith(b"data: [DONE]\n\n")
    assert gateway.stop() == 0


def test_readiness_says_that_it_drains(gateway):
    with connected(gateway) as connection:
        stop_was_heard(gateway)

        connection.request("GET", "/readyz")
        reply = connection.getresponse()

        assert (reply.status, json.loads(reply.read())["draining"]) == (503, True)
