"""onnxruntime alone, on the core that it is started on: a line of JSON in, a line of JSON out.

{"model": path, "rows": n, "seconds": s}              → {"rate": rows/s, "cpu": µs a row}, runs of n rows
{"model": path, "request": path, "seconds": s}        → the same a request, decoding that JSON each time
{"model": path, "request": path, "seconds": 0}        → {"answer": [[…], …]}, the outputs as flat lists
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime


class Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Request(msgspec.Struct):
    inputs: list[Tensor]


@functools.cache
def session(path: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])


def rate(step: Callable[[], object], seconds: float, rows: int = 1) -> dict[str, float]:
    """Rows a second, and CPU in µs a row, of calls over `rows` rows."""
    step()
    count, began, used = 0, time.perf_counter(), time.process_time()
    while (passed := time.perf_counter() - began) < seconds:
        step()
        count += rows
    return {"rate": count / passed, "cpu": (time.process_time() - used) / count * 1e6}


def answer(order: dict[str, Any]) -> dict[str, Any]:
    model = session(order["model"])
    name, shape = model.get_inputs()[0].name, model.get_inputs()[0].shape
    names = [output.name for output in model.get_outputs() if output.type.startswith("tensor")]
    if "request" not in order:
        rows = order["rows"]
        x = np.random.default_rng(0).random((rows, *shape[1:]), dtype=np.float32)
        return rate(lambda: model.run(None, {name: x}), order["seconds"], rows)
    body = Path(order["request"]).read_bytes()
    decoder = msgspec.json.Decoder(Request)

    def predict() -> list[Any]:
        tensor = decoder.decode(body).inputs[0]
        data = np.array(tensor.data, np.float32).reshape(tensor.shape)
        return list(model.run(names, {tensor.name: data}))

    def decode_only() -> None:
        tensor = decoder.decode(body).inputs[0]
        np.array(tensor.data, np.float32).reshape(tensor.shape)

    if order.get("decode") == "limit":
        return rate(decode_only, order["seconds"])
    if order.get("decode") == "sluice":
        from gateway.codecs.body import decode

        return rate(lambda: decode(body, None, "", "", None), order["seconds"])
    if not order["seconds"]:
        return {"answer": [output.ravel().tolist() for output in predict()]}
    return rate(predict, order["seconds"])


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
