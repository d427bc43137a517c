"""The model that is tormented: T of the load tests in two versions, and for some records it takes seconds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from loadtests import models

#: a first feature that makes a run slow; real ones are far below
SLOW: Final = 1e6
#: seconds that such a run takes: longer than sessions and leases last here
SECONDS: Final = 2.0
_WIDE: Final = 256
#: rounds of the loop to measure it with
_FEW: Final = 200


def make(folder: Path) -> Path:
    """Returns the repository."""
    models.make(folder)
    tree = folder / "tree"
    first, *others = sorted(tree.glob("T/*/model.onnx"))
    original = first.read_bytes()
    rounds = int(_FEW * SECONDS / _seconds(_slowed(original, _FEW)))
    for path in (first, *others):
        path.write_bytes(_slowed(path.read_bytes(), rounds))
    return tree


def _slowed(model: bytes, rounds: int) -> bytes:
    """The same scores, after a loop of so many rounds where one of the rows is slow."""
    proto = onnx.load_from_string(model)
    graph = proto.graph
    name, late = graph.input[0].name, "late"
    for node in graph.node:
        node.input[:] = [late if each == name else each for each in node.input]
    constants: dict[str, Any] = {
        "first": np.array([0], np.int64), "second": np.array([1], np.int64), "axis": np.array([1], np.int64),
        "limit": np.array(SLOW / 2, np.float32), "one": np.array(1, np.int64), "rounds": np.array(rounds, np.int64),
        "yes": np.array(True), "ones": np.ones((_WIDE, _WIDE), np.float32), "none": np.array(0, np.float32),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Slice", [name, "first", "second", "axis"], ["column"]),
        node("Greater", ["column", "limit"], ["are_slow"]),
        node("Cast", ["are_slow"], ["counted"], to=TensorProto.INT64),
        node("ReduceSum", ["counted"], ["how_many"], keepdims=0),
        node("Min", ["how_many", "one"], ["any"]),
        node("Mul", ["any", "rounds"], ["times"]),
        node("Loop", ["times", "yes", "ones"], ["turned"], body=_body()),
        node("ReduceMax", ["turned"], ["most"], keepdims=0),
        node("Mul", ["most", "none"], ["nothing"]),
        node("Add", [name, "nothing"], [late]),
    ]
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in constants.items())
    return bytes(proto.SerializeToString())


def _body() -> onnx.GraphProto:
    square = (TensorProto.FLOAT, (_WIDE, _WIDE))
    weights = numpy_helper.from_array(np.full((_WIDE, _WIDE), 1 / _WIDE, np.float32), "weights")
    return helper.make_graph(
        [
            helper.make_node("MatMul", ["before", "weights"], ["after"]),
            helper.make_node("Identity", ["go_on"], ["goes_on"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, ()),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("before", *square),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("after", *square),
        ],
        [weights],
    )


def _seconds(model: bytes) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    began = time.perf_counter()
    session.run(None, {session.get_inputs()[0].name: np.full((1, 30), SLOW, np.float32)})
    return time.perf_counter() - began
