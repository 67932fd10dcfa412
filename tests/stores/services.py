"""Real servers for tests, on unix sockets: a Valkey server and a PostgreSQL cluster of our own.

Other rooms' tests take the fixtures by importing them into their conftest:

    from tests.stores.services import postgres_cluster, postgres_url, valkey_store, valkey_url
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from gateway.stores.embedded import EmbeddedStore

_WAIT_S = 30.0
_names = count(1)


class PostgresCluster:
    """A cluster of its own in a temporary directory, run by another user when we are root (PostgreSQL refuses root)."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._user = _unprivileged() if os.geteuid() == 0 else None
        # Not pytest's tmp_path: that is closed to other users, and too long for a socket.
        self._home = Path(tempfile.mkdtemp(prefix="gwpg-", dir="/tmp"))
        if self._user is not None:
            shutil.chown(self._home, self._user)
        self._server: subprocess.Popen[bytes] | None = None
        data = str(self._home / "data")
        options = ("-U", "gateway", "--auth=trust", "-E", "UTF8", "--no-locale", "--no-sync")
        made = self._run("initdb", "-D", data, *options)
        out = made.communicate(timeout=_WAIT_S)[0]
        if made.returncode:
            raise RuntimeError(f"initdb failed: {out.decode(errors='replace')[-1000:]}")
        self.start()

    def start(self) -> None:
        data, home = str(self._home / "data"), str(self._home)
        quick = ("-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=50")
        self._server = self._run("postgres", "-D", data, "-k", home, *quick)
        deadline = time.monotonic() + _WAIT_S
        while True:
            try:
                psycopg.connect(self._address("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def stop(self) -> None:
        """At once, with clients still connected."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(_WAIT_S)
            self._server = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def new_database(self) -> str:
        """The URL of an empty database, as DATABASE_URL takes it."""
        name = f"test{next(_names)}"
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql://gateway@/{name}?host={self._home}"

    def _address(self, database: str) -> str:
        return f"host={self._home} user=gateway dbname={database}"

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(self._binaries / program), *arguments],
            cwd="/",
            user=self._user,
            group=pwd.getpwnam(self._user).pw_gid if self._user else None,
            extra_groups=[] if self._user else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def postgres_binaries() -> Path | None:
    """Where initdb and postgres are: on the PATH, else where Debian puts the newest."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: int(place.parent.name), reverse=True)
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


def _unprivileged() -> str:
    users = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in users else "nobody"


def start_postgres() -> PostgresCluster:
    """A running cluster; skips the test where PostgreSQL is not installed."""
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql): its half of the ledger is not tested")
    return PostgresCluster(binaries)


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgresCluster]:
    cluster = start_postgres()
    yield cluster
    cluster.remove()


@pytest.fixture
def postgres_url(postgres_cluster: PostgresCluster) -> str:
    """An empty PostgreSQL database."""
    return postgres_cluster.new_database()


@pytest.fixture(scope="session")
def valkey_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path_factory.mktemp("valkey"))
    asyncio.run(store.start())
    yield store
    asyncio.run(store.close())


@pytest.fixture
def valkey_url(valkey_store: EmbeddedStore) -> str:
    """A Valkey server, shared by the tests of a run: choose keys of your own."""
    return valkey_store.url
