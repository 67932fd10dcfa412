"""Supervisor and worker over a socket pair, in one process: no process is started here."""

from __future__ import annotations

import asyncio
import socket
import struct
from datetime import UTC, datetime

import msgspec
import pytest

from gateway.config import Outcome, Standing, Text, Texts
from gateway.config.reload import Refusal
from gateway.core.errors import GatewayError
from gateway.proxy.counts import Counts
from gateway.proxy.reports import Report
from gateway.workers import line as lines
from gateway.workers.channel import Ask, AskReload, Channel, Orders, Ready, Serve, Served
from gateway.workers.line import Line

NOW = datetime(2026, 11, 24, tzinfo=UTC)
REFUSAL = Refusal(NOW, "watch", ("routes.yaml:1:1: the file is empty",))
STANDING = Standing("0123", NOW, "admin", REFUSAL, {"applied": 1, "refused": 2, "unchanged": 3})
TEXTS = Texts((Text("gateway/pricebook/a.yaml", b"\xff"),), Text("routes.yaml", b"routes: {}\n"), None)
SERVE = Serve(TEXTS, {"openai": "http://x"}, STANDING)
ORDERS = Orders("routes.yaml", "127.0.0.1", 8080, "data", "unix:///x", [5, 6], SERVE)
APPLIED = Outcome("applied", "4567", ("a warning",), (), 1)


async def take(serve: Serve) -> str:
    return serve.standing.version


async def never(serve: Serve) -> str:
    raise AssertionError


async def pair() -> tuple[Channel, Channel]:
    ours, theirs = socket.socketpair()
    return await Channel.over(ours), await Channel.over(theirs)


def counted(reason: str, count: int) -> Report:
    return Report(Counts(rejected={reason: count}), {"gateway_store_errors_total": 2}, {"gateway_workers": 1})


async def test_messages_arrive_whole_and_in_order():
    here, there = await pair()
    counts = counted("invalid", 10**30 % 2**60)
    sent = [ORDERS, SERVE, Served("0123"), Ready(), Ask(), counts, AskReload(), APPLIED, STANDING]

    for message in sent:
        here.put(message)

    assert [await there.receive() for _ in sent] == sent
    await here.close(1)
    assert await there.receive() is None


async def test_a_message_that_was_cut_off_is_none():
    ours, theirs = socket.socketpair()
    there = await Channel.over(theirs)
    ours.sendall(struct.pack("!I", 100) + b"\x80")
    ours.close()

    assert await there.receive() is None


async def test_what_is_no_message_of_this_version_is_said_and_not_guessed():
    ours, theirs = socket.socketpair()
    there = await Channel.over(theirs)
    raw = msgspec.msgpack.encode({"type": "poem"})
    ours.sendall(struct.pack("!I", len(raw)) + raw)

    with pytest.raises(msgspec.DecodeError):
        await there.receive()
    ours.close()


async def test_a_worker_reports_before_it_is_ready_and_at_its_end():
    supervisor, worker = await pair()
    line, current = Line(worker, STANDING), [counted("invalid", 1)]
    line.begin(lambda: current[0], lambda: None, never)

    line.ready()
    current[0] = counted("invalid", 7)
    await line.close()

    heard = []
    while (message := await supervisor.receive()) is not None:
        heard.append(message)
    assert heard[:2] == [counted("invalid", 1), Ready()]
    assert heard[-1] == counted("invalid", 7)


async def test_a_worker_is_told_the_sum_of_the_others():
    supervisor, worker = await pair()
    line = Line(worker, STANDING)
    line.begin(Report, lambda: None, never)

    asking = asyncio.create_task(line.others())
    while not isinstance(await supervisor.receive(), Ask):
        pass
    supervisor.put(counted("overloaded", 3))

    assert await asking == counted("overloaded", 3)
    await line.close()


async def test_without_the_others_there_is_no_sum(monkeypatch):
    monkeypatch.setattr(lines, "ANSWER_S", 0.05)
    _, worker = await pair()
    line = Line(worker, STANDING)
    line.begin(Report, lambda: None, never)

    with pytest.raises(GatewayError) as refused:
        await line.others()

    assert refused.value.status == 503
    await line.close()


async def test_a_late_answer_is_not_taken_for_the_next_one(monkeypatch):
    monkeypatch.setattr(lines, "ANSWER_S", 0.05)
    supervisor, worker = await pair()
    line = Line(worker, STANDING)
    line.begin(Report, lambda: None, never)
    with pytest.raises(GatewayError):
        await line.others()
    monkeypatch.setattr(lines, "ANSWER_S", 5)

    asking = asyncio.create_task(line.others())
    await asyncio.sleep(0)
    supervisor.put(counted("invalid", 1))
    supervisor.put(counted("invalid", 2))

    assert await asking == counted("invalid", 2)
    await line.close()


async def test_a_worker_says_what_it_serves_once_it_does():
    supervisor, worker = await pair()
    line = Line(worker, STANDING)
    line.begin(Report, lambda: None, take)
    newer = msgspec.structs.replace(STANDING, version="89ab")

    supervisor.put(msgspec.structs.replace(SERVE, standing=newer))
    assert await supervisor.receive() == Served("89ab")

    assert line.standing == newer
    await line.close()


async def test_what_is_said_of_a_configuration_is_not_undone_by_an_older_one_that_is_still_being_built():
    supervisor, worker = await pair()
    line, built = Line(worker, STANDING), asyncio.Event()

    async def slowly(serve: Serve) -> str:
        await built.wait()
        return serve.standing.version

    line.begin(Report, lambda: None, slowly)
    later = msgspec.structs.replace(STANDING, trigger="signal")
    supervisor.put(SERVE)
    supervisor.put(later)
    await asyncio.sleep(0.05)
    built.set()
    await supervisor.receive()
    await asyncio.sleep(0.05)

    assert line.standing == later
    await line.close()


async def test_a_worker_is_told_what_came_of_the_reload_it_asked_for():
    supervisor, worker = await pair()
    line = Line(worker, STANDING)
    line.begin(Report, lambda: None, never)

    asking = asyncio.create_task(line.reload())
    assert await supervisor.receive() == AskReload()
    supervisor.put(APPLIED)

    assert await asking == APPLIED
    await line.close()


async def test_a_worker_hears_that_its_supervisor_is_gone():
    supervisor, worker = await pair()
    line, lost = Line(worker, STANDING), asyncio.Event()
    line.begin(Report, lost.set, never)

    await supervisor.close(1)

    await asyncio.wait_for(lost.wait(), 2)
    await line.close()
