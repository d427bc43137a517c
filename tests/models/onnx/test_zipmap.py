"""ZipMap nodes are taken out of the file, and what they hid is an output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.models.onnx.reader import read_graph


def run(model: bytes, x: np.ndarray) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: x}), strict=True))


@pytest.mark.parametrize("labels", [[0, 1], [3, 5, 9], ["cat", "dog"], ["a", "b", "ü"], [-2, 7]])
def test_zipmap_becomes_its_tensor(tmp_path: Path, make: Any, labels: list[Any]) -> None:
    model = make.classifier(labels)
    graph = read_graph(make.save(model, tmp_path))
    assert [zipmap.classes for zipmap in graph.zipmaps] == [tuple(map(str, labels))]
    spliced = graph.without_zipmap()
    assert spliced is not None
    onnx.checker.check_model(onnx.ModelProto.FromString(spliced))
    x = np.random.default_rng(2).normal(size=(5, 4)).astype(np.float32)
    before, after = run(model.SerializeToString(), x), run(spliced, x)
    assert list(before) == list(after) == ["output_label", "output_probability"]
    assert before["output_label"].tolist() == after["output_label"].tolist()
    rows = [[row[label] for label in labels] for row in before["output_probability"]]
    np.testing.assert_array_equal(after["output_probability"], np.array(rows, np.float32))
    assert read_graph(make.save(onnx.ModelProto.FromString(spliced), tmp_path)).outputs[1].shape == (-1, len(labels))


def test_several_zipmaps_and_a_tensor_with_other_readers(tmp_path: Path, make: Any) -> None:
    model = make.model(
        [
            helper.make_node("Softmax", ["x"], ["p"]),
            helper.make_node("ZipMap", ["p"], ["m1"], domain="ai.onnx.ml", classlabels_int64s=[4, 5]),
            helper.make_node("ZipMap", ["p"], ["m2"], domain="ai.onnx.ml", classlabels_strings=["a", "b"]),
            helper.make_node("Neg", ["p"], ["n"]),
        ],
        [("x", TensorProto.FLOAT, ["N", 2])],
        [("p", TensorProto.FLOAT, ["N", 2]), ("n", TensorProto.FLOAT, ["N", 2])],
    )
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    for name, key in (("m1", TensorProto.INT64), ("m2", TensorProto.STRING)):
        kind = helper.make_map_type_proto(key, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        value = helper.make_value_info(name, helper.make_sequence_type_proto(kind))
        model.graph.output.insert(1, value)
    spliced = read_graph(make.save(model, tmp_path)).without_zipmap()
    assert spliced is not None
    out = run(spliced, np.array([[1, 2], [3, 1]], np.float32))
    assert list(out) == ["p", "m2", "m1", "n"]
    for name in ("m1", "m2"):
        np.testing.assert_array_equal(out[name], out["p"])
    np.testing.assert_array_equal(out["n"], -out["p"])


def test_a_zipmap_that_is_read_inside_the_graph_stays(tmp_path: Path, make: Any) -> None:
    model = make.classifier([0, 1])
    model.graph.node.append(helper.make_node("Identity", ["output_probability"], ["again"]))
    assert read_graph(make.save(model, tmp_path)).zipmaps == ()


def test_no_zipmap_nothing_to_do(tmp_path: Path, make: Any) -> None:
    assert read_graph(make.save(make.linear(), tmp_path)).without_zipmap() is None


def test_splicing_keeps_weights(tmp_path: Path, make: Any) -> None:
    model = make.classifier([0, 1])
    weight = np.arange(200_000, dtype=np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "big"))
    spliced = read_graph(make.save(model, tmp_path)).without_zipmap()
    assert spliced is not None
    after = onnx.ModelProto.FromString(spliced)
    np.testing.assert_array_equal(numpy_helper.to_array(after.graph.initializer[-1]), weight)
    assert after.opset_import == model.opset_import
