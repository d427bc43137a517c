from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from gateway import pb
from gateway.codecs.records.columns import VERSION, objects
from gateway.codecs.records.oip import OipDecoder, OipEncoder
from gateway.core.errors import Unsupported
from gateway.core.signature import Signature
from gateway.core.tensor import DATA_TYPES, TensorSpec

FP32 = DATA_TYPES["FP32"]
SIGNATURE = Signature(
    [TensorSpec("x", FP32, (-1, 2)), TensorSpec("s", DATA_TYPES["BYTES"], (-1,))],
    [TensorSpec("y", FP32, (-1,)), TensorSpec("z", FP32, (-1, 2), ("cat", "dog"))],
    batched=True,
    max_batch_size=4,
)


def request(rows: int, start: float = 0, **more: Any) -> bytes:
    x = [start + i for i in range(2 * rows)]
    inputs = [
        {"name": "x", "shape": [rows, 2], "datatype": "FP32", "data": x},
        {"name": "s", "shape": [rows], "datatype": "BYTES", "data": ["a"] * rows},
    ]
    return json.dumps({"inputs": inputs, **more}).encode()


def test_requests_of_several_rows_are_scored_together_and_answered_apart() -> None:
    values = [
        request(1, id="one"),
        b"broken",
        request(2, 10, outputs=[{"name": "y"}]),
        None,
        request(1, 20, outputs=[{"name": "z", "parameters": {"classification": 1}}]),
    ]
    columns = OipDecoder("m", SIGNATURE).decode(values)
    assert sorted(columns.errors) == [1, 3]
    assert columns.counts is not None
    assert columns.counts.tolist() == [1, 0, 2, 0, 1]
    good = columns.good()
    inputs = OipDecoder("m", SIGNATURE).inputs(good)
    assert SIGNATURE.check(inputs) == 4
    assert inputs["x"][:, 0].tolist() == [0, 10, 12, 20]
    outputs = {"y": inputs["x"].sum(axis=1), "z": inputs["x"], VERSION: objects(["3"] * 4)}
    encoded = OipEncoder("m", SIGNATURE).encode(good.joined(outputs))
    assert encoded.errors == {}
    replies = [json.loads(value) for value in encoded.values]
    assert replies[0] == {
        "id": "one",
        "model_name": "m",
        "model_version": "3",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [1], "data": [1.0]},
            {"name": "z", "datatype": "FP32", "shape": [1, 2], "data": [0.0, 1.0]},
        ],
    }
    assert replies[1]["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [2], "data": [21.0, 25.0]}]
    assert replies[2]["outputs"] == [{"name": "z", "datatype": "BYTES", "shape": [1, 1], "data": ["21.000000:1:dog"]}]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (request(0), "the request has no rows"),
        (request(5), "exceeds the model's max_batch_size of 4"),
        (request(1, outputs=[{"name": "no"}]), "unexpected output 'no'"),
        (request(1, outputs=[{"name": "y", "parameters": {"binary_data": True}}]), "binary and shared memory outputs"),
        (request(1, parameters={"binary_data_output": True}), "binary and shared memory outputs"),
        (b'{"inputs":[]}', "expected 2 inputs but got 0"),
        (b"\xff", "failed to parse"),
        (b"{}", "invalid inference request"),
    ],
)
def test_a_bad_request_costs_only_itself(value: bytes, reason: str) -> None:
    columns = OipDecoder("m", SIGNATURE).decode([request(2), value, request(1)])
    assert list(columns.errors) == [1]
    assert reason in columns.errors[1]
    assert columns.good().fields["x"].shape == (3, 2)


def test_nothing_good() -> None:
    columns = OipDecoder("m", SIGNATURE).decode([b"", None])
    good = columns.good()
    assert good.rows == 0
    assert good.fields["x"].shape == (0, 2)
    outputs = {"y": np.empty(0, np.float32), "z": np.empty((0, 2), np.float32), VERSION: objects([])}
    assert OipEncoder("m", SIGNATURE).encode(good.joined(outputs)).values == []


def test_models_whose_requests_cannot_be_merged() -> None:
    for shape, batched in (((-1, -1), True), ((-1, 2), False)):
        with pytest.raises(Unsupported, match="cannot be scored together"):
            OipDecoder("m", Signature([TensorSpec("x", FP32, shape)], [], batched=batched))


def message(rows: int, start: float = 0, **more: Any) -> bytes:
    tensors = [
        {"name": "x", "shape": [rows, 2], "datatype": "FP32", "contents": {"fp32_contents": range(2 * rows)}},
        {"name": "s", "shape": [rows], "datatype": "BYTES", "contents": {"bytes_contents": [b"a"] * rows}},
    ]
    return bytes(pb.message("ModelInferRequest")(inputs=tensors, **more).SerializeToString())


def test_messages_of_the_grpc_api() -> None:
    values = [
        message(2, id="7", model_name="m"),
        b"\xff",
        message(1),
        message(1, model_version="2"),
        message(1, model_name="n"),
    ]
    columns = OipDecoder("m", SIGNATURE, binary=True).decode(values)
    assert sorted(columns.errors) == [1, 3, 4]
    assert "failed to parse" in columns.errors[1]
    assert columns.errors[4] == "the request is for model 'n', expected 'm' or none"
    assert columns.errors[3] == "the request asks for version '2', which the stream decides"
    good = columns.good()
    inputs = OipDecoder("m", SIGNATURE, binary=True).inputs(good)
    outputs = {"y": inputs["x"].sum(axis=1), "z": inputs["x"], VERSION: objects(["3"] * 3)}
    encoded = OipEncoder("m", SIGNATURE, binary=True).encode(good.joined(outputs))
    reply = pb.message("ModelInferResponse").FromString(encoded.values[0])
    assert (reply.id, reply.model_name, reply.model_version) == ("7", "m", "3")
    assert np.frombuffer(reply.raw_output_contents[0], "<f4").tolist() == [1.0, 5.0]
