from __future__ import annotations

import base64
import json
import shutil
from typing import Any

import httpx
import pytest

MODELS = "/v2/repository/models"


@pytest.fixture
def client(server: Any) -> Any:
    with httpx.Client(base_url=server.rest) as client:
        yield client


@pytest.fixture
def model(server: Any, client: httpx.Client) -> Any:
    """A model that is there but not loaded; afterwards it is gone."""
    shutil.copytree(server.models / "echo", server.models / "extra")
    yield "extra"
    client.post(f"{MODELS}/extra/unload")
    shutil.rmtree(server.models / "extra")


def _index(client: httpx.Client, body: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    reply = client.post("/v2/repository/index", json=body) if body else client.post("/v2/repository/index")
    assert reply.status_code == 200
    found: list[dict[str, Any]] = reply.json()
    return found


def test_index(client: httpx.Client) -> None:
    expected = [
        {"name": "affine", "version": "1", "state": "READY"},
        {"name": "affine", "version": "2", "state": "READY"},
        {"name": "echo", "version": "1", "state": "READY"},
    ]
    for body in (None, {"ready": True}):
        assert [entry for entry in _index(client, body) if entry["name"] in ("affine", "echo")] == expected


def test_load_and_unload(client: httpx.Client, model: str) -> None:
    assert client.get(f"/v2/models/{model}/ready").status_code != 200
    loaded = client.post(f"{MODELS}/{model}/load")
    assert (loaded.status_code, loaded.content) == (200, b"")
    assert client.get(f"/v2/models/{model}/ready").status_code == 200
    assert {"name": model, "version": "1", "state": "READY"} in _index(client)
    unloaded = client.post(f"{MODELS}/{model}/unload", json={"parameters": {"unload_dependents": True}})
    assert (unloaded.status_code, unloaded.content) == (200, b"")
    assert client.get(f"/v2/models/{model}/ready").status_code != 200
    (entry,) = (entry for entry in _index(client) if entry["name"] == model)
    assert entry["state"] == "UNAVAILABLE"
    assert model not in [entry["name"] for entry in _index(client, {"ready": True})]


def test_a_config_comes_with_the_load(client: httpx.Client, model: str) -> None:
    config = json.dumps({"max_batch_size": "0", "parameters": {"note": {"string_value": "x"}}})
    reply = client.post(f"{MODELS}/{model}/load", json={"parameters": {"config": config}})
    assert reply.status_code == 200, reply.text
    assert client.get(f"/v2/models/{model}/config").json()["parameters"]["note"] == {"string_value": "x"}


def test_a_wrong_config_disturbs_nothing(client: httpx.Client, model: str) -> None:
    client.post(f"{MODELS}/{model}/load")
    reply = client.post(f"{MODELS}/{model}/load", json={"parameters": {"config": '{"nonsense": 1}'}})
    assert reply.status_code == 400
    assert "failed to load" in reply.json()["error"]
    assert client.get(f"/v2/models/{model}/ready").status_code == 200


def test_files_come_with_the_load(server: Any, client: httpx.Client, model: str) -> None:
    content = (server.models / "affine" / "1" / "model.onnx").read_bytes()
    parameters = {"config": "{}", "file:7/model.onnx": base64.b64encode(content).decode()}
    reply = client.post(f"{MODELS}/{model}/load", json={"parameters": parameters})
    assert reply.status_code == 200, reply.text
    assert client.get(f"/v2/models/{model}").json()["versions"] == ["7"]


@pytest.mark.parametrize("path", ["../x/1/model.onnx", "/etc/x", "1/../../x", "1/model.onnx\0", "", "."])
def test_files_stay_inside_their_folder(client: httpx.Client, model: str, path: str) -> None:
    parameters = {"config": "{}", f"file:{path}": base64.b64encode(b"x").decode()}
    reply = client.post(f"{MODELS}/{model}/load", json={"parameters": parameters})
    assert reply.status_code == 400
    assert reply.json()["error"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"confg": "{}"}, "unexpected load parameter 'confg', expected 'config' or 'file:<path>'"),
        ({"config": {}}, "load parameter 'config' must be a string, got dict"),
        ({"config": "{}", "file:1/model.onnx": "%"}, "load parameter 'file:1/model.onnx' is not base64"),
        ({"file:1/model.onnx": "aa=="}, "need 'config' beside them"),
        (["config"], "failed to parse the request"),
    ],
)
def test_wrong_parameters(client: httpx.Client, model: str, parameters: object, message: str) -> None:
    reply = client.post(f"{MODELS}/{model}/load", json={"parameters": parameters})
    assert reply.status_code == 400
    assert message in reply.json()["error"]


@pytest.mark.parametrize("name", ["nope", "%2e%2e", "..", "a%00b", ".hidden", "x" * 300])
def test_a_model_that_is_not_there(client: httpx.Client, name: str) -> None:
    reply = client.post(f"{MODELS}/{name}/load")
    assert reply.status_code in (400, 404)
    assert reply.json()["error"]


def test_the_token_opens_what_changes_the_server(guarded: Any) -> None:
    with httpx.Client(base_url=guarded.rest) as client:
        assert client.post("/v2/repository/index").status_code == 200
        for call in ("load", "unload"):
            reply = client.post(f"{MODELS}/echo/{call}")
            assert reply.status_code == 401
            assert "restricted.repository" in reply.json()["error"]
            assert reply.headers["www-authenticate"].startswith("Bearer")
        token = {"Authorization": "Bearer t0ken"}
        assert client.post(f"{MODELS}/echo/load", headers=token).status_code == 200
        refused = client.post(
            f"{MODELS}/echo/load", headers=token, json={"parameters": {"config": "{}", "file:1/model.onnx": "AA=="}}
        )
        assert refused.status_code == 403
        assert "restricted.load_files" in refused.json()["error"]
