"""ModelStreamInfer: order, errors in the stream, cancellation."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from conformance.oip import NAMES

from gateway import pb

ROWS = np.array([[1, 2, 3, 4]], np.float32)


def message(model: str, array: Any, request_id: str = "", name: str = "x") -> Any:
    found = pb.message("ModelInferRequest")(model_name=model, id=request_id)
    found.inputs.add(name=name, datatype=NAMES[array.dtype], shape=array.shape)
    found.raw_input_contents.append(array.tobytes())
    return found


def laps(count: int, request_id: str = "") -> Any:
    return message("laps", np.array(count, np.int64), request_id, "n")


def rows(request_id: str = "") -> Any:
    return message("affine", ROWS, request_id)


def is_final(reply: Any) -> bool:
    return bool(reply.infer_response.parameters["triton_final_response"].bool_param)


def test_fast_ones_wait_for_slow_ones_before_them(stub: Any) -> None:
    sent = [laps(100, "0"), rows("1"), laps(3, "2"), *(rows(str(number)) for number in range(3, 120))]
    replies = list(stub.stream(sent))
    assert [reply.infer_response.id for reply in replies] == [str(number) for number in range(120)]
    assert all(is_final(reply) and not reply.error_message for reply in replies)


def test_replies_do_not_wait_for_the_end(stub: Any) -> None:
    said: queue.Queue[Any] = queue.Queue()

    def requests() -> Iterator[Any]:
        while (each := said.get()) is not None:
            yield each

    call = stub.stream(requests())
    for number in range(20):
        said.put(rows(str(number)) if number % 3 else laps(1, str(number)))
        assert next(call).infer_response.id == str(number)
    said.put(None)
    assert list(call) == []


def test_errors_travel_in_the_stream(stub: Any) -> None:
    short = rows("short")
    short.raw_input_contents[0] = b"x"
    replies = list(stub.stream([rows("1"), short, b"\xff", message("none", ROWS, "unknown"), laps(-1, "2"), rows("3")]))
    assert [reply.infer_response.id for reply in replies] == ["1", "short", "", "unknown", "2", "3"]
    assert "unexpected size for input 'x'" in replies[1].error_message
    assert "failed to parse the request" in replies[2].error_message
    assert "Request for unknown model: 'none'" in replies[3].error_message
    assert all(is_final(reply) for reply in replies)
    assert not replies[5].error_message


def test_errors_end_the_stream_where_the_client_asked_for_that(stub: Any) -> None:
    sent = [rows("1"), message("none", ROWS), rows("3")]
    call = stub.stream(sent, metadata=(("triton_grpc_error", "true"),))
    assert next(call).infer_response.id == "1"
    with pytest.raises(grpc.RpcError) as failure:
        next(call)
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND
    slow = stub.stream([laps(10, "1"), message("none", ROWS)], metadata=(("triton_grpc_error", "true"),))
    with pytest.raises(grpc.RpcError, match="unknown model"):
        list(slow)


def test_a_stream_of_nothing(stub: Any) -> None:
    assert list(stub.stream([])) == []


def test_what_waits_in_the_queue_of_a_cancelled_stream_never_runs(stub: Any) -> None:
    before = counted(stub)
    call = stub.stream([laps(2000, "a"), *(laps(1, str(number)) for number in range(20))])
    stub.await_pending("laps", 20)
    call.cancel()
    after = settled(stub, before, 21)
    assert after["executions"] == before["executions"] + 1
    assert after["failed"] == before["failed"] + 20


def test_what_waits_in_the_queue_of_a_cancelled_call_never_runs(stub: Any) -> None:
    before = counted(stub)
    slow = stub.begin("ModelInfer", **fields(laps(2000)))
    waiting = [stub.begin("ModelInfer", **fields(laps(1))) for _ in range(10)]
    stub.await_pending("laps", 10)
    expiring = stub.begin("ModelInfer", timeout=0.05, **fields(laps(1)))
    with pytest.raises(grpc.RpcError) as failure:
        expiring.result()
    assert failure.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    for each in waiting:
        each.cancel()
    assert slow.result().model_name == "laps"
    after = settled(stub, before, 12)
    assert after["executions"] == before["executions"] + 1
    assert after["failed"] == before["failed"] + 11


def test_a_time_limit_of_the_request(stub: Any) -> None:
    # whichever of the two comes to the model first, the other waits behind it for about a second
    slow = stub.begin("ModelInfer", **fields(laps(4000)))
    between = stub.begin("ModelInfer", **fields(laps(4000)))
    stub.await_pending("laps", 1)
    hasty = laps(1)
    hasty.parameters["timeout"].int64_param = 1000
    status, details = stub.refused("ModelInfer", hasty.SerializeToString())
    assert (status, details) == ("UNAVAILABLE", "Request timeout expired")
    assert slow.result().id == between.result().id == ""


def fields(request: Any) -> dict[str, Any]:
    return {field.name: value for field, value in request.ListFields()}


def counted(stub: Any) -> dict[str, int]:
    (found,) = stub("ModelStatistics", name="laps").model_stats
    return {
        "executions": found.execution_count,
        "succeeded": found.inference_stats.success.count,
        "failed": found.inference_stats.fail.count,
    }


def settled(stub: Any, before: dict[str, int], least: int) -> dict[str, int]:
    """Once so many more requests have ended."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        now = counted(stub)
        if sum(now[n] - before[n] for n in ("succeeded", "failed")) >= least:
            return now
    raise AssertionError(f"{now} after {before}")
