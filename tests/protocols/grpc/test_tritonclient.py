"""Triton's own gRPC client as it is installed, against a whole server. It shares this process with our messages."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc as triton
from gateways import Server
from tritonclient.utils import InferenceServerException, shared_memory

ROWS = np.array([[1, 2, 3, 4], [-1, 0.5, 0, 8]], np.float32)


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.grpc) as client:
        yield client


def given(name: str, kind: str, array: Any) -> triton.InferInput:
    tensor = triton.InferInput(name, array.shape, kind)
    tensor.set_data_from_numpy(array)
    return tensor


def rows() -> list[triton.InferInput]:
    return [given("x", "FP32", ROWS)]


# ---- health and metadata


def test_health(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("affine")
    assert client.is_model_ready("affine", "2")
    assert not client.is_model_ready("affine", "3")
    assert not client.is_model_ready("none")


def test_metadata(server: Server, client: triton.InferenceServerClient) -> None:
    found = client.get_server_metadata(as_json=True)
    assert found["name"] == "sluice"
    assert {"binary_tensor_data", "model_repository", "statistics", "system_shared_memory"} <= {*found["extensions"]}
    assert client.get_model_metadata("affine", as_json=True) == {
        "name": "affine",
        "versions": ["1", "2"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": ["-1", "4"]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": ["-1", "4"]}],
    }
    assert list(client.get_model_metadata("affine", "2").versions) == ["2"]
    config = client.get_model_config("affine", "1").config
    assert (config.backend, config.version_policy.WhichOneof("policy_choice")) == ("onnxruntime", "all")
    assert config.input[0].data_type == 11
    with pytest.raises(InferenceServerException, match="Request for unknown model: 'none'") as failure:
        client.get_model_metadata("none")
    assert failure.value.status() == "StatusCode.NOT_FOUND"


def test_statistics(client: triton.InferenceServerClient) -> None:
    (before,) = client.get_inference_statistics("affine", "1").model_stats
    client.infer("affine", rows(), model_version="1")
    (after,) = client.get_inference_statistics("affine", "1").model_stats
    assert after.inference_count == before.inference_count + 2
    assert after.execution_count == before.execution_count + 1
    for step in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        assert getattr(after.inference_stats, step).count == getattr(before.inference_stats, step).count + 1
    assert after.inference_stats.success.ns > before.inference_stats.success.ns
    assert 2 in [batch.batch_size for batch in after.batch_stats]
    assert after.last_inference > 1_600_000_000_000
    everything = client.get_inference_statistics().model_stats
    assert {("affine", "1"), ("affine", "2"), ("two", "1")} <= {(each.name, each.version) for each in everything}


def test_log_settings(client: triton.InferenceServerClient) -> None:
    def told(found: Any) -> dict[str, Any]:
        return {n: getattr(v, v.WhichOneof("parameter_choice")) for n, v in found.settings.items()}

    before = told(client.get_log_settings())
    changed = told(client.update_log_settings({"log_verbose_level": 1, "log_info": False}))
    assert changed == {**before, "log_verbose_level": 1, "log_info": False}
    assert told(client.update_log_settings(before)) == before
    with pytest.raises(InferenceServerException, match="unknown log setting 'x'"):
        client.update_log_settings({"x": True})


def test_trace_settings(client: triton.InferenceServerClient) -> None:
    found = client.get_trace_settings(as_json=True)["settings"]
    assert found["trace_level"] == {"value": ["OFF"]}
    assert client.get_trace_settings("affine", as_json=True)["settings"] == found
    with pytest.raises(InferenceServerException, match=r"setting 'tracing\.endpoint' turns it on") as failure:
        client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]})
    assert failure.value.status() == "StatusCode.PERMISSION_DENIED"


# ---- the repository


def test_index(client: triton.InferenceServerClient) -> None:
    index = {(each.name, each.version): each.state for each in client.get_model_repository_index().models}
    assert index["affine", "2"] == "READY"


def test_unload_and_load(client: triton.InferenceServerClient) -> None:
    try:
        client.unload_model("spare", unload_dependents=True)
        assert not client.is_model_ready("spare")
        (entry,) = [each for each in client.get_model_repository_index().models if each.name == "spare"]
        assert entry.state == "UNAVAILABLE"
        with pytest.raises(InferenceServerException) as failure:
            client.infer("spare", rows())
        assert failure.value.status() in ("StatusCode.NOT_FOUND", "StatusCode.UNAVAILABLE")
    finally:
        client.load_model("spare")
    assert client.infer("spare", rows()).as_numpy("y")[0, 0] == 5


def test_load_with_a_config_and_files(server: Server, client: triton.InferenceServerClient) -> None:
    try:
        client.load_model("spare", config=json.dumps({"max_batch_size": "16"}))
        assert client.get_model_config("spare").config.max_batch_size == 16
        with pytest.raises(InferenceServerException, match="failed to load") as failure:
            client.load_model("spare", config='{"max_batch_size": 16, "sequence_batching": {}}')
        assert failure.value.status() == "StatusCode.INVALID_ARGUMENT"
    finally:
        client.load_model("spare")
    content = (server.models / "affine" / "2" / "model.onnx").read_bytes()
    client.load_model("brought", config="{}", files={"file:7/model.onnx": content})
    try:
        assert list(client.get_model_metadata("brought").versions) == ["7"]
        assert np.array_equal(client.infer("brought", rows()).as_numpy("y"), 3 * ROWS)
    finally:
        client.unload_model("brought")
    assert not client.is_model_ready("brought")


# ---- inference


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_numbers(client: triton.InferenceServerClient, compression: str | None) -> None:
    result = client.infer(
        "affine",
        rows(),
        model_version="1",
        outputs=[triton.InferRequestedOutput("y")],
        request_id="r/1",
        priority=1,
        timeout=9_000_000,
        client_timeout=20,
        compression_algorithm=compression,
        parameters={"mine": "yes"},
    )
    assert np.array_equal(result.as_numpy("y"), 2 * ROWS)
    assert (result.get_response().id, result.get_response().model_version) == ("r/1", "1")


@pytest.mark.parametrize(
    ("kind", "array"),
    [
        ("BYTES", np.array(["a", "ß"], object)),
        ("FP16", np.array([0.5, -2], np.float16)),
        ("BF16", np.array([0.5, -2], ml_dtypes.bfloat16)),
        ("BOOL", np.array([True, False])),
        ("UINT64", np.array([0, 2**64 - 1], np.uint64)),
    ],
)
def test_other_types(client: triton.InferenceServerClient, kind: str, array: Any) -> None:
    found = client.infer(f"echo-{kind}", [given("x", kind, array)]).as_numpy("y")
    expected = np.array([text.encode() for text in array], object) if kind == "BYTES" else array
    assert np.array_equal(found, expected)


def test_async(client: triton.InferenceServerClient) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    for number in range(50):
        client.async_infer("affine", rows(), lambda result, error: answers.put((result, error)), request_id=str(number))
    found = [answers.get(timeout=20) for _ in range(50)]
    assert all(error is None for _, error in found)
    assert {result.get_response().id for result, _ in found} == {str(number) for number in range(50)}


def test_classification(client: triton.InferenceServerClient) -> None:
    wanted = triton.InferRequestedOutput("y", class_count=2)
    result = client.infer("labelled", [given("x", "FP32", np.array([[0.25, 4, 1]], np.float32))], outputs=[wanted])
    assert result.as_numpy("y").tolist() == [[b"4.000000:1:bee", b"1.000000:2:cat"]]


def test_system_shared_memory(client: triton.InferenceServerClient) -> None:
    region = shared_memory.create_shared_memory_region("both", "/test-sluice-grpc", 2 * ROWS.nbytes)
    try:
        shared_memory.set_shared_memory_region(region, [ROWS])
        client.register_system_shared_memory("both", "/test-sluice-grpc", 2 * ROWS.nbytes)
        status = client.get_system_shared_memory_status("both").regions["both"]
        assert (status.name, status.key, status.offset, status.byte_size) == ("both", "/test-sluice-grpc", 0, 64)
        with pytest.raises(InferenceServerException, match="already in manager"):
            client.register_system_shared_memory("both", "/test-sluice-grpc", 1)
        tensor = triton.InferInput("x", ROWS.shape, "FP32")
        tensor.set_shared_memory("both", ROWS.nbytes)
        wanted = triton.InferRequestedOutput("y")
        wanted.set_shared_memory("both", ROWS.nbytes, offset=ROWS.nbytes)
        result = client.infer("affine", [tensor], model_version="2", outputs=[wanted])
        output = result.get_output("y")
        assert output.parameters["shared_memory_region"].string_param == "both"
        assert output.parameters["shared_memory_byte_size"].int64_param == ROWS.nbytes
        assert not result.get_response().raw_output_contents
        written = shared_memory.get_contents_as_numpy(region, np.float32, [4, 4])
        assert np.array_equal(written[2:], ROWS * 3)
        client.unregister_system_shared_memory("both")
        assert not client.get_system_shared_memory_status().regions
        with pytest.raises(InferenceServerException, match="Unable to find shared memory region"):
            client.get_system_shared_memory_status("both")
    finally:
        client.unregister_system_shared_memory()
        shared_memory.destroy_shared_memory_region(region)


def test_there_is_no_cuda(client: triton.InferenceServerClient) -> None:
    assert not client.get_cuda_shared_memory_status().regions
    client.unregister_cuda_shared_memory()
    with pytest.raises(InferenceServerException, match="has no CUDA"):
        client.register_cuda_shared_memory("r", b"aGFuZGxl", 0, 64)
    with pytest.raises(InferenceServerException, match="Unable to find cuda shared memory region"):
        client.get_cuda_shared_memory_status("r")


# ---- streams


def test_a_stream(client: triton.InferenceServerClient) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(100):
        client.async_stream_infer("affine", rows(), request_id=str(number), enable_empty_final_response=True)
    found = [answers.get(timeout=20) for _ in range(100)]
    client.stop_stream()
    assert [result.get_response().id for result, _ in found] == [str(number) for number in range(100)]
    for result, error in found:
        assert error is None
        assert result.get_response().parameters["triton_final_response"].bool_param
        assert np.array_equal(result.as_numpy("y"), 3 * ROWS)


def test_an_error_does_not_end_a_stream(client: triton.InferenceServerClient) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    client.async_stream_infer("none", rows(), request_id="1")
    client.async_stream_infer("affine", rows(), request_id="2")
    _, error = answers.get(timeout=20)
    assert "Request for unknown model" in error.message()
    result, error = answers.get(timeout=20)
    client.stop_stream()
    assert error is None
    assert result.get_response().id == "2"


def test_a_sequence_is_refused(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="not a sequence model"):
        client.infer("affine", rows(), sequence_id=3, sequence_start=True)


def test_headers(guarded: Server) -> None:
    with triton.InferenceServerClient(guarded.grpc) as client:
        with pytest.raises(InferenceServerException, match=r"restricted\.repository") as failure:
            client.load_model("spare")
        assert failure.value.status() == "StatusCode.UNAUTHENTICATED"
        client.load_model("spare", headers={"authorization": "Bearer t0ken"})
