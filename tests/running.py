"""A real gateway in a process of its own: started from a routes file, asked over a socket, stopped by a signal."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
START_S = 20.0
STOP_S = 40.0
SETTLE_S = 10.0

Answer = tuple[int, dict[str, str], bytes]
"""status, headers in lower case, body"""

# Nothing of the machine's own environment may decide whether a provider is real.
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RunningGateway:
    """`with RunningGateway(folder, routes=...) as gateway:`; without `routes` the shipped file is used."""

    def __init__(
        self,
        folder: Path,
        routes: str | None = None,
        env: dict[str, str] | None = None,
        host="127.0.0.1",
        workers: int | None = None,
    ):
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.routes = ROOT / "routes.yaml"
        if routes is not None:
            self.routes = folder / "routes.yaml"
            self.routes.write_text(routes)
        self.log_file = folder / "gateway.log"
        self._env = {name: os.environ[name] for name in _KEPT if name in os.environ} | (env or {})
        self._host = host
        self._workers = [] if workers is None else ["--workers", str(workers)]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> RunningGateway:
        command = [sys.executable, "-m", "gateway", "serve", "--routes", str(self.routes), "--host", self._host,
                   "--port", str(self.port), "--data-dir", str(self.folder / "data"), *self._workers]  # fmt: skip
        with open(self.log_file, "ab") as log:
            # In the test's own folder, so that no .env of the checkout is read.
            self.process = subprocess.Popen(
                command, cwd=self.folder, env={**self._env, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the gateway ended with {self.process.returncode}:\n{self.log}")
            try:
                # The first worker may answer before the last one is there.
                if self.get("/healthz")[0] == 200 and (not self._workers or "gateway 0." in self.log):
                    return self
            except OSError:
                pass
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"the gateway did not answer within {START_S} s:\n{self.log}")

    @property
    def pid(self) -> int:
        """The gateway's process; with several workers, their supervisor."""
        assert self.process is not None
        return self.process.pid

    def worker_pids(self) -> list[int]:
        """The workers that run, oldest first. Linux only."""
        found = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(pid) for pid in found if "gateway.workers.worker" in command_of(int(pid))]

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    def __enter__(self) -> RunningGateway:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, body, named, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return reply.status, _lower(reply.headers), reply.read()
        except urllib.error.HTTPError as error:
            return error.code, _lower(error.headers), error.read()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: object, **headers: str) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", path, raw, **{"content_type": "application/json", **headers})

    def chat(self, text: str = "hello", model: str = "auto", key: str | None = None, **fields: object):
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return self.post("/v1/chat/completions", body, **headers)

    def rows(self, expected: int | None = None) -> list[dict[str, object]]:
        """The ledger's rows, oldest first; waits until there are `expected` of them."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            found = self._read_rows()
            if expected is None or len(found) >= expected or time.monotonic() > deadline:
                return found
            time.sleep(0.05)

    def _read_rows(self) -> list[dict[str, object]]:
        with sqlite3.connect(self.folder / "data" / "ledger.sqlite", timeout=5) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute("SELECT * FROM spend_records ORDER BY at_us, attempt_id")]


def command_of(pid: int) -> str:
    """The command line of a process, or nothing when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _lower(headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
