"""Triton's own client, as it is, against a whole server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException, shared_memory


@pytest.fixture
def client(server: Any) -> Any:
    with triton.InferenceServerClient(server.rest.removeprefix("http://")) as client:
        yield client


def test_health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("affine")
    assert client.is_model_ready("affine", "1")
    assert not client.is_model_ready("nope")
    assert client.get_server_metadata()["name"] == "sluice"
    assert client.get_model_metadata("affine")["versions"] == ["1", "2"]
    assert client.get_model_config("affine")["name"] == "affine"
    with pytest.raises(InferenceServerException, match="Request for unknown model") as failure:
        client.get_model_metadata("nope")
    assert failure.value.status() == "404"


def test_the_same_asked_by_the_aio_client(server: Any) -> None:
    async def ask() -> None:
        async with triton_aio.InferenceServerClient(server.rest.removeprefix("http://")) as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("affine")
            assert (await client.get_server_metadata())["name"] == "sluice"
            assert (await client.get_model_metadata("affine", "1"))["versions"] == ["1"]
            assert (await client.get_model_config("affine"))["platform"] == "onnxruntime_onnx"
            assert len(await client.get_model_repository_index()) >= 3
            assert (await client.get_inference_statistics())["model_stats"]
            assert await client.get_system_shared_memory_status() == []
            assert await client.get_cuda_shared_memory_status() == []
            await client.unregister_cuda_shared_memory()
            await client.load_model("echo")
            assert (await client.get_log_settings())["log_info"] is True

    asyncio.run(ask())


def test_repository(server: Any, client: triton.InferenceServerClient) -> None:
    content = (server.models / "affine" / "1" / "model.onnx").read_bytes()
    assert {entry["name"] for entry in client.get_model_repository_index()} >= {"affine", "echo"}
    config = json.dumps({"name": "echo", "max_batch_size": "0"})
    client.load_model("echo", config=config, files={"file:1/model.onnx": content})
    try:
        assert client.get_model_metadata("echo")["inputs"][0]["name"] == "x"
        client.unload_model("echo")
        assert not client.is_model_ready("echo")
    finally:
        client.load_model("echo")
    assert client.get_model_metadata("echo")["inputs"][0]["name"] == "text"
    with pytest.raises(InferenceServerException, match="failed to load"):
        client.load_model("echo", config='{"nonsense": 1}')


def test_statistics_count_what_was_inferred(client: triton.InferenceServerClient) -> None:
    before = client.get_inference_statistics("affine", "1")["model_stats"][0]
    rows = triton.InferInput("x", [3, 4], "FP32")
    rows.set_data_from_numpy(np.ones((3, 4), np.float32))
    result = client.infer("affine", [rows], model_version="1")
    assert result.as_numpy("y").tolist() == [[2.0] * 4] * 3
    (after,) = client.get_inference_statistics("affine", "1")["model_stats"]
    assert after["inference_count"] - before["inference_count"] == 3
    for step in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        assert after["inference_stats"][step]["count"] - before["inference_stats"][step]["count"] == 1
    assert after["inference_stats"]["success"]["ns"] > before["inference_stats"]["success"]["ns"]
    assert 3 in [batch["batch_size"] for batch in after["batch_stats"]]
    assert after["last_inference"] > 1_600_000_000_000
    named = {(each["name"], each["version"]) for each in client.get_inference_statistics()["model_stats"]}
    assert {("affine", "1"), ("affine", "2"), ("echo", "1")} <= named


def test_log_settings(client: triton.InferenceServerClient) -> None:
    before = client.get_log_settings()
    changed = client.update_log_settings({"log_verbose_level": 1, "log_info": False})
    assert changed == {**before, "log_verbose_level": 1, "log_info": False}
    assert client.update_log_settings(before) == before


def test_tensors_in_system_shared_memory(client: triton.InferenceServerClient) -> None:
    values = np.arange(8, dtype=np.float32).reshape(2, 4)
    region = shared_memory.create_shared_memory_region("both", "/test-sluice-both", 2 * values.nbytes)
    try:
        shared_memory.set_shared_memory_region(region, [values])
        client.register_system_shared_memory("both", "/test-sluice-both", 2 * values.nbytes)
        (status,) = client.get_system_shared_memory_status("both")
        assert status == {"name": "both", "key": "/test-sluice-both", "offset": 0, "byte_size": 64}
        given = triton.InferInput("x", [2, 4], "FP32")
        given.set_shared_memory("both", values.nbytes)
        wanted = triton.InferRequestedOutput("y")
        wanted.set_shared_memory("both", values.nbytes, offset=values.nbytes)
        result = client.infer("affine", [given], model_version="2", outputs=[wanted])
        assert result.get_output("y")["shape"] == [2, 4]
        written = shared_memory.get_contents_as_numpy(region, np.float32, [4, 4])
        assert np.array_equal(written[2:], values * 3)
        client.unregister_system_shared_memory("both")
        assert client.get_system_shared_memory_status() == []
    finally:
        client.unregister_system_shared_memory()
        shared_memory.destroy_shared_memory_region(region)


def test_classification(client: triton.InferenceServerClient) -> None:
    rows = triton.InferInput("x", [1, 4], "FP32")
    rows.set_data_from_numpy(np.array([[1, 4, 3, 2]], np.float32))
    wanted = triton.InferRequestedOutput("y", class_count=2)
    result = client.infer("affine", [rows], model_version="1", outputs=[wanted])
    assert result.as_numpy("y").tolist() == [[b"8.000000:1", b"6.000000:2"]]
