"""Triton's asyncio client: the same calls by way of aiohttp."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http.aio as triton
from gateways import Server
from tritonclient.utils import InferenceServerException

ROWS = np.array([[1, 2, 3, 4], [-1, 0.5, 0, 8]], np.float32)

Story = Callable[[triton.InferenceServerClient], Awaitable[None]]


def tell(server: Server, story: Story) -> None:
    async def told() -> None:
        async with triton.InferenceServerClient(server.host) as client:
            await story(client)

    asyncio.run(told())


def given(kind: str, array: Any, *, binary: bool = True) -> list[triton.InferInput]:
    tensor = triton.InferInput("x", list(array.shape), kind)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return [tensor]


def test_health_and_metadata(server: Server) -> None:
    async def story(client: triton.InferenceServerClient) -> None:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("affine", "1")
        assert not await client.is_model_ready("none")
        assert (await client.get_server_metadata())["name"] == "sluice"
        assert (await client.get_model_metadata("affine", "1"))["versions"] == ["1"]
        assert (await client.get_model_config("affine"))["platform"] == "onnxruntime_onnx"
        assert (await client.get_inference_statistics("affine"))["model_stats"]
        before = await client.get_log_settings()
        assert (await client.update_log_settings({"log_warning": False}))["log_warning"] is False
        assert await client.update_log_settings(before) == before

    tell(server, story)


def test_repository(server: Server) -> None:
    content = (server.models / "affine" / "1" / "model.onnx").read_bytes()

    async def story(client: triton.InferenceServerClient) -> None:
        config = json.dumps({"max_batch_size": "4"})
        await client.load_model("carried", config=config, files={"file:1/model.onnx": content})
        try:
            assert (await client.get_model_config("carried"))["max_batch_size"] == 4
            names = {entry["name"] for entry in await client.get_model_repository_index()}
            assert {"affine", "carried"} <= names
        finally:
            await client.unload_model("carried")
        assert not await client.is_model_ready("carried")
        with pytest.raises(InferenceServerException, match="failed to load"):
            await client.load_model("spare", config='{"nonsense": 1}')

    tell(server, story)


def test_infer(server: Server) -> None:
    async def story(client: triton.InferenceServerClient) -> None:
        for binary in (True, False):
            wanted = [triton.InferRequestedOutput("y", binary_data=binary)]
            result = await client.infer("affine", given("FP32", ROWS, binary=binary), "2", outputs=wanted)
            assert np.array_equal(result.as_numpy("y"), 3 * ROWS)
        results = await asyncio.gather(*[client.infer("affine", given("FP32", ROWS), "1") for _ in range(20)])
        assert all(np.array_equal(result.as_numpy("y"), 2 * ROWS) for result in results)
        texts = np.array([["ü", ""]], object)
        result = await client.infer("echo-BYTES", given("BYTES", texts))
        assert result.as_numpy("y").tolist() == [["ü".encode(), b""]]
        halves = np.array([[0.25, -1]], np.float16)
        assert np.array_equal((await client.infer("echo-FP16", given("FP16", halves))).as_numpy("y"), halves)
        brains = np.array([[0.5, -1]], ml_dtypes.bfloat16)
        assert np.array_equal((await client.infer("echo-BF16", given("BF16", brains))).as_numpy("y"), brains)
        wanted = [triton.InferRequestedOutput("y", class_count=1)]
        result = await client.infer("labelled", given("FP32", np.eye(3, dtype=np.float32)), outputs=wanted)
        assert [text[-3:] for text in result.as_numpy("y").ravel()] == [b"ant", b"bee", b"cat"]

    tell(server, story)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compression(server: Server, coding: str) -> None:
    many = np.arange(4000, dtype=np.float32).reshape(1000, 4)

    async def story(client: triton.InferenceServerClient) -> None:
        for codings in (
            {"request_compression_algorithm": coding},
            {"response_compression_algorithm": coding},
            {"request_compression_algorithm": coding, "response_compression_algorithm": coding},
        ):
            result = await client.infer("affine", given("FP32", many), "1", **codings)
            assert np.array_equal(result.as_numpy("y"), 2 * many)

    tell(server, story)


def test_errors(server: Server) -> None:
    async def story(client: triton.InferenceServerClient) -> None:
        for model, inputs, status, message in (
            ("none", given("FP32", ROWS), "404", "Request for unknown model: 'none' is not found"),
            ("affine", given("FP32", ROWS[:, :3].copy()), "400", "unexpected shape [2, 3] for input 'x'"),
        ):
            with pytest.raises(InferenceServerException) as failure:
                await client.infer(model, inputs)
            assert failure.value.status() == status
            assert message in failure.value.message()

    tell(server, story)


def test_shared_memory(server: Server) -> None:
    async def story(client: triton.InferenceServerClient) -> None:
        assert await client.get_system_shared_memory_status() == []
        with pytest.raises(InferenceServerException, match="Unable to open shared memory region"):
            await client.register_system_shared_memory("one", "/sluice-test-absent", 64)
        await client.unregister_system_shared_memory()
        assert await client.get_cuda_shared_memory_status() == []
        await client.unregister_cuda_shared_memory()

    tell(server, story)
