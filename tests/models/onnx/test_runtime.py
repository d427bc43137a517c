from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models.onnx.loader import Loader
from onnx import TensorProto, helper

from gateway.core.errors import InvalidArgument
from gateway.core.tensor import BFLOAT16, DATA_TYPES
from gateway.models.config import ModelConfig, TensorConfig, Threading
from gateway.models.onnx import Runtime

F = TensorProto.FLOAT
FP32 = DATA_TYPES["FP32"]
rng = np.random.default_rng(0)


def values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    dtype = DATA_TYPES[name].dtype
    if name == "BYTES":
        return np.array([f"ü{i}\0" for i in range(int(np.prod(shape)))], object).reshape(shape)
    if name == "BF16":
        return rng.integers(0, 2**16, shape).astype("<u2").view(BFLOAT16).reshape(shape)
    return np.asarray(rng.integers(0, 100, shape)).astype(dtype)


@pytest.mark.parametrize("name", DATA_TYPES)
@pytest.mark.parametrize("shape", [(3, 2), (0, 2), ()])
def test_every_type(load: Loader, name: str, shape: tuple[int, ...]) -> None:
    model = load(load.make.identity(DATA_TYPES[name].onnx, ["N", *shape[1:]] if shape else []))
    assert model.signature.inputs["x"].datatype.name == name
    assert model.signature.outputs["y"].shape == ((-1, 2) if shape else ())
    x = np.asarray(values(name, shape))
    (y,) = model.run({"x": x}, ["y"])
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    assert y.tolist() == x.tolist()
    if shape:
        wide = values(name, (4, 6))
        for view in (wide[:, ::3], wide.T[:, :2], wide[::-1, 4:]):
            (y,) = model.run({"x": view}, ["y"])
            assert y.tolist() == view.tolist()


def test_bfloat16_beside_other_types(load: Loader) -> None:
    nodes = [
        helper.make_node("Identity", ["a"], ["b"]),
        helper.make_node("Identity", ["f"], ["g"]),
        helper.make_node("Constant", [], ["s"], value_strings=["x", "ü"]),
    ]
    inputs = [("a", TensorProto.BFLOAT16, ["N"]), ("f", F, ["N"])]
    outputs = [("b", TensorProto.BFLOAT16, ["N"]), ("g", F, ["N"]), ("s", TensorProto.STRING, [2])]
    model = load(load.make.model(nodes, inputs, outputs))
    a, f = values("BF16", (3,)), values("FP32", (3,))
    s, b, g = model.run({"a": a, "f": f}, ["s", "b", "g"])
    assert (s.tolist(), b.tolist(), g.tolist()) == (["x", "ü"], a.tolist(), f.tolist())

    inputs.append(("t", TensorProto.STRING, ["N"]))
    with pytest.raises(InvalidArgument, match="input 't' is BYTES beside BF16"):
        load(load.make.model(nodes, inputs, outputs))


def test_outputs_in_the_order_asked_for(load: Loader) -> None:
    model = load(
        load.make.model(
            [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Abs", ["x"], ["b"])],
            [("x", F, ["N"])],
            [("a", F, ["N"]), ("b", F, ["N"])],
        )
    )
    x = np.array([1, -2], np.float32)
    assert [y.tolist() for y in model.run({"x": x}, ("b", "a"))] == [[1, 2], [-1, 2]]
    assert [y.tolist() for y in model.run({"x": x}, ["a"], model.run_options())] == [[-1, 2]]


def test_an_output_that_is_left_out(load: Loader) -> None:
    node = helper.make_node("Dropout", ["x"], ["y", ""])
    model = load(load.make.model([node], [("x", F, ["N"])], [("y", F, ["N"])]))
    assert model.signature.output_names == ("y",)


@pytest.mark.parametrize("kind", ["sequence", "optional", "float8", "output"])
def test_types_that_no_protocol_carries(load: Loader, kind: str) -> None:
    tensor = helper.make_tensor_type_proto(F, ["N"])
    types = {
        "sequence": helper.make_sequence_type_proto(tensor),
        "optional": helper.make_optional_type_proto(tensor),
        "float8": helper.make_tensor_type_proto(TensorProto.FLOAT8E4M3FN, ["N"]),
    }
    model = load.make.identity(F, ["N"], opset=20)
    if kind == "output":
        model.graph.node[0].CopyFrom(helper.make_node("SequenceConstruct", ["x"], ["y"]))
        model.graph.output[0].type.CopyFrom(types["sequence"])
        expected = r"output 'y' is of the type seq\(tensor\(float\)\)"
    else:
        model.graph.input[0].type.CopyFrom(types[kind])
        model.graph.output[0].type.CopyFrom(types[kind])
        expected = "input 'x' is of the type"
    with pytest.raises(InvalidArgument, match=expected):
        load(model)


def test_shapes(load: Loader) -> None:
    model = load.make.model(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        [("a", F, ["N", None, 3]), ("b", F, [])],
        [("y", F, None)],
    )
    signature = load(model).signature
    assert [spec.shape for spec in signature.inputs.values()] == [(-1, -1, 3), ()]
    assert signature.outputs["y"].shape == (-1, -1, 3)
    assert not signature.batched


def test_an_input_of_any_rank_needs_its_dims_declared(load: Loader) -> None:
    model = load.make.model([helper.make_node("Neg", ["x"], ["y"])], [("x", F, None)], [("y", F, None)])
    with pytest.raises(InvalidArgument, match="input 'x' has no shape"):
        load(model)
    signature = load(model, max_batch_size=4, inputs=(TensorConfig("x", FP32, (2, -1)),)).signature
    assert signature.inputs["x"].shape == (-1, 2, -1)
    assert signature.outputs["y"].shape == (-1,)
    assert signature.max_batch_size == 4


def test_optional_inputs_with_a_default_are_not_asked_for(load: Loader) -> None:
    model = load.make.linear()
    model.graph.input.append(helper.make_tensor_value_info("w", F, [4, 3]))
    assert list(load(model).signature.inputs) == ["x"]


@pytest.mark.parametrize(("labels", "expected"), [([0, 1], ()), ([3, 5], ("3", "5")), (["b", "a"], ("a", "b"))])
def test_zipmap_is_served_as_a_tensor(load: Loader, labels: list[Any], expected: tuple[str, ...]) -> None:
    loaded = load(load.make.classifier(labels))
    spec = loaded.signature.outputs["output_probability"]
    assert (spec.datatype.name, spec.shape, spec.labels) == ("FP32", (-1, 2), expected)
    assert loaded.signature.batched
    plain = load(load.make.classifier(labels, {"zipmap": False}))
    x = rng.normal(size=(7, 4)).astype(np.float32)
    mine = loaded.run({"X": x}, loaded.signature.output_names)
    theirs = plain.run({"X": x}, plain.signature.output_names)
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_external_data(runtime: Runtime, make: Any, tmp_path: Path) -> None:
    model = make.linear()
    x = rng.normal(size=(2, 4)).astype(np.float32)
    inside = runtime.load(make.save(model, tmp_path / "a" / "1"), ModelConfig()).run({"x": x}, ["y"])
    loaded = runtime.load(make.external(model, tmp_path / "b" / "1"), ModelConfig())
    np.testing.assert_array_equal(loaded.run({"x": x}, ["y"])[0], inside[0])
    (tmp_path / "b" / "1" / "weights.bin").rename(tmp_path / "b" / "weights.bin")
    (tmp_path / "b" / "1" / "weights.bin").symlink_to("../weights.bin")
    with pytest.raises(InvalidArgument, match="leads out"):
        runtime.load(tmp_path / "b" / "1" / "model.onnx", ModelConfig())


def test_external_data_with_zipmap(runtime: Runtime, make: Any, tmp_path: Path) -> None:
    model = make.model(
        [
            helper.make_node("Gemm", ["x", "w"], ["h"]),
            helper.make_node("Softmax", ["h"], ["p"]),
            helper.make_node("ZipMap", ["p"], ["m"], domain="ai.onnx.ml", classlabels_int64s=[4, 5, 6]),
        ],
        [("x", F, ["N", 64])],
        [],
        {"w": np.ones((64, 3), np.float32)},
    )
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(F, []))
    model.graph.output.append(helper.make_value_info("m", helper.make_sequence_type_proto(kind)))
    loaded = runtime.load(make.external(model, tmp_path / "m" / "1"), ModelConfig())
    assert loaded.run({"x": np.ones((2, 64), np.float32)}, ["m"])[0].shape == (2, 3)


def test_models_that_do_not_load(load: Loader, tmp_path: Path) -> None:
    unknown = load.make.model([helper.make_node("Nope", ["x"], ["y"])], [("x", F, ["N"])], [("y", F, ["N"])])
    missing = load.make.model([helper.make_node("Neg", ["z"], ["y"])], [("x", F, ["N"])], [("y", F, ["N"])])
    for model, reason in ((unknown, "Nope"), (missing, "z"), (load.make.identity(F, ["N"], opset=99), "opset")):
        with pytest.raises(InvalidArgument, match=reason) as caught:
            load(model)
        assert "/" not in caught.value.message
        assert caught.value.message.startswith("model.onnx cannot be loaded: ")
    with pytest.raises(InvalidArgument, match="cannot be read"):
        load.runtime.load(tmp_path / "nothing", ModelConfig())


def test_unknown_provider() -> None:
    with pytest.raises(InvalidArgument, match="'NopeExecutionProvider' is not in this onnxruntime"):
        Runtime(1, ["NopeExecutionProvider"])


def test_own_threads_answer_alike(load: Loader) -> None:
    x = rng.normal(size=(3, 4)).astype(np.float32)
    plain = load(load.make.linear()).run({"x": x}, ["y"])[0]
    own = load(load.make.linear(), threading=Threading(intra_op=2, inter_op=2)).run({"x": x}, ["y"])[0]
    np.testing.assert_allclose(plain, own, rtol=1e-6)
