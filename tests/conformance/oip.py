"""A client of the Open Inference Protocol made by hand from its documents: nothing of the gateway's own codecs.

BF16 is `ml_dtypes.bfloat16`, BYTES are object arrays of `str`.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

Array = np.ndarray[Any, Any]

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(bool),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(object),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
#: what does not travel in JSON
HALVES = ("FP16", "BF16")


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        length = self.headers.get("inference-header-content-length")
        return json.loads(self.body[: int(length)] if length else self.body)

    @property
    def error(self) -> str:
        return str(self.document["error"])

    def outputs(self) -> dict[str, Array]:
        """By name, in the reply's order, and every byte of the body accounted for."""
        assert self.status == 200, self.body[:500]
        length = self.headers.get("inference-header-content-length")
        binary = self.headers["content-type"] == "application/octet-stream"
        assert binary == (length is not None)
        at = int(length) if length else len(self.body)
        found = {}
        for output in self.document["outputs"]:
            size = output.get("parameters", {}).get("binary_data_size")
            if size is None:
                found[output["name"]] = _from_list(output)
            else:
                assert "data" not in output
                found[output["name"]] = _from_bytes(output, self.body[at : at + size])
                at += size
        assert at == len(self.body)
        return found


class Client:
    """One connection that stays open."""

    def __init__(self, address: str) -> None:
        host, port = address.removeprefix("http://").split(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=60)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._connection.close()

    def get(self, path: str) -> Reply:
        return self._reply("GET", path)

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        return self._reply("POST", path, body, dict(headers))

    def _reply(self, *request: Any) -> Reply:
        self._connection.request(*request)
        response = self._connection.getresponse()
        return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def infer(
        self,
        model: str,
        inputs: Mapping[str, Array],
        *,
        binary: bool | Sequence[str] = False,
        headers: Mapping[str, str] | None = None,
        version: str = "",
        **fields: Any,
    ) -> Reply:
        """`binary`: all inputs, none, or those named. `fields` are further ones of the request's document."""
        body, length = encode(inputs, binary=binary, **fields)
        sent = {"Content-Type": "application/json", **(headers or {})}
        if length is not None:
            sent |= {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(length)}
        path = f"/v2/models/{model}/versions/{version}/infer" if version else f"/v2/models/{model}/infer"
        return self.post(path, body, sent)


def encode(
    inputs: Mapping[str, Array], *, binary: bool | Sequence[str] = False, **fields: Any
) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON where blobs follow it."""
    tensors = []
    blobs = []
    for name, array in inputs.items():
        tensor: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": NAMES[array.dtype]}
        if binary is True or (binary and name in binary):
            blobs.append(to_bytes(array))
            tensor["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            tensor["data"] = array.ravel().tolist()
        tensors.append(tensor)
    text = json.dumps({"inputs": tensors, **fields}).encode()
    return text + b"".join(blobs), len(text) if blobs else None


def to_bytes(array: Array) -> bytes:
    if array.dtype.kind != "O":
        return array.tobytes()
    texts = [text.encode() for text in array.ravel()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def _from_list(output: Mapping[str, Any]) -> Array:
    assert output["datatype"] not in HALVES
    values = np.empty(len(output["data"]), DTYPES[output["datatype"]])
    values[:] = output["data"]
    return values.reshape(output["shape"])


def _from_bytes(output: Mapping[str, Any], blob: bytes) -> Array:
    dtype = DTYPES[output["datatype"]]
    if dtype.kind != "O":
        return np.frombuffer(blob, dtype).reshape(output["shape"])
    texts = []
    at = 0
    while at < len(blob):
        end = at + 4 + int.from_bytes(blob[at : at + 4], "little")
        assert end <= len(blob)
        texts.append(blob[at + 4 : end].decode())
        at = end
    values = np.empty(len(texts), object)
    values[:] = texts
    return values.reshape(output["shape"])


def same(found: Array, expected: Array, *, ulps: int = 0) -> bool:
    """Equal in dtype, in shape and to `ulps` units in the last place of the largest value; NaN equals NaN."""
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return False
    if expected.dtype.kind not in "fV":
        return bool((found == expected).all())
    slack = ulps * float(ml_dtypes.finfo(expected.dtype).eps)
    # BF16 is exact in FP32
    found, expected = (each.astype(np.promote_types(each.dtype, np.float32)) for each in (found, expected))
    finite = np.abs(expected[np.isfinite(expected)])
    largest = float(finite.max()) if finite.size else 0.0
    return bool(np.allclose(found, expected, rtol=slack, atol=slack * largest, equal_nan=True))
