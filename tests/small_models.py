"""Models of a node or two, for tests that need a server but no intelligence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: the protocol's types → ONNX's
ELEMENTS = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}

Shape = Sequence[int | str]
#: name → type and shape
Declared = Mapping[str, tuple[str, Shape]]


def model(nodes: Sequence[onnx.NodeProto], inputs: Declared, outputs: Declared) -> bytes:
    def values(declared: Declared) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, ELEMENTS[kind], shape) for name, (kind, shape) in declared.items()]

    graph = helper.make_graph(nodes, "g", values(inputs), values(outputs))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def identity(kind: str, shape: Shape) -> bytes:
    """y = x"""
    return model([helper.make_node("Identity", ["x"], ["y"])], {"x": (kind, shape)}, {"y": (kind, shape)})


def affine(factor: float) -> bytes:
    """y = factor * x, of rows of 4."""
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [factor])
    return model(
        [helper.make_node("Constant", [], ["factor"], value=value), helper.make_node("Mul", ["x", "factor"], ["y"])],
        {"x": ("FP32", ["n", 4])},
        {"y": ("FP32", ["n", 4])},
    )


def laps() -> bytes:
    """Multiplies matrices `n` times, some 0.5 to 1 ms each: a model that takes as long as the client wants."""
    return model(
        [
            helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(np.eye(256, dtype=np.float32))),
            helper.make_node("Loop", ["n", "", "w"], ["r"], body=_lap()),
            helper.make_node("ReduceSum", ["r"], ["y"], keepdims=0),
        ],
        {"n": ("INT64", [])},
        {"y": ("FP32", [])},
    )


def slow(factor: float) -> bytes:
    """y = factor * x, of rows of 4; as many laps as the largest fourth number of a batch says."""
    constants = {
        "factor": np.array([factor], np.float32),
        "w": np.eye(256, dtype=np.float32),
        "fourth": np.array([3], np.int64),
        "nothing": np.array([0], np.float32),
    }
    return model(
        [
            *(
                helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))
                for name, value in constants.items()
            ),
            helper.make_node("Gather", ["x", "fourth"], ["laps"], axis=1),
            helper.make_node("ReduceMax", ["laps"], ["most"], keepdims=0),
            helper.make_node("Cast", ["most"], ["n"], to=TensorProto.INT64),
            helper.make_node("Loop", ["n", "", "w"], ["r"], body=_lap()),
            helper.make_node("ReduceSum", ["r"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["sum", "nothing"], ["zero"]),
            helper.make_node("Mul", ["x", "factor"], ["product"]),
            helper.make_node("Add", ["product", "zero"], ["y"]),
        ],
        {"x": ("FP32", ["n", 4])},
        {"y": ("FP32", ["n", 4])},
    )


def _lap() -> onnx.GraphProto:
    return helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("MatMul", ["s", "w"], ["t"])],
        "lap",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("s", TensorProto.FLOAT, [256, 256]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("t", TensorProto.FLOAT, [256, 256]),
        ],
    )
