from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from starlette.routing import Route

from gateway.codecs.sharedmemory import Regions
from gateway.core.errors import Unsupported
from gateway.protocols.oip.access import Gate
from gateway.protocols.oip.sharedmemory import SystemSharedMemory
from gateway.protocols.rest.sharedmemory import SystemSharedMemoryRoutes, cuda_routes
from gateway.settings.schema import Access

Serve = Callable[[list[Route]], httpx.Client]
SYSTEM = "/v2/systemsharedmemory"
CUDA = "/v2/cudasharedmemory"


def _client(serve: Serve, access: Access, regions: Regions | None = None) -> httpx.Client:
    gate = Gate("system shared memory", "restricted.shared_memory", access, Unsupported)
    memory = SystemSharedMemory(regions or Regions(), gate)
    return serve([*SystemSharedMemoryRoutes(memory, 1000).routes(), *cuda_routes()])


@pytest.fixture
def key() -> Iterator[str]:
    path = Path("/dev/shm") / f"test-{uuid4().hex}"
    path.write_bytes(bytes(100))
    yield path.name
    path.unlink()


def test_a_region_comes_and_goes(serve: Serve, key: str) -> None:
    client = _client(serve, "open")
    registration = {"key": f"/{key}", "offset": 10, "byte_size": 90}
    reply = client.post(f"{SYSTEM}/region/in%20put/register", json=registration)
    assert (reply.status_code, reply.content) == (200, b"")
    status = [{"name": "in put", **registration}]
    assert client.get(f"{SYSTEM}/status").json() == status
    assert client.get(f"{SYSTEM}/region/in%20put/status").json() == status
    again = client.post(f"{SYSTEM}/region/in%20put/register", json=registration)
    assert again.status_code == 400
    assert again.json() == {"error": "shared memory region 'in put' already in manager"}
    assert client.post(f"{SYSTEM}/region/in%20put/unregister").status_code == 200
    assert client.get(f"{SYSTEM}/status").json() == []
    assert client.get(f"{SYSTEM}/region/in%20put/status").status_code == 404


def test_unregister_all(serve: Serve, key: str) -> None:
    client = _client(serve, "open")
    for name in ("a", "b"):
        client.post(f"{SYSTEM}/region/{name}/register", json={"key": key, "byte_size": 1})
    assert len(client.get(f"{SYSTEM}/status").json()) == 2
    assert client.post(f"{SYSTEM}/unregister").status_code == 200
    assert client.get(f"{SYSTEM}/status").json() == []


@pytest.mark.parametrize(
    "body",
    ["", "{}", '{"key": 1, "byte_size": 1}', '{"key": "k"}', '{"key": "../etc", "byte_size": 1}', "[" * 999],
)
def test_what_is_no_registration(serve: Serve, body: str) -> None:
    reply = _client(serve, "open").post(f"{SYSTEM}/region/r/register", content=body)
    assert reply.status_code == 400
    assert reply.json()["error"]


def test_off(serve: Serve) -> None:
    client = _client(serve, "off")
    assert client.get(f"{SYSTEM}/status").json() == []
    for path in ("/region/r/register", "/region/r/unregister", "/unregister"):
        reply = client.post(SYSTEM + path, json={"key": "k", "byte_size": 1})
        assert reply.status_code == 501
        assert "setting 'restricted.shared_memory' opens it" in reply.json()["error"]


def test_token(serve: Serve) -> None:
    client = _client(serve, "token")
    assert client.get(f"{SYSTEM}/status").status_code == 401
    assert client.post(f"{SYSTEM}/unregister").status_code == 401
    client.headers["Authorization"] = "Bearer t"
    assert client.get(f"{SYSTEM}/status").status_code == 200
    assert client.post(f"{SYSTEM}/unregister").status_code == 200


def test_cuda_is_absent_but_answers(serve: Serve) -> None:
    client = _client(serve, "off")
    assert client.get(f"{CUDA}/status").json() == []
    assert client.get(f"{CUDA}/region/r/status").status_code == 404
    assert client.post(f"{CUDA}/unregister").status_code == 200
    assert client.post(f"{CUDA}/region/r/unregister").status_code == 200
    assert client.post(f"{CUDA}/region/r/register", json={}).status_code == 400
