"""A gateway on a store that it shares with others, and what operators and clients ask of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gateways
import httpx

TOKEN = {"Authorization": "Bearer secret"}


@contextmanager
def gateway(models: Path, folder: Path, url: str, name: str, **settings: str) -> Iterator[gateways.Server]:
    given = {"store": url, "machine": name, "admin_token": "secret", "grpc_port": "off", **settings}
    with gateways.running(models, folder / name, **given) as server:
        yield server


def admin(server: gateways.Server, method: str, path: str, **given: Any) -> httpx.Response:
    return httpx.request(method, f"{server.admin}/admin/v1{path}", headers=TOKEN, timeout=30, **given)


def split(server: gateways.Server, *versions: str, **query: int) -> httpx.Response:
    return admin(server, "PUT", "/splits/m", json={"weights": dict.fromkeys(versions, 1)}, params=query)


INPUT = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]}


def answer(server: gateways.Server, client: httpx.Client | None = None) -> str:
    response = (client or httpx).post(f"{server.rest}/v2/models/m/infer", json=INPUT)
    assert response.status_code == 200, response.text
    return str(response.json()["model_version"])


def readiness(server: gateways.Server) -> dict[str, Any]:
    response = httpx.get(f"{server.admin}/readyz")
    return {"status": response.status_code, **response.json()}


def metric(server: gateways.Server, name: str) -> float:
    (line,) = [line for line in httpx.get(f"{server.admin}/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])
