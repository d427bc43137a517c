from __future__ import annotations

from typing import Any

import httpx
import pytest

ROUTES = [
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/stats",
    "/v2/models/affine",
    "/v2/models/affine/ready",
    "/v2/models/affine/config",
    "/v2/models/affine/stats",
    "/v2/models/affine/versions/1",
    "/v2/models/affine/versions/1/ready",
    "/v2/models/affine/versions/1/config",
    "/v2/models/affine/versions/1/stats",
    "/v2/logging",
    "/v2/openapi.json",
    "/v2/systemsharedmemory/status",
    "/v2/cudasharedmemory/status",
]


@pytest.fixture
def client(server: Any) -> Any:
    with httpx.Client(base_url=server.rest) as client:
        yield client


@pytest.mark.parametrize("path", ROUTES)
def test_get_and_head_with_and_without_a_slash_at_the_end(client: httpx.Client, path: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    slashed = client.get(f"{path}/")
    assert slashed.status_code == 200
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v2/models/affine", "GET, HEAD"),
        ("DELETE", "/v2/logging", "GET, HEAD, POST"),
        ("GET", "/v2/models/affine/infer", "POST"),
        ("GET", "/v2/models/affine/versions/1/infer", "POST"),
        ("GET", "/v2/repository/index", "POST"),
        ("PUT", "/v2/repository/models/affine/load", "POST"),
        ("OPTIONS", "/v2", "GET, HEAD"),
    ],
)
def test_a_wrong_verb_is_told_the_right_ones(client: httpx.Client, method: str, path: str, allowed: str) -> None:
    reply = client.request(method, path)
    assert reply.status_code == 405
    assert ", ".join(sorted(reply.headers["allow"].split(", "))) == allowed
    assert reply.json() == {"error": "Method Not Allowed"}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v3/models/affine",
        "/v2/models",
        "/v2/models/affine/versions",
        "/v2/models//ready",
        "/v2/models/affine//",
        "/v2/models/affine%2Fconfig",
        "/v2/models/affine%2fready",
        "/v2/models/..%2Faffine",
        "/v2/health",
        "/metrics",
    ],
)
def test_an_unknown_route_is_404_in_json(client: httpx.Client, path: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 404
    assert reply.json() == {"error": "Not Found"}


@pytest.mark.parametrize("name", ["nope", "%2e%2e", "%252e%252e", "a%00b", "%ff", "%C3%A4", "a%0d%0ab", "x" * 3000])
@pytest.mark.parametrize("tail", ["", "/ready", "/config", "/stats", "/versions/1"])
def test_an_unknown_model_is_404(client: httpx.Client, name: str, tail: str) -> None:
    reply = client.get(f"/v2/models/{name}{tail}")
    assert reply.status_code == 404
    assert reply.json()["error"].startswith("Request for unknown model")


def test_an_encoded_name_is_decoded_once(client: httpx.Client) -> None:
    assert client.get("/v2/models/%61ffine/ready").json() == {"name": "affine", "ready": True}
    assert client.get("/v2/models/%2561ffine/ready").status_code == 404


@pytest.mark.parametrize("version", ["3", "01", "0", "-1", "1.0", "latest", "9" * 40, "%20"])
def test_an_unknown_version_is_404(client: httpx.Client, version: str) -> None:
    reply = client.get(f"/v2/models/affine/versions/{version}")
    assert reply.status_code == 404
    assert reply.json()["error"]


def test_bodies_are_limited(client: httpx.Client) -> None:
    reply = client.post("/v2/repository/index", content=b" " * (9 << 20))
    assert reply.status_code == 413
    assert "exceeds" in reply.json()["error"]
