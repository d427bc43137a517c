"""A whole server in a process of its own, for every test that talks to one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx


@dataclass(frozen=True)
class Server:
    """`rest` and `admin` are addresses as `http://127.0.0.1:8000`, `grpc` is one as `127.0.0.1:8001`."""

    rest: str
    admin: str
    grpc: str
    models: Path
    process: subprocess.Popen[bytes]
    log: Callable[[], str]

    @property
    def host(self) -> str:
        """Host and port of the REST port, which is what tritonclient takes."""
        return self.rest.removeprefix("http://")


#: what is off, or needs the token, unless a setting opens it
OPENED = {
    "restricted_repository": "open",
    "restricted_shared_memory": "open",
    "restricted_logging": "open",
    "restricted_trace": "open",
    "restricted_load_files": "true",
}


@contextmanager
def running(models: Path, state: Path, *, start_limit: float = 20.0, **settings: str) -> Iterator[Server]:
    """`settings` are those of the environment: their names without SLUICE_, in lower case."""
    ports = _free_ports(3)
    rest, admin = (f"http://127.0.0.1:{port}" for port in ports[:2])
    if "tls_cert" in settings:
        rest = rest.replace("http", "https")
    if settings.get("tls_admin") == "true":
        admin = admin.replace("http", "https")
    chosen = {
        "models": str(models),
        "state": str(state),
        "host": "127.0.0.1",
        "http_port": str(ports[0]),
        "admin_port": str(ports[1]),
        "grpc_port": str(ports[2]),
        **settings,
    }
    environment = {f"SLUICE_{name.upper()}": value for name, value in chosen.items()}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "serve"], env=os.environ | environment, stderr=log
        )
        try:
            _await_ready(process, admin, log, start_limit)
            yield Server(rest, admin, f"127.0.0.1:{ports[2]}", models, process, lambda: _text(log))
            # a test may have ended it, and waited for it; else it must be there
            assert process.returncode is not None or process.poll() is None, _text(log)
        finally:
            process.terminate()
            process.wait(20)
        assert "Traceback" not in _text(log), _text(log)


def put(models: Path, name: str, version: int, content: bytes, *, config: str = "") -> None:
    """A model into a models folder; `config` is the text of its config.pbtxt."""
    folder = models / name / str(version)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(content)
    if config:
        (models / name / "config.pbtxt").write_text(config)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _text(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode()


def _await_ready(process: subprocess.Popen[bytes], admin: str, log: IO[bytes], limit: float) -> None:
    end = time.monotonic() + limit
    while time.monotonic() < end:
        try:
            # returns when the process ends, which it should not
            process.wait(0.05)
            break
        except subprocess.TimeoutExpired:
            pass
        try:
            # whose certificate it is, is another test's question
            if httpx.get(f"{admin}/readyz", verify=False).status_code == 200:  # noqa: S501
                return
        except httpx.TransportError:
            pass
    raise AssertionError(f"the server did not become ready: {_text(log)}")
