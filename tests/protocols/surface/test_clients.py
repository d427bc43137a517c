"""Triton's own clients with a key: nothing of them is changed, and nothing of them is needed but a header."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from gateways import Server, put, running
from small_models import affine
from surface import TOKEN
from tritonclient.utils import InferenceServerException

ROWS = np.array([[1, 2, 3, 4]], np.float32)
POLICIES = [{"who": "key:client", "allow": ["infer", "read"], "models": ["churn-*"]}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = tmp_path_factory.mktemp("models")
    put(models, "churn-a", 1, affine(2.0))
    put(models, "fraud", 1, affine(3.0))
    settings = {"auth_policies": json.dumps(POLICIES), "access_log": "true"}
    with running(models, tmp_path_factory.mktemp("state"), admin_token=TOKEN, **settings) as found:
        yield found


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    reply = httpx.post(
        f"{server.admin}/admin/v1/keys", json={"name": "client"}, headers={"Authorization": f"Bearer {TOKEN}"}
    )
    return str(reply.json()["key"])


@pytest.fixture
def headers(key: str) -> dict[str, str]:
    """The client writes into it."""
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_with_a_key_and_without(server: Server, headers: dict[str, str], kind: str) -> None:
    triton: Any = getattr(tritonclient, kind)
    with triton.InferenceServerClient(server.host if kind == "http" else server.grpc) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        tensor = triton.InferInput("x", [1, 4], "FP32")
        tensor.set_data_from_numpy(ROWS)
        result = client.infer("churn-a", [tensor], headers=headers)
        assert result.as_numpy("y").tolist() == [[2, 4, 6, 8]]
        assert client.is_model_ready("churn-a", headers=headers)
        index = client.get_model_repository_index(headers=headers)
        assert "churn-a" in str(index)
        assert "fraud" not in str(index)
        for model, given, status in (
            ("churn-a", {}, ("401", "UNAUTHENTICATED")),
            ("fraud", headers, ("403", "DENIED")),
        ):
            with pytest.raises(InferenceServerException) as refused:
                client.infer(model, [tensor], headers=given)
            assert any(word in (refused.value.status() or "") for word in status)


def test_the_access_log_has_who_it_was(server: Server, headers: dict[str, str]) -> None:
    httpx.get(f"{server.rest}/v2", headers=headers)
    assert "caller=key:client" in server.log()
    assert headers["authorization"].rpartition("_")[2] not in server.log()
