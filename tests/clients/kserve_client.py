"""KServe's REST and gRPC clients against a server; run by test_kserve.py in an environment of its own.

Prints one JSON object: what the client answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

ROWS = np.array([[1, 2, 3, 4], [-1, 0.5, 0, 8]], np.float32)


def request(model: str, datatype: str, array: Any, *, binary: bool, **fields: Any) -> InferRequest:
    tensor = InferInput("x", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return InferRequest(model_name=model, infer_inputs=[tensor], **fields)


async def tell(address: str) -> dict[str, Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=20))

    async def infer(model: str, datatype: str, array: Any, *, binary: bool, **fields: Any) -> Any:
        sent = request(model, datatype, array, binary=binary, **fields)
        return (await client.infer(address, sent, model_name=model)).outputs[0].as_numpy()

    async def refusal(model: str, array: Any) -> list[Any]:
        try:
            await infer(model, "FP32", array, binary=True)
        except httpx.HTTPStatusError as error:
            return [error.response.status_code, str(error)]
        return []

    found: dict[str, Any] = {
        "live": await client.is_server_live(address),
        "ready": await client.is_server_ready(address),
        "model_ready": await client.is_model_ready(address, "affine"),
        "unknown_ready": await client.is_model_ready(address, "none"),
    }
    for name, sent, asked in (("json", False, False), ("binary", True, True), ("mixed", True, False)):
        outputs = [RequestedOutput("y", {"binary_data": asked})]
        array = await infer("affine", "FP32", ROWS, binary=sent, request_outputs=outputs)
        found[name] = array.tolist()
    texts = np.array([["ü", "two words"]], object)
    for binary in (True, False):
        array = await infer("echo-BYTES", "BYTES", texts, binary=binary, parameters={"binary_data_output": binary})
        found["texts_binary" if binary else "texts_json"] = [
            text.decode() if isinstance(text, bytes) else text for text in array.ravel()
        ]
    halves = np.array([[0.5, -65504]], np.float16)
    array = await infer("echo-FP16", "FP16", halves, binary=True, parameters={"binary_data_output": True})
    found["halves"] = array.tolist()
    reply = await client.infer(
        address, request("affine", "FP32", ROWS, binary=False, request_id="42"), model_name="affine"
    )
    found["answered"] = [reply.id, reply.model_name]
    tensor = {"name": "x", "shape": [2, 4], "datatype": "FP32", "data": ROWS.tolist()}
    reply = await client.infer(address, {"inputs": [tensor]}, model_name="affine")
    found["plain"] = reply.outputs[0].as_numpy().tolist()
    found["unknown"] = await refusal("none", ROWS)
    found["misshapen"] = await refusal("affine", ROWS[:, :3].copy())
    await client.close()
    return found


async def tell_grpc(address: str) -> dict[str, Any]:
    async with InferenceGRPCClient(address, timeout=20) as client:

        async def infer(model: str, datatype: str, array: Any, *, binary: bool, **fields: Any) -> Any:
            return await client.infer(request(model, datatype, array, binary=binary, **fields))

        async def refusal(model: str, array: Any) -> list[str]:
            try:
                await infer(model, "FP32", array, binary=True)
            except grpc.aio.AioRpcError as error:
                return [error.code().name, error.details() or ""]
            return []

        reply = await infer("affine", "FP32", ROWS, binary=True, request_id="42")
        found: dict[str, Any] = {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model_ready": await client.is_model_ready("affine"),
            "unknown_ready": await client.is_model_ready("none"),
            "answered": [reply.id, reply.model_name, reply.model_version],
        }
        for binary in (True, False):
            reply = await infer("affine", "FP32", ROWS, binary=binary)
            found["binary" if binary else "plain"] = reply.outputs[0].as_numpy().tolist()
        texts = np.array([["ü", "two words"]], object)
        for binary in (True, False):
            reply = await infer("echo-BYTES", "BYTES", texts, binary=binary)
            found["texts_binary" if binary else "texts_plain"] = [
                text.decode() if isinstance(text, bytes) else text for text in reply.outputs[0].as_numpy().ravel()
            ]
        reply = await infer("echo-FP16", "FP16", np.array([[0.5, -65504]], np.float16), binary=True)
        found["halves"] = reply.outputs[0].as_numpy().tolist()
        found["at_once"] = [
            reply.outputs[0].as_numpy().tolist()
            for reply in await asyncio.gather(*(infer("affine", "FP32", ROWS * i, binary=True) for i in range(20)))
        ]
        found["unknown"] = await refusal("none", ROWS)
        found["misshapen"] = await refusal("affine", ROWS[:, :3].copy())
        return found


async def both(rest: str, grpc_address: str) -> dict[str, Any]:
    return {"rest": await tell(rest), "grpc": await tell_grpc(grpc_address)}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(both(*sys.argv[1:]))))
