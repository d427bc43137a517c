"""Every tensor type, in JSON and in binary, there and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from conformance.oip import DTYPES, HALVES, Array, Client, same

BINARY_REPLY = {"parameters": {"binary_data_output": True}}


def values(kind: str) -> Array:
    """Six of them, extremes included."""
    dtype = DTYPES[kind]
    if kind == "BOOL":
        return np.array([True, False, False, True, True, False])
    if kind == "BYTES":
        return np.array(["", "plain", "ü€𝄞", '"quoted\\"\n', "a\0b", "[1, NaN]"], object)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.array([limits.min, limits.max, 0, 1, limits.max - 1, 7], dtype)
    return np.array([np.nan, np.inf, -np.inf, -0.0, 1 / 3, -65504.0], dtype)


@pytest.mark.parametrize(
    ("kind", "binary_in", "binary_out"),
    [
        (kind, binary_in, binary_out)
        for kind in DTYPES
        for binary_in in (True, False)
        for binary_out in (True, False)
        if kind not in HALVES or (binary_in and binary_out)
    ],
)
def test_round_trip(client: Client, kind: str, binary_in: bool, binary_out: bool) -> None:
    """Scalars, vectors, matrices, and tensors without elements."""
    fields: dict[str, Any] = BINARY_REPLY if binary_out else {}
    flat = values(kind)
    samples = [(f"scalar-{kind}", flat[index : index + 1].reshape(())) for index in range(6)]
    samples += [(f"vector-{kind}", array) for array in (flat, flat[:1], flat[:0])]
    samples += [(f"matrix-{kind}", array) for array in (flat.reshape(2, 3), flat.reshape(2, 3)[:0])]
    for model, array in samples:
        reply = client.infer(model, {"x": array}, binary=binary_in, **fields)
        assert reply.status == 200, (model, array, reply.body)
        assert ("inference-header-content-length" in reply.headers) == binary_out
        assert reply.document["model_name"] == model
        assert reply.document["model_version"] == "1"
        found = reply.outputs()["y"]
        assert same(found, array), (model, found, array)


@pytest.mark.parametrize("kind", ["FP32", "FP64"])
def test_numbers_keep_every_bit(client: Client, kind: str) -> None:
    """NaN aside: sign of zero, subnormal numbers, the largest ones."""
    limits = np.finfo(DTYPES[kind])
    array = np.array([-0.0, limits.smallest_subnormal, limits.max, limits.tiny, 0.1, 1 + limits.eps], DTYPES[kind])
    for binary in (True, False):
        found = client.infer(f"vector-{kind}", {"x": array}, binary=binary).outputs()["y"]
        assert found.tobytes() == array.tobytes()


@pytest.mark.parametrize("kind", HALVES)
def test_halves_do_not_travel_in_json(client: Client, kind: str) -> None:
    array = np.ones(2, DTYPES[kind])
    reply = client.infer(f"vector-{kind}", {"x": array})
    assert reply.status == 400
    assert f"input 'x' is {kind}" in reply.error
    reply = client.infer(f"vector-{kind}", {"x": array}, binary=True)
    assert reply.status == 400
    assert f"output 'y' is {kind}" in reply.error


def test_metadata_names_every_type(client: Client) -> None:
    for kind in DTYPES:
        document = client.get(f"/v2/models/matrix-{kind}").document
        (tensor,) = document["inputs"]
        assert tensor == {"name": "x", "datatype": kind, "shape": [-1, 3]}
        assert client.get(f"/v2/models/scalar-{kind}").document["outputs"][0]["shape"] == []


@pytest.mark.parametrize("kind", [kind for kind in DTYPES if kind not in HALVES])
def test_nested_data_is_the_same(client: Client, kind: str) -> None:
    array = values(kind).reshape(2, 3)
    tensor = {"name": "x", "shape": [2, 3], "datatype": kind, "data": array.tolist()}
    body = json.dumps({"inputs": [tensor]}).encode()
    reply = client.post(f"/v2/models/matrix-{kind}/infer", body, {"Content-Type": "application/json"})
    assert same(reply.outputs()["y"], array)
