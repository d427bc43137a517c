from __future__ import annotations

from typing import Any

import httpx

from gateway import __version__


def test_the_server_names_the_extensions_that_work(server: Any, guarded: Any) -> None:
    opened = httpx.get(f"{server.rest}/v2").json()
    assert (opened["name"], opened["version"]) == ("sluice", __version__)
    assert {"binary_tensor_data", "model_repository", "system_shared_memory"} <= set(opened["extensions"])
    assert not {"trace", "cuda_shared_memory", "sequence"} & set(opened["extensions"])
    assert "system_shared_memory" not in httpx.get(f"{guarded.rest}/v2").json()["extensions"]


def test_a_model_and_one_of_its_versions(server: Any) -> None:
    x, y = ({"name": name, "datatype": "FP32", "shape": [-1, 4]} for name in "xy")
    expected = {"name": "affine", "platform": "onnxruntime_onnx", "inputs": [x], "outputs": [y]}
    of_all = httpx.get(f"{server.rest}/v2/models/affine").json()
    assert of_all == {**expected, "versions": ["1", "2"]}
    of_one = httpx.get(f"{server.rest}/v2/models/affine/versions/1").json()
    assert of_one == {**expected, "versions": ["1"]}


def test_every_kind_of_tensor(server: Any) -> None:
    found = httpx.get(f"{server.rest}/v2/models/echo").json()
    assert {each["name"]: (each["datatype"], each["shape"]) for each in found["inputs"]} == {
        "text": ("BYTES", [-1, 2]),
        "count": ("INT64", [3]),
        "flag": ("BOOL", [-1, -1]),
        "half": ("FP16", [2]),
    }


def test_health(server: Any) -> None:
    assert httpx.get(f"{server.rest}/v2/health/live").json() == {"live": True}
    assert httpx.get(f"{server.rest}/v2/health/ready").json() == {"ready": True}
    ready = httpx.get(f"{server.rest}/v2/models/affine/versions/2/ready")
    assert ready.json() == {"name": "affine", "ready": True}
