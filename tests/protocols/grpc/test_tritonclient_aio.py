"""Triton's asyncio gRPC client: the same calls by way of grpc.aio."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc.aio as triton
from gateways import Server
from tritonclient.utils import InferenceServerException

ROWS = np.array([[1, 2, 3, 4], [-1, 0.5, 0, 8]], np.float32)

Story = Callable[[triton.InferenceServerClient], Awaitable[None]]


def tell(server: Server, story: Story) -> None:
    async def told() -> None:
        async with triton.InferenceServerClient(server.grpc) as client:
            await story(client)

    asyncio.run(told())


def rows() -> list[triton.InferInput]:
    tensor = triton.InferInput("x", list(ROWS.shape), "FP32")
    tensor.set_data_from_numpy(ROWS)
    return [tensor]


def test_every_call_but_inference(server: Server) -> None:
    async def story(client: triton.InferenceServerClient) -> None:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("affine", "1")
        assert not await client.is_model_ready("none")
        assert (await client.get_server_metadata()).name == "sluice"
        assert list((await client.get_model_metadata("affine", "1")).versions) == ["1"]
        assert (await client.get_model_config("affine")).config.platform == "onnxruntime_onnx"
        assert (await client.get_inference_statistics("affine")).model_stats
        assert (await client.get_model_repository_index()).models
        assert (await client.get_log_settings()).settings["log_info"].bool_param
        assert (await client.get_trace_settings()).settings["trace_level"].value == ["OFF"]
        assert not (await client.get_system_shared_memory_status()).regions
        assert not (await client.get_cuda_shared_memory_status()).regions
        await client.unregister_system_shared_memory()
        await client.unregister_cuda_shared_memory()

    tell(server, story)


def test_repository(server: Server) -> None:
    content = (server.models / "affine" / "1" / "model.onnx").read_bytes()

    async def story(client: triton.InferenceServerClient) -> None:
        config = json.dumps({"max_batch_size": "4"})
        await client.load_model("carried", config=config, files={"file:1/model.onnx": content})
        try:
            assert (await client.get_model_config("carried")).config.max_batch_size == 4
        finally:
            await client.unload_model("carried")
        assert not await client.is_model_ready("carried")

    tell(server, story)


def test_many_at_once(server: Server) -> None:
    async def story(client: triton.InferenceServerClient) -> None:
        calls = (client.infer("affine", rows(), request_id=str(number)) for number in range(100))
        for number, result in enumerate(await asyncio.gather(*calls)):
            assert result.get_response().id == str(number)
            assert np.array_equal(result.as_numpy("y"), 3 * ROWS)

    tell(server, story)


@pytest.mark.parametrize("model", ["affine", "laps"])
def test_a_stream_keeps_its_order(server: Server, model: str) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for number in range(40):
            inputs = rows()
            if model == "laps":
                inputs = [triton.InferInput("n", [], "INT64")]
                inputs[0].set_data_from_numpy(np.array(number % 3, np.int64))
            yield {"model_name": model, "inputs": inputs, "request_id": str(number)}

    async def story(client: triton.InferenceServerClient) -> None:
        found = [pair async for pair in client.stream_infer(requests())]
        assert [result.get_response().id for result, _ in found] == [str(number) for number in range(40)]
        assert all(error is None for _, error in found)

    tell(server, story)


def test_errors(server: Server) -> None:
    async def story(client: triton.InferenceServerClient) -> None:
        with pytest.raises(InferenceServerException, match="Request for unknown model") as failure:
            await client.infer("none", rows())
        assert failure.value.status() == "StatusCode.NOT_FOUND"
        with pytest.raises(InferenceServerException, match="expected 1 inputs but got 0"):
            await client.infer("affine", [])

    tell(server, story)
