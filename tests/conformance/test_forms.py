"""The forms of one request: binary beside JSON, raw, outputs by wish, classes, compression."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import numpy as np
import pytest
from conformance.oip import Array, Client, Reply, encode, same

A = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
TEXT = np.array(["ü", "", "two words", "x"], object)
SENT: dict[str, Array] = {"a": A, "text": TEXT}
ANSWER: dict[str, Array] = {"twice": 2 * A, "same": TEXT, "count": np.array([3, 2])}


def wish(name: str, **parameters: Any) -> dict[str, Any]:
    return {"name": name, "parameters": parameters} if parameters else {"name": name}


def in_binary(reply: Reply) -> list[str]:
    return [output["name"] for output in reply.document["outputs"] if "data" not in output]


@pytest.mark.parametrize("binary", [(), ("a",), ("text",), ("a", "text")], ids=",".join)
def test_inputs_in_json_beside_binary_ones(client: Client, binary: tuple[str, ...]) -> None:
    reply = client.infer("several", SENT, binary=binary)
    outputs = reply.outputs()
    assert [*outputs] == [*ANSWER]
    assert all(same(outputs[name], ANSWER[name]) for name in ANSWER)
    assert in_binary(reply) == []


@pytest.mark.parametrize(
    ("default", "wishes", "expected"),
    [
        (None, None, []),
        (False, None, []),
        (True, None, ["twice", "same", "count"]),
        (None, [wish("same", binary_data=True), wish("twice")], ["same"]),
        (True, [wish("count"), wish("twice", binary_data=False)], ["count"]),
        (True, [wish("twice", binary_data=False)], []),
        (None, [wish("count", binary_data=True), wish("twice", binary_data=True)], ["count", "twice"]),
    ],
)
def test_each_output_in_its_form(
    client: Client, default: bool | None, wishes: list[dict[str, Any]] | None, expected: list[str]
) -> None:
    fields: dict[str, Any] = {}
    if default is not None:
        fields["parameters"] = {"binary_data_output": default}
    if wishes is not None:
        fields["outputs"] = wishes
    reply = client.infer("several", SENT, **fields)
    outputs = reply.outputs()
    asked = [*ANSWER] if wishes is None else [each["name"] for each in wishes]
    assert [*outputs] == asked
    assert in_binary(reply) == expected
    assert all(same(outputs[name], ANSWER[name]) for name in asked)


def test_outputs_that_are_wished_for_wrongly(client: Client) -> None:
    for wishes, message in (
        ([wish("thrice")], "unexpected output 'thrice'"),
        ([wish("same"), wish("same")], "requested twice"),
        ([wish("same", binary_data="yes")], "'binary_data' of output 'same'"),
    ):
        reply = client.infer("several", SENT, outputs=wishes)
        assert reply.status == 400
        assert message in reply.error


def test_the_id_comes_back(client: Client) -> None:
    assert client.infer("several", SENT, id="ä/1").document["id"] == "ä/1"
    assert "id" not in client.infer("several", SENT).document


# ---- raw: the whole body is the one input


def raw(client: Client, model: str, body: bytes) -> Reply:
    return client.post(f"/v2/models/{model}/infer", body, {"Inference-Header-Content-Length": "0"})


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("fixed", np.arange(6, dtype=np.int32).reshape(2, 3)),
        ("free", np.arange(8, dtype=np.float64).reshape(2, 4)),
        ("free", np.empty((2, 0))),
        ("scalar-FP32", np.array(3.5, np.float32)),
        # a model that batches gets one row
        ("matrix-INT8", np.array([[1, -2, 3]], np.int8)),
        ("matrix-FP16", np.array([[1, -2, 3]], np.float16)),
    ],
)
def test_raw(client: Client, model: str, expected: Array) -> None:
    reply = raw(client, model, expected.tobytes())
    assert same(reply.outputs()["y"], expected)
    assert in_binary(reply) == ["y"]


@pytest.mark.parametrize(
    ("model", "shape"), [("text", (1,)), ("text-column", (1, 1)), ("vector-BYTES", (1,)), ("scalar-BYTES", ())]
)
def test_a_raw_text_has_no_length_before_it(client: Client, model: str, shape: tuple[int, ...]) -> None:
    for text in ("42 ü", ""):
        reply = raw(client, model, text.encode())
        assert same(reply.outputs()["y"], np.full(shape, text, object))


@pytest.mark.parametrize(
    ("model", "body", "message"),
    [
        ("several", b"", "exactly one input"),
        ("fixed", b"12", "unexpected size for input 'x'"),
        ("matrix-INT8", b"123456", "unexpected size for input 'x'"),
        ("free", b"123", "unexpected size for input 'x'"),
        ("freer", b"", "at most one free dimension"),
        ("text-pair", b"x", "one element"),
        ("text-free", b"x", "one element"),
        ("text", b"\xff", "not UTF-8"),
        ("none", b"", "Request for unknown model"),
    ],
)
def test_raw_that_cannot_be_read(client: Client, model: str, body: bytes, message: str) -> None:
    reply = raw(client, model, body)
    assert reply.status == (404 if model == "none" else 400)
    assert message in reply.error


# ---- classification


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(
    ("model", "k", "expected"),
    [
        ("matrix-FP32", 2, [["3.000000:1", "2.500000:2"], ["9.000000:0", "8.000000:1"]]),
        ("labelled", 1, [["3.000000:1:bee"], ["9.000000:0:ant"]]),
        (
            "labelled",
            9,
            [
                ["3.000000:1:bee", "2.500000:2:cat", "-1.000000:0:ant"],
                ["9.000000:0:ant", "8.000000:1:bee", "7.000000:2:cat"],
            ],
        ),
    ],
)
def test_classification(client: Client, model: str, k: int, expected: Any, binary: bool) -> None:
    rows = np.array([[-1, 3, 2.5], [9, 8, 7]], np.float32)
    reply = client.infer(model, {"x": rows}, outputs=[wish("y", classification=k, binary_data=binary)])
    assert reply.document["outputs"][0]["datatype"] == "BYTES"
    assert reply.outputs()["y"].tolist() == expected
    assert in_binary(reply) == (["y"] if binary else [])


def test_classes_of_an_integer_and_of_an_unbatched_model(client: Client) -> None:
    rows = np.array([[4, 5, 6]], np.int64)
    reply = client.infer("matrix-INT64", {"x": rows}, outputs=[wish("y", classification=1)])
    assert reply.outputs()["y"].tolist() == [["6:2"]]
    table = np.array([[1, 9, 2], [3, 8, 4]], np.int32)
    reply = client.infer("fixed", {"x": table}, outputs=[wish("y", classification=2)])
    assert reply.outputs()["y"].tolist() == ["9:1", "8:4"]


def test_no_classes_of_texts(client: Client) -> None:
    reply = client.infer("vector-BYTES", {"x": TEXT}, outputs=[wish("y", classification=1)])
    assert reply.status == 400
    assert "unsupported type 'BYTES'" in reply.error


# ---- compression

PACK = {"gzip": gzip.compress, "deflate": zlib.compress}
UNPACK = {"gzip": gzip.decompress, "deflate": zlib.decompress}
#: below and above what is compressed in a thread
SIZES = (2_000, 200_000)


@pytest.mark.parametrize("coding", PACK)
@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("binary", [True, False])
def test_compressed_both_ways(client: Client, coding: str, rows: int, binary: bool) -> None:
    array = (np.arange(3 * rows) % 251).astype(np.float32).reshape(rows, 3)
    body, length = encode({"x": array}, binary=binary, parameters={"binary_data_output": binary})
    headers = {"Content-Encoding": coding, "Accept-Encoding": coding}
    if length is not None:
        headers["Inference-Header-Content-Length"] = str(length)
    reply = client.post("/v2/models/matrix-FP32/infer", PACK[coding](body), headers)
    assert reply.status == 200, reply.body
    assert reply.headers["content-encoding"] == coding
    assert int(reply.headers["content-length"]) == len(reply.body)
    plain = Reply(reply.status, reply.headers, UNPACK[coding](reply.body))
    assert same(plain.outputs()["y"], array)


def test_a_raw_body_may_be_compressed(client: Client) -> None:
    table = np.arange(6, dtype=np.int32).reshape(2, 3)
    headers = {"Inference-Header-Content-Length": "0", "Content-Encoding": "gzip"}
    reply = client.post("/v2/models/fixed/infer", gzip.compress(table.tobytes()), headers)
    assert same(reply.outputs()["y"], table)


def test_what_is_not_compressed(client: Client) -> None:
    small = np.ones((1, 3), np.float32)
    for reply in (
        client.infer("matrix-FP32", {"x": small}, headers={"Accept-Encoding": "gzip"}),
        client.infer("matrix-FP32", {"x": np.ones((900, 3), np.float32)}, headers={"Accept-Encoding": "identity, br"}),
        client.infer("matrix-FP32", {"x": np.ones((900, 3), np.float32)}, headers={"Accept-Encoding": "gzip;q=0"}),
        client.infer("matrix-FP32", {"x": small}, headers={"Content-Encoding": "identity"}),
    ):
        assert "content-encoding" not in reply.headers
        assert reply.outputs()["y"].size


def test_a_coding_that_is_unknown(client: Client) -> None:
    reply = client.infer("matrix-FP32", {"x": np.ones((1, 3), np.float32)}, headers={"Content-Encoding": "br"})
    assert reply.status == 501
    assert reply.headers["accept-encoding"] == "gzip, deflate"


def test_a_body_that_is_not_what_its_coding_says(client: Client) -> None:
    for coding in PACK:
        reply = client.post("/v2/models/matrix-FP32/infer", json.dumps({}).encode(), {"Content-Encoding": coding})
        assert reply.status == 400
        assert client.infer("matrix-FP32", {"x": np.ones((1, 3), np.float32)}).status == 200
