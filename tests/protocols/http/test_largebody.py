"""Bodies that are read into their place: the same answers, limits and order as for small ones."""

import json

import numpy as np
import pytest
from gateways import Server
from rawhttp import Raw, Reply

from .conftest import GOOD  # type: ignore[import-not-found]

ROWS = 20_000
VALUES = np.arange(ROWS * 4, dtype=np.float32).reshape(ROWS, 4)


def binary(values: np.ndarray, padding: int = 0) -> bytes:
    """`padding` moves the blob to where no float is aligned."""
    blob = values.tobytes()
    tensor = {
        "name": "x",
        "shape": list(values.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(blob)},
    }
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode() + b" " * padding
    head = f"Inference-Header-Content-Length: {len(text)}\r\nContent-Length: {len(text) + len(blob)}\r\n\r\n"
    return b"POST /v2/models/affine/infer HTTP/1.1\r\nHost: h\r\n" + head.encode() + text + blob


def text(values: np.ndarray) -> bytes:
    tensor = {"name": "x", "shape": list(values.shape), "datatype": "FP32", "data": values.ravel().tolist()}
    body = json.dumps({"inputs": [tensor]}).encode()
    return b"POST /v2/models/affine/infer HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def doubled(reply: Reply, values: np.ndarray) -> bool:
    assert reply.status == 200, reply.body[:200]
    length = reply.headers.get("inference-header-content-length")
    if length is None:
        return bool(np.array_equal(reply.json["outputs"][0]["data"], values.ravel() * 2))
    return bool(np.array_equal(np.frombuffer(reply.body[int(length) :], np.float32), values.ravel() * 2))


@pytest.mark.parametrize("padding", [0, 1, 2, 3])
def test_each_time_the_answer_is_right(gateway: Server, padding: int) -> None:
    with Raw(gateway.host) as client:
        for turn in range(6):
            values = VALUES + turn
            assert doubled(client.send(binary(values, padding)).reply(), values)


def test_json_too(gateway: Server) -> None:
    values = VALUES[:8_000]
    with Raw(gateway.host) as client:
        for _ in range(5):
            assert doubled(client.send(text(values)).reply(), values)


def test_in_pieces_and_with_the_next_request_at_its_heels(gateway: Server) -> None:
    request = binary(VALUES)
    with Raw(gateway.host) as client:
        for _ in range(3):
            client.send(request).reply()
        client.slowly(request, 50_001)
        assert doubled(client.reply(), VALUES)
        client.send(request + GOOD + request + GOOD + GOOD)
        assert doubled(client.reply(), VALUES)
        assert client.reply().json["outputs"][0]["data"] == [2, 4, 6, 8]
        assert doubled(client.reply(), VALUES)
        assert [client.reply().status for _ in range(2)] == [200, 200]


def test_of_any_size_on_a_connection_that_had_a_large_one(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        for rows in (ROWS, ROWS, 1, 2_000, 1_024, 3, ROWS, 8_190, 1):
            values = VALUES[:rows] + rows
            assert doubled(client.send(binary(values)).reply(), values)
        assert client.send(GOOD).reply().json["outputs"][0]["data"] == [2, 4, 6, 8]
        values = VALUES[:2_000]
        client.send(binary(values) + GOOD + binary(values) + GOOD)
        assert doubled(client.reply(), values)
        assert client.reply().status == 200
        assert doubled(client.reply(), values)
        assert client.reply().status == 200


def test_one_that_stops_coming_is_told_so(gateway: Server) -> None:
    request = binary(VALUES)
    with Raw(gateway.host) as client:
        for _ in range(3):
            client.send(request).reply()
        client.send(request[:20_000])
        reply = client.reply()
        assert reply.status == 408
        assert reply.closes


def test_one_whose_client_goes_away_is_forgotten(gateway: Server) -> None:
    request = binary(VALUES)
    for _ in range(20):
        with Raw(gateway.host) as client:
            client.send(request).reply()
            client.send(request).reply()
            client.send(request[:-1])
    with Raw(gateway.host) as client:
        assert doubled(client.send(request).reply(), VALUES)


def test_a_header_that_is_no_number_is_refused_each_time(gateway: Server) -> None:
    body = b"x" * 300_000
    head = b"POST /v2/models/affine/infer HTTP/1.1\r\nHost: h\r\n"
    head += b"Inference-Header-Content-Length: %s\r\nContent-Length: %d\r\n\r\n"
    for wrong in (b"abc", b"-1", b"9" * 30):
        with Raw(gateway.host) as client:
            for _ in range(4):
                assert client.send(head % (wrong, len(body)) + body).reply().status == 400
