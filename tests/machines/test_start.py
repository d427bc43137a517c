"""A gateway that starts on a store that is not there, or cannot be."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gateways
import httpx
import pytest
from machines.machine import gateway, split
from servers.postgresql import Databases, PostgreSQL
from servers.server import until


def test_a_start_waits_for_a_store_that_is_gone(models: Path, tmp_path: Path, own_postgresql: PostgreSQL) -> None:
    url = own_postgresql.database()
    with gateway(models, tmp_path, url, "a") as a:
        assert split(a, "2").status_code == 200
    own_postgresql.stop()
    started = threading.Event()

    def back() -> None:
        started.wait(30)
        own_postgresql.start()

    bringer = threading.Thread(target=back)
    bringer.start()
    with gateway_that_waits(models, tmp_path, url, "a") as (_, admin_url):
        until(lambda: _status(f"{admin_url}/livez") == 200)
        response = httpx.get(f"{admin_url}/readyz")
        assert response.status_code == 503
        assert response.json()["store"].startswith("gone since")
        started.set()
        until(lambda: _status(f"{admin_url}/readyz") == 200)
    bringer.join()


def test_a_start_that_waits_ends_on_sigterm(models: Path, tmp_path: Path, own_postgresql: PostgreSQL) -> None:
    url = own_postgresql.database()
    own_postgresql.stop()
    try:
        with gateway_that_waits(models, tmp_path, url, "a") as (process, admin_url):
            until(lambda: _status(f"{admin_url}/livez") == 200)
            process.terminate()
            assert process.wait(10) == 0
    finally:
        own_postgresql.start()


@pytest.mark.parametrize(
    ("store", "message", "code"),
    [
        ("mysql://u:pass-word@h/d", "store: expected postgresql://user@host:port/database", 2),
        ("postgresql://u:pass-word@h:0/d", "store: expected a port from 1 to 65535, found '0'", 2),
        ("{server}/nowhere", 'database "nowhere" does not exist', 1),
    ],
)
def test_a_store_that_cannot_be_is_told_at_the_start(
    models: Path, tmp_path: Path, postgresql: Databases, store: str, message: str, code: int
) -> None:
    url = store.format(server=postgresql.url.rpartition("/")[0]).replace("sluice@", "sluice:pass-word@")
    command = [sys.executable, "-m", "gateway.cli", "serve", "--models", str(models), "--set", f"store={url}"]
    command += ["--set", f"state={tmp_path}/s", "--set", "admin_port=0", "--set", "http_port=0"]
    done = subprocess.run([*command, "--set", "grpc_port=off"], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "pass-word" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_gateway_alone_loads_no_driver(models: Path, tmp_path: Path, postgresql_database: str) -> None:
    with gateway(models, tmp_path, postgresql_database, "a") as shared:
        assert "asyncpg" in Path(f"/proc/{shared.process.pid}/maps").read_text()
    with gateway(models, tmp_path, "", "b") as alone:
        assert "asyncpg" not in Path(f"/proc/{alone.process.pid}/maps").read_text()


def _status(url: str) -> int:
    try:
        return httpx.get(url).status_code
    except httpx.TransportError:
        return 0


@contextmanager
def gateway_that_waits(
    models: Path, folder: Path, url: str, name: str
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """One that is not ready yet; the URL is the admin port's. The store's comes from a file."""
    (folder / "url").write_text(url + "\n")
    (port,) = gateways._free_ports(1)
    settings = {"models": str(models), "state": str(folder / name), "store_file": str(folder / "url")}
    settings |= {"machine": name, "http_port": "0", "grpc_port": "off", "admin_port": str(port)}
    given = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    process = subprocess.Popen([sys.executable, "-m", "gateway.cli", "serve", *given])
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(20) == 0
