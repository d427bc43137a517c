"""Triton's own client as it is installed, against a whole server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as triton
from gateways import Server
from tritonclient.utils import InferenceServerException, serialize_byte_tensor, shared_memory

ROWS = np.array([[1, 2, 3, 4], [-1, 0.5, 0, 8]], np.float32)


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.host, concurrency=4) as client:
        yield client


def given(name: str, kind: str, array: Any, *, binary: bool = True) -> triton.InferInput:
    tensor = triton.InferInput(name, array.shape, kind)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def rows(**how: bool) -> list[triton.InferInput]:
    return [given("x", "FP32", ROWS, **how)]


# ---- health and metadata


def test_health(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("affine")
    assert client.is_model_ready("affine", "2")
    assert not client.is_model_ready("affine", "3")
    assert not client.is_model_ready("none")


def test_metadata(client: triton.InferenceServerClient) -> None:
    server = client.get_server_metadata()
    assert server["name"] == "sluice"
    assert {"binary_tensor_data", "model_repository", "statistics", "system_shared_memory"} <= {*server["extensions"]}
    model = client.get_model_metadata("affine")
    assert model == {
        "name": "affine",
        "versions": ["1", "2"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
    }
    config = client.get_model_config("affine", "1")
    assert config["backend"] == "onnxruntime"
    assert config["version_policy"] == {"all": {}}
    assert config["input"][0]["data_type"] == "TYPE_FP32"


def test_statistics(client: triton.InferenceServerClient) -> None:
    (before,) = client.get_inference_statistics("affine", "1")["model_stats"]
    client.infer("affine", rows(), model_version="1")
    (after,) = client.get_inference_statistics("affine", "1")["model_stats"]
    assert after["inference_count"] == before["inference_count"] + 2
    assert after["execution_count"] == before["execution_count"] + 1
    for step in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        assert after["inference_stats"][step]["count"] == before["inference_stats"][step]["count"] + 1
    assert after["inference_stats"]["success"]["ns"] > before["inference_stats"]["success"]["ns"]
    assert after["inference_stats"]["fail"] == before["inference_stats"]["fail"]
    assert 2 in [batch["batch_size"] for batch in after["batch_stats"]]
    assert after["last_inference"] > 1_600_000_000_000
    everything = client.get_inference_statistics()["model_stats"]
    assert {("affine", "1"), ("affine", "2"), ("text", "1")} <= {(each["name"], each["version"]) for each in everything}


def test_log_settings(client: triton.InferenceServerClient) -> None:
    before = client.get_log_settings()
    changed = client.update_log_settings({"log_verbose_level": 1, "log_info": False})
    assert changed == {**before, "log_verbose_level": 1, "log_info": False}
    assert client.update_log_settings(before) == before


# ---- the repository


def test_index(client: triton.InferenceServerClient) -> None:
    index = client.get_model_repository_index()
    assert {"name": "affine", "version": "2", "state": "READY"} in index


def test_unload_and_load(client: triton.InferenceServerClient) -> None:
    try:
        client.unload_model("spare")
        assert not client.is_model_ready("spare")
        (entry,) = [entry for entry in client.get_model_repository_index() if entry["name"] == "spare"]
        assert entry["state"] == "UNAVAILABLE"
        with pytest.raises(InferenceServerException) as failure:
            client.infer("spare", rows())
        assert failure.value.status() in ("404", "503")
    finally:
        client.load_model("spare")
    assert client.infer("spare", rows()).as_numpy("y")[0, 0] == 5


def test_load_with_a_config(client: triton.InferenceServerClient) -> None:
    try:
        client.load_model("spare", config=json.dumps({"max_batch_size": "16"}))
        assert client.get_model_config("spare")["max_batch_size"] == 16
        with pytest.raises(InferenceServerException, match="failed to load") as failure:
            client.load_model("spare", config='{"max_batch_size": 16, "sequence_batching": {}}')
        assert failure.value.status() == "400"
        assert client.is_model_ready("spare"), "a load that fails leaves what is served as it is"
    finally:
        client.load_model("spare")


def test_load_with_files(server: Server, client: triton.InferenceServerClient) -> None:
    content = (server.models / "affine" / "2" / "model.onnx").read_bytes()
    files = {"file:7/model.onnx": content}
    with pytest.raises(InferenceServerException):
        client.load_model("brought", files=files)
    client.load_model("brought", config="{}", files=files)
    try:
        assert client.get_model_metadata("brought")["versions"] == ["7"]
        assert np.array_equal(client.infer("brought", rows()).as_numpy("y"), 3 * ROWS)
    finally:
        client.unload_model("brought")
    assert not client.is_model_ready("brought")


# ---- inference


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("asked", [True, False])
def test_numbers(client: triton.InferenceServerClient, sent: bool, asked: bool) -> None:
    wanted = [triton.InferRequestedOutput("y", binary_data=asked)]
    result = client.infer(
        "affine", rows(binary=sent), model_version="1", outputs=wanted, request_id="r/1", timeout=9_000_000, priority=1
    )
    assert np.array_equal(result.as_numpy("y"), 2 * ROWS)
    response = result.get_response()
    assert response["id"] == "r/1"
    assert response["model_version"] == "1"
    assert ("data" in result.get_output("y")) != asked


@pytest.mark.parametrize(
    ("kind", "array"),
    [
        ("INT64", np.array([[1 << 62, -5]])),
        ("BOOL", np.array([[True, False], [False, False]])),
        ("BYTES", np.array([["ü", ""], ["a b", "c"]], object)),
    ],
)
@pytest.mark.parametrize("binary", [True, False])
def test_other_types(client: triton.InferenceServerClient, kind: str, array: Any, binary: bool) -> None:
    wanted = [triton.InferRequestedOutput("y", binary_data=binary)]
    found = client.infer(f"echo-{kind}", [given("x", kind, array, binary=binary)], outputs=wanted).as_numpy("y")
    if kind == "BYTES":
        # the client decodes texts of binary replies, and of JSON ones it does not
        texts = [text.decode() if isinstance(text, bytes) else text for text in found.ravel()]
        found = np.array(texts, object).reshape(found.shape)
    assert found.tolist() == array.tolist()


def test_halves(client: triton.InferenceServerClient) -> None:
    halves = np.array([[0.1, -65504]], np.float16)
    assert np.array_equal(client.infer("echo-FP16", [given("x", "FP16", halves)]).as_numpy("y"), halves)
    brains = np.array([[1.5, -2.0]], ml_dtypes.bfloat16)
    assert np.array_equal(client.infer("echo-BF16", [given("x", "BF16", brains)]).as_numpy("y"), brains)


@pytest.mark.parametrize("request_coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response_coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression(
    client: triton.InferenceServerClient, request_coding: str | None, response_coding: str | None, binary: bool
) -> None:
    many = np.arange(4000, dtype=np.float32).reshape(1000, 4)
    result = client.infer(
        "affine",
        [given("x", "FP32", many, binary=binary)],
        model_version="2",
        outputs=[triton.InferRequestedOutput("y", binary_data=binary)],
        request_compression_algorithm=request_coding,
        response_compression_algorithm=response_coding,
    )
    assert np.array_equal(result.as_numpy("y"), 3 * many)


def test_async_infer(client: triton.InferenceServerClient) -> None:
    pending = [client.async_infer("affine", rows(), model_version=str(1 + i % 2)) for i in range(12)]
    for i, each in enumerate(pending):
        assert np.array_equal(each.get_result().as_numpy("y"), (2 + i % 2) * ROWS)
    with pytest.raises(InferenceServerException, match="unknown model"):
        client.async_infer("none", rows()).get_result()


def test_classes(client: triton.InferenceServerClient) -> None:
    table = np.array([[1, 3, 2], [9, 8, 7]], np.float32)
    for binary in (True, False):
        wanted = [triton.InferRequestedOutput("y", class_count=2, binary_data=binary)]
        found = client.infer("labelled", [given("x", "FP32", table)], outputs=wanted).as_numpy("y")
        texts = [text.decode() if isinstance(text, bytes) else text for text in found.ravel()]
        assert found.shape == (2, 2)
        assert texts == ["3.000000:1:bee", "2.000000:2:cat", "9.000000:0:ant", "8.000000:1:bee"]


def test_a_body_made_apart(client: triton.InferenceServerClient) -> None:
    """What users do who send with a client of their own."""
    body, length = triton.InferenceServerClient.generate_request_body(rows())
    headers = {"Inference-Header-Content-Length": str(length)}
    response = client._post("v2/models/affine/versions/2/infer", body, headers, None)
    length = response.get("inference-header-content-length")
    result = triton.InferenceServerClient.parse_response_body(response.read(), header_length=int(length))
    assert np.array_equal(result.as_numpy("y"), 3 * ROWS)


@pytest.mark.parametrize(
    ("model", "version", "inputs", "status", "message"),
    [
        ("none", "", rows(), "404", "Request for unknown model: 'none' is not found"),
        ("affine", "9", rows(), "404", "9"),
        ("affine", "", [given("z", "FP32", ROWS)], "400", "unexpected input 'z'"),
        ("affine", "", [given("x", "FP32", ROWS[:, :3].copy())], "400", "unexpected shape [2, 3] for input 'x'"),
        ("affine", "", [given("x", "INT64", ROWS.astype(np.int64))], "400", "unexpected datatype INT64 for input 'x'"),
        ("affine", "", [], "400", "expected 1 inputs but got 0"),
    ],
)
def test_errors(
    client: triton.InferenceServerClient, model: str, version: str, inputs: Any, status: str, message: str
) -> None:
    with pytest.raises(InferenceServerException) as failure:
        client.infer(model, inputs, model_version=version)
    assert failure.value.status() == status
    assert message in failure.value.message()
    assert client.infer("affine", rows()).as_numpy("y").shape == ROWS.shape


# ---- shared memory


@pytest.fixture
def region() -> Iterator[Any]:
    handle = shared_memory.create_shared_memory_region("both", "/sluice-test-clients", 4 * ROWS.nbytes)
    yield handle
    shared_memory.destroy_shared_memory_region(handle)


def test_system_shared_memory(client: triton.InferenceServerClient, region: Any) -> None:
    size = ROWS.nbytes
    shared_memory.set_shared_memory_region(region, [ROWS], offset=size)
    client.register_system_shared_memory("both", "/sluice-test-clients", 3 * size, offset=size)
    try:
        (status,) = client.get_system_shared_memory_status("both")
        assert status == {"name": "both", "key": "/sluice-test-clients", "offset": size, "byte_size": 3 * size}
        assert client.get_system_shared_memory_status() == [status]
        with pytest.raises(InferenceServerException, match="already in manager"):
            client.register_system_shared_memory("both", "/sluice-test-clients", size)

        tensor = triton.InferInput("x", ROWS.shape, "FP32")
        tensor.set_shared_memory("both", size)
        wanted = triton.InferRequestedOutput("y")
        wanted.set_shared_memory("both", size, offset=size)
        result = client.infer("affine", [tensor], model_version="2", outputs=[wanted])
        assert result.get_output("y")["shape"] == [2, 4]
        written = shared_memory.get_contents_as_numpy(region, np.float32, ROWS.shape, offset=2 * size)
        assert np.array_equal(written, 3 * ROWS)

        wanted.set_shared_memory("both", size - 1)
        with pytest.raises(InferenceServerException, match="shared_memory_byte_size"):
            client.infer("affine", [tensor], outputs=[wanted])
    finally:
        client.unregister_system_shared_memory("both")
    assert client.get_system_shared_memory_status() == []
    with pytest.raises(InferenceServerException, match="Unable to find shared memory region: 'both'"):
        client.infer("affine", [tensor])


def test_texts_in_system_shared_memory(client: triton.InferenceServerClient, region: Any) -> None:
    texts = np.array([["ü", "two words"]], object)
    shared_memory.set_shared_memory_region(region, [serialize_byte_tensor(texts)])
    client.register_system_shared_memory("texts", "/sluice-test-clients", 64)
    try:
        tensor = triton.InferInput("x", [1, 2], "BYTES")
        tensor.set_shared_memory("texts", 4 + 2 + 4 + 9)
        found = client.infer("echo-BYTES", [tensor]).as_numpy("y")
        assert [text.decode() for text in found.ravel()] == ["ü", "two words"]
    finally:
        client.unregister_system_shared_memory()


def test_cuda_shared_memory(client: triton.InferenceServerClient) -> None:
    """There is none, and clients that look first are told so."""
    assert client.get_cuda_shared_memory_status() == []
    client.unregister_cuda_shared_memory()
    client.unregister_cuda_shared_memory("none")
    with pytest.raises(InferenceServerException) as failure:
        client.register_cuda_shared_memory("one", b"handle", 0, 64)
    assert failure.value.status() == "400"


def test_trace_settings(client: triton.InferenceServerClient) -> None:
    found = client.get_trace_settings()
    assert found["trace_level"] == ["OFF"]
    assert found["trace_count"] == "-1"
    assert client.get_trace_settings("affine") == found
    with pytest.raises(InferenceServerException, match=r"setting 'tracing\.endpoint' turns it on") as failure:
        client.update_trace_settings(settings={"trace_level": None, "trace_rate": "5"})
    assert failure.value.status() == "403"
