"""Runs of a model: what fails in them, what ends them, and several at once."""

from __future__ import annotations

import re
import threading
from typing import Any

import numpy as np
import onnx
import pytest
from models.onnx.loader import Loader
from onnx import TensorProto, helper

from gateway.core.errors import DeadlineExceeded, InvalidArgument, SluiceError, Unavailable

F = TensorProto.FLOAT


def pair(op: str, second: int, **attributes: Any) -> Any:
    return (
        [helper.make_node(op, ["a", "b"], ["y"], **attributes)],
        [("a", F, [None, None]), ("b", second, [None] if second != F else [None, None])],
        [("y", F, None)],
    )


A = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("model", "b", "reason"),
    [
        (pair("Add", F), np.zeros((4, 5), np.float32), "broadcast"),
        (pair("MatMul", F), np.zeros((4, 5), np.float32), "dimension mismatch"),
        (pair("Gather", TensorProto.INT64), np.array([7]), "idx=7 must be within the inclusive range"),
        (pair("Reshape", TensorProto.INT64), np.array([7]), "cannot be reshaped"),
        (pair("Concat", F, axis=0), np.zeros((4, 5), np.float32), "dimension"),
        (pair("Expand", TensorProto.INT64), np.array([5, 5, 5]), "broadcast|dimension|shape|expand"),
        (pair("Add", F), np.zeros(4, np.float32), "Invalid rank for input: b"),
        (pair("Add", F), np.zeros((4, 5)), "Unexpected input data type"),
    ],
)
def test_what_the_data_caused(load: Loader, model: Any, b: np.ndarray, reason: str) -> None:
    loaded = load(load.make.model(*model))
    with pytest.raises(InvalidArgument, match=f"(?i){reason}") as caught:
        loaded.run({"a": A, "b": b}, ["y"])
    message = caught.value.message
    assert not re.search(r"/\w+/", message)
    assert "onnxruntime" not in message
    assert "ONNXRuntimeError" not in message
    with pytest.raises(SluiceError):
        loaded.run({"a": A}, ["y"])


def test_strings_that_are_not_unicode(load: Loader) -> None:
    loaded = load(load.make.identity(TensorProto.STRING, ["N"]))
    with pytest.raises(InvalidArgument, match="Unicode"):
        loaded.run({"x": np.array(["\udc80"], object)}, ["y"])


def long_loop(make: Any) -> onnx.ModelProto:
    """x + 1, a hundred million times."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["v", "one"], ["v_out"]),
            helper.make_node("Identity", ["c"], ["c_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", F, [1]),
        ],
        [
            helper.make_tensor_value_info("c_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_out", F, [1]),
        ],
    )
    return make.model(
        [helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)],
        [("x", F, [1]), ("n", TensorProto.INT64, [])],
        [("y", F, [1])],
        {"one": np.ones(1, np.float32)},
    )


def test_terminate(load: Loader) -> None:
    model = load(long_loop(load.make))
    x = np.zeros(1, np.float32)
    assert model.run({"x": x, "n": np.array(3)}, ["y"])[0].tolist() == [3]
    options = model.run_options()
    timer = threading.Timer(0.05, lambda: setattr(options, "terminate", True))
    timer.start()
    with pytest.raises(DeadlineExceeded):
        model.run({"x": x, "n": np.array(100_000_000)}, ["y"], options)
    timer.join()
    assert model.run({"x": x, "n": np.array(3)}, ["y"])[0].tolist() == [3]


def test_closed(load: Loader) -> None:
    model = load(load.make.linear())
    run = model.run
    model.close()
    with pytest.raises(Unavailable):
        run({"x": np.zeros((1, 4), np.float32)}, ["y"])


def test_many_threads_at_once(load: Loader) -> None:
    model = load(load.make.linear())
    wrong = []

    def work(seed: int) -> None:
        x = np.random.default_rng(seed).normal(size=(seed % 5 + 1, 4)).astype(np.float32)
        expected = model.run({"x": x}, ["y"])[0]
        answers = [model.run({"x": x}, ["y"])[0] for _ in range(300)]
        wrong.extend(answer for answer in answers if not np.allclose(answer, expected))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
