from __future__ import annotations

from typing import Any

import httpx


def test_what_was_written_and_what_was_derived(server: Any) -> None:
    found = httpx.get(f"{server.rest}/v2/models/affine/versions/1/config").json()
    assert (found["name"], found["platform"], found["backend"]) == (
        "affine",
        "onnxruntime_onnx",
        "onnxruntime",
    )
    assert found["version_policy"] == {"all": {}}
    assert isinstance(found["max_batch_size"], int)
    assert [(each["name"], each["data_type"]) for each in found["input"]] == [("x", "TYPE_FP32")]
    assert [(each["name"], each["data_type"]) for each in found["output"]] == [("y", "TYPE_FP32")]
