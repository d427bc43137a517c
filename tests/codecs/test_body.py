from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codecs.body import decode, decode_bare, encode
from gateway.codecs.json import decode_document
from gateway.core.errors import InvalidArgument
from gateway.core.infer import InferResponse
from gateway.core.signature import Signature
from gateway.core.tensor import BFLOAT16, DATA_TYPES, STRING, Array, TensorSpec

SIGNATURE = Signature(
    [TensorSpec("x", DATA_TYPES["FP32"], (-1, 4))], [TensorSpec("y", DATA_TYPES["FP32"], (-1, 4))], batched=True
)


def body(*inputs: dict[str, Any], **document: Any) -> bytes:
    return json.dumps({"inputs": inputs, **document}).encode()


def tensor(name: str, shape: list[int], datatype: str, data: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def written(outputs: dict[str, Array], asked: bytes = body(), id: str = "") -> tuple[dict[str, Any], list[bytes]]:
    """The reply's document and its blobs, when `asked` was."""
    _, form = decode(asked, None, "m", "", None)
    parts, length = encode(InferResponse("m", "7", id, outputs), form, SIGNATURE, None)
    assert length is None or length == len(parts[0])
    return json.loads(bytes(parts[0])), [bytes(part) for part in parts[1:]]


# ---- requests


@given(
    st.sampled_from(["FP32", "FP64"]),
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=12),
    st.sampled_from(["flat", "rows"]),
    st.text(max_size=5),
)
def test_floats_are_the_same_by_the_quick_way_and_by_the_other(
    datatype: str, values: list[float], form: str, id: str
) -> None:
    shape = [len(values) // 2, 2] if len(values) % 2 == 0 else [len(values)]
    data: Any = values
    if form == "rows" and len(shape) == 2:
        data = [values[at : at + 2] for at in range(0, len(values), 2)]
    plain = tensor("x", shape, datatype, data)
    quick, _ = decode(body(plain, id=id), None, "m", "", None)
    # a field that nobody knows makes it an ordinary document
    slow, _ = decode(body(plain | {"note": 1}, id=id), None, "m", "", None)
    assert (quick.id, list(quick.inputs)) == (slow.id, list(slow.inputs)) == (id, ["x"])
    assert quick.inputs["x"].dtype == slow.inputs["x"].dtype == DATA_TYPES[datatype].dtype
    assert quick.inputs["x"].tobytes() == slow.inputs["x"].tobytes()
    assert list(quick.inputs["x"].shape) == list(slow.inputs["x"].shape) == shape


ELEMENTS = st.floats(-2, 2) | st.integers(-2, 2) | st.booleans() | st.none() | st.text(max_size=2)


@given(
    st.lists(st.integers(-3, 5) | st.sampled_from([2**31, 2**63, 2**70, 10**400]), max_size=5),
    st.recursive(ELEMENTS, lambda inner: st.lists(inner, max_size=4)),
    st.sampled_from([*DATA_TYPES, "FP31"]),
)
def test_whatever_is_sent_is_a_tensor_or_refused(shape: list[int], data: Any, datatype: str) -> None:
    for extra in ({}, {"parameters": {}}, {"parameters": {"binary_data_size": 4}}):
        try:
            request, _ = decode(body(tensor("x", shape, datatype, data) | extra), None, "m", "", None)
        except InvalidArgument:
            continue
        array = request.inputs["x"]
        assert list(array.shape) == shape
        assert array.dtype == DATA_TYPES[datatype].dtype


@given(st.binary(max_size=40), st.integers(0, 90), st.integers(0, 9), st.integers(0, 140))
def test_damaged_bodies_are_requests_or_refused(put: bytes, at: int, cut: int, length: int) -> None:
    good = body(tensor("x", [1, 4], "FP32", [1, 2, 3, 4]), id="a", parameters={"timeout": 5})
    damaged = good[:at] + put + good[at + cut :]
    for header in (None, min(length, len(damaged))):
        try:
            request, _ = decode(damaged, header, "m", "", None)
        except InvalidArgument as error:
            assert error.message  # noqa: PT017
        else:
            assert all(isinstance(array, np.ndarray) for array in request.inputs.values())


def test_a_rank_beyond_reason_costs_nothing() -> None:
    with pytest.raises(InvalidArgument, match="100000 dimensions, the limit is 32"):
        decode(body(tensor("x", [9] * 100_000, "FP32", [1])), None, "m", "", None)


@pytest.mark.parametrize("deep", [500, 990, 1000, 10_000, 100_000])
@pytest.mark.parametrize("form", ["{}", '{{"inputs":[{{"name":"x","shape":[1],"datatype":"FP32","data":{}}}]}}',
    '{{"inputs":[{{"name":"x","shape":[1],"datatype":"FP32","parameters":{{"binary_data_size":{}}}}}]}}',
    '{{"inputs":[],"parameters":{{"timeout":{}}}}}', '{{"inputs":[],"id":[NaN,{}]}}'])  # fmt: skip
def test_nesting_is_refused_and_not_survived_by_luck(deep: int, form: str) -> None:
    for text in ("[" * deep + "]" * deep, "[" * deep, '{"a":' * deep + "1" + "}" * deep):
        with pytest.raises(InvalidArgument) as refused:
            decode(form.format(text).encode(), None, "m", "", None)
        assert len(refused.value.message) < 300


def test_lone_surrogates_are_refused_by_both_decoders() -> None:
    for values in ("1", "NaN"):
        with pytest.raises(InvalidArgument):
            decode_document(b'{"inputs":[],"id":"\\ud800","z":%s}' % values.encode())
    assert decode_document(b'{"inputs":[],"id":"\\ud83d\\ude00","z":NaN}').id == "\N{GRINNING FACE}"


# ---- the raw form


def test_raw_bodies() -> None:
    def spec(datatype: str, *shape: int, batched: bool = False) -> Signature:
        return Signature([TensorSpec("x", DATA_TYPES[datatype], shape)], [], batched=batched)

    def shape(signature: Signature, data: bytes) -> tuple[int, ...]:
        return decode_bare(data, "m", "", signature).inputs["x"].shape

    assert shape(spec("FP32", -1, 4, batched=True), bytes(16)) == (1, 4)
    assert shape(spec("FP32", -1, 4), bytes(48)) == (3, 4)
    assert shape(spec("FP32", -1, -1, batched=True), bytes(48)) == (1, 12)
    assert shape(spec("INT8", 2, 3), bytes(6)) == (2, 3)
    assert shape(spec("BYTES", -1, 1, batched=True), b"words") == (1, 1)
    for signature, data in (
        (spec("FP32", -1, 4, batched=True), bytes(32)),
        (spec("FP32", -1, 4), bytes(15)),
        (spec("FP32", -1, -1), bytes(16)),
        (spec("FP32", 0, -1), bytes(16)),
        (spec("FP32", 2, 3), b""),
        (spec("BYTES", -1, 2, batched=True), b"words"),
        (spec("BYTES", 1, 1), b"\xff"),
    ):
        with pytest.raises(InvalidArgument, match="'x'"):
            decode_bare(data, "m", "", signature)


# ---- replies


@given(
    st.sampled_from([name for name in DATA_TYPES if name not in ("BYTES", "FP16", "BF16", "BOOL")]),
    st.lists(st.integers(0, 100), max_size=6),
    st.text(max_size=4),
)
def test_replies_are_the_same_by_the_quick_way_and_by_the_other(datatype: str, values: list[int], id: str) -> None:
    array = np.array(values, DATA_TYPES[datatype].dtype).reshape(-1, 1)
    for outputs in ({"y": array}, {"y": array, "z": array.T}, {"null": array}):
        quick, _ = written(outputs, id=id)
        slow, _ = written(outputs, body(outputs=[{"name": name} for name in outputs]), id=id)
        assert quick == slow
        assert list(quick) == [*(["id"] if id else []), "model_name", "model_version", "outputs"]
        assert quick["outputs"][0] == {
            "name": next(iter(outputs)),
            "datatype": datatype,
            "shape": [len(values), 1],
            "data": values,
        }


def test_what_json_has_no_numbers_for() -> None:
    found, _ = written({"y": np.array([math.nan, math.inf, -math.inf, 1.5], np.float32)})
    assert math.isnan(found["outputs"][0]["data"][0])
    assert found["outputs"][0]["data"][1:] == [math.inf, -math.inf, 1.5]
    assert written({"y": np.array([True, False])})[0]["outputs"][0]["data"] == [True, False]
    assert written({"y": np.array(["ä", ""], STRING)})[0]["outputs"][0]["data"] == ["ä", ""]
    assert written({"y": np.array(5, np.int8)})[0]["outputs"][0] == {
        "name": "y",
        "datatype": "INT8",
        "shape": [],
        "data": [5],
    }
    for dtype in (np.dtype(np.float16), BFLOAT16):
        with pytest.raises(InvalidArgument, match="binary data only"):
            written({"y": np.zeros(2, dtype)})


def test_blobs_come_in_the_order_of_their_outputs() -> None:
    outputs = {
        "a": np.array([1], np.int8),
        "b": np.array([2], np.int8),
        "c": np.array(["x"], STRING),
        "d": np.zeros((2, 2), np.float16).T,
    }
    asked = body(outputs=[{"name": "b", "parameters": {"binary_data": False}}], parameters={"binary_data_output": True})
    document, blobs = written(outputs, asked)
    assert blobs == [b"\1", b"\1\0\0\0x", bytes(8)]
    assert [output["parameters"]["binary_data_size"] for output in document["outputs"] if "parameters" in output] == [
        1,
        5,
        8,
    ]
    assert document["outputs"][1]["data"] == [2]
