"""The models of the load tests, and the requests that are sent to them.

T   gradient boosting over 30 features, two versions, as skl2onnx writes it: a run takes microseconds
M   an MLP of 30, five times 2048, and 2 units, 67 MB: batching is worth much
C   a convnet over [n, 1, 28, 28]: batching is worth nothing
I   a convnet over [1, 3, 224, 224]: the request is large

`python -m loadtests.models DIR` makes all of them.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, helper, numpy_helper

Array = npt.NDArray[np.float32]

#: what onnxruntime of any recent year reads
_OPSET: Final = 17
_IR: Final = 8


def make(folder: Path) -> None:
    """Writes two repositories, ``tree`` with T alone and ``nets`` with the others, unless they are there."""
    if (folder / "complete").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    for version, seed in (("1", 1), ("2", 2)):
        _write(folder / "tree" / "T" / version, _tree(seed))
    nets = folder / "nets"
    _write(nets / "M" / "1", mlp(0))
    convnet = _convnet(("n", 1, 28, 28), channels=(64, 160, 160), strides=(1, 2, 1))
    _write(nets / "C" / "1", convnet)
    _write(nets / "C_unbatched" / "1", convnet)
    (nets / "C_unbatched" / "config.pbtxt").write_text("max_batch_size: 0\n")
    _write(nets / "I" / "1", _convnet((1, 3, 224, 224), channels=(32, 64, 96), strides=(2, 2, 1)))
    _write_requests(folder)
    (folder / "complete").touch()


def _write(folder: Path, model: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model)


def _tree(seed: int) -> bytes:
    from skl2onnx import to_onnx
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier

    features, classes = load_breast_cancer(return_X_y=True)
    features = features.astype(np.float32)
    model = GradientBoostingClassifier(random_state=seed, subsample=0.9).fit(features, classes)
    return bytes(to_onnx(model, features[:1]).SerializeToString())


def mlp(seed: int, bias: float = 0.0) -> bytes:
    """M: five layers of 2048; `bias` is added to both outputs, so that versions can be told apart."""
    random = np.random.default_rng(seed)
    widths = (30, 2048, 2048, 2048, 2048, 2048, 2)
    nodes, weights, name = [], [], "x"
    for layer, (wide, high) in enumerate(itertools.pairwise(widths)):
        last = layer == len(widths) - 2
        matrix = random.standard_normal((wide, high), dtype=np.float32) * np.float32(wide**-0.5)
        offset = np.full(high, bias if last else 0.01, np.float32)
        weights += [
            numpy_helper.from_array(matrix, f"w{layer}"),
            numpy_helper.from_array(offset, f"b{layer}"),
        ]
        nodes.append(helper.make_node("Gemm", [name, f"w{layer}", f"b{layer}"], [f"g{layer}"]))
        name = "y" if last else f"r{layer}"
        nodes.append(helper.make_node("Identity" if last else "Relu", [f"g{layer}"], [name]))
    return _model(nodes, weights, ("n", 30), ("n", 2))


def _convnet(shape: tuple[Any, ...], channels: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    random = np.random.default_rng(0)
    nodes, weights, name, depth = [], [], "x", shape[1]
    for layer, (wide, stride) in enumerate(zip(channels, strides, strict=True)):
        kernel = random.standard_normal((wide, depth, 3, 3), dtype=np.float32) * np.float32((9 * depth) ** -0.5)
        weights.append(numpy_helper.from_array(kernel, f"w{layer}"))
        nodes.append(
            helper.make_node(
                "Conv",
                [name, f"w{layer}"],
                [f"c{layer}"],
                kernel_shape=[3, 3],
                pads=[1] * 4,
                strides=[stride] * 2,
            )
        )
        name, depth = f"r{layer}", wide
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [name]))
    last = random.standard_normal((depth, 10), dtype=np.float32) * np.float32(depth**-0.5)
    weights.append(numpy_helper.from_array(last, "w"))
    nodes += [
        helper.make_node("GlobalAveragePool", [name], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    return _model(nodes, weights, shape, (shape[0], 10))


def _model(nodes: list[Any], weights: list[Any], shape: tuple[Any, ...], answer: tuple[Any, ...]) -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, answer)
    graph = helper.make_graph(nodes, "graph", [x], [y], weights)
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = _IR
    return bytes(model.SerializeToString())


def row(model: str) -> Array:
    """The input of one request."""
    if model == "T":
        from sklearn.datasets import load_breast_cancer

        return np.asarray(load_breast_cancer().data[:1], np.float32)
    shape = {"M": (1, 30), "C": (1, 1, 28, 28), "I": (1, 3, 224, 224)}[model]
    return np.random.default_rng(7).random(shape, dtype=np.float32)


def _write_requests(folder: Path) -> None:
    """``requests/<model>.json``, and for images ``<model>.bin`` with the tensor as raw bytes behind its JSON."""
    requests = folder / "requests"
    requests.mkdir()
    for model in ("T", "M", "C", "I"):
        array = row(model)
        tensor = {"name": "X" if model == "T" else "x", "shape": array.shape, "datatype": "FP32"}
        body = {"inputs": [{**tensor, "data": array.ravel().tolist()}]}
        (requests / f"{model}.json").write_text(json.dumps(body))
        if model in "CI":
            head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": array.nbytes}}]})
            (requests / f"{model}.bin").write_bytes(head.encode() + array.tobytes())
            (requests / f"{model}.bin.head").write_text(str(len(head)))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
