"""The ONNX standard's node tests through gRPC, raw tensors in and out, and typed contents where there are any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from conformance.nodes import LEAST_BINARY, ULPS, Case, served
from conformance.oip import DTYPES, NAMES, Array, same, to_bytes
from gateways import Server
from tritonclient.grpc import service_pb2, service_pb2_grpc

CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


@pytest.fixture(scope="module")
def stub(node_server: Server) -> Iterator[Any]:
    with grpc.insecure_channel(node_server.grpc) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
def test_answers_are_those_of_onnxruntime(
    cases: list[Case], stub: Any, typed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def unfit(case: Case) -> str:
        untyped = typed and any(NAMES[array.dtype] not in CONTENTS for array in case.feeds.values())
        return "FP16 and BF16 travel raw only" if untyped else ""

    how = f"over gRPC, {'typed' if typed else 'raw'}"
    right = served(cases, how, unfit, lambda case: _difference(stub, case, typed), capsys)
    assert right >= (1530 if typed else LEAST_BINARY)


def _difference(stub: Any, case: Case, typed: bool) -> str:
    """What is wrong with the server's answer; "" if nothing."""
    try:
        reply = stub.ModelInfer(_request(case, typed), timeout=30)
    except grpc.RpcError as error:
        return str(error)
    if [output.name for output in reply.outputs] != [*case.expected]:
        return f"outputs {[output.name for output in reply.outputs]} instead of {[*case.expected]}"
    for output, content in zip(reply.outputs, reply.raw_output_contents, strict=True):
        expected = case.expected[output.name]
        found = _array(output, content)
        if not same(found, expected, ulps=ULPS):
            return f"{output.name} is {found!r} instead of {expected!r}"
    return ""


def _request(case: Case, typed: bool) -> Any:
    request = service_pb2.ModelInferRequest(model_name=case.name)
    for name, array in case.feeds.items():
        kind = NAMES[array.dtype]
        tensor = request.inputs.add(name=name, datatype=kind, shape=array.shape)
        if typed:
            values = array.ravel().tolist()
            getattr(tensor.contents, CONTENTS[kind]).extend(
                [text.encode() for text in values] if kind == "BYTES" else values
            )
        else:
            request.raw_input_contents.append(to_bytes(array))
    return request


def _array(output: Any, content: bytes) -> Array:
    shape = tuple(output.shape)
    if output.datatype != "BYTES":
        return np.frombuffer(content, DTYPES[output.datatype]).reshape(shape)
    texts = []
    at = 0
    while at < len(content):
        end = at + 4 + int.from_bytes(content[at : at + 4], "little")
        texts.append(content[at + 4 : end].decode())
        at = end
    values = np.empty(len(texts), object)
    values[:] = texts
    return values.reshape(shape)
