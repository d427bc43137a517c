"""What a model's config declares of its tensors, held against its graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models.onnx.loader import Loader
from onnx import TensorProto, helper

from gateway.core.errors import InvalidArgument
from gateway.core.tensor import DATA_TYPES
from gateway.models.config import TensorConfig

F = TensorProto.FLOAT


FP32 = DATA_TYPES["FP32"]


def test_batched_by_its_shapes_and_the_probe(load: Loader) -> None:
    signature = load(load.make.linear()).signature
    assert (signature.batched, signature.max_batch_size) == (True, 0)


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Softmax", ["x"], ["y"], axis=0),
        helper.make_node("CumSum", ["x", "zero"], ["y"]),
        helper.make_node("LpNormalization", ["x"], ["y"], axis=0),
        helper.make_node("RandomUniformLike", ["x"], ["y"]),
        helper.make_node("Reshape", ["x", "flat"], ["y"]),
        helper.make_node("Reshape", ["x", "pair"], ["y"]),
    ],
    ids=lambda node: f"{node.op_type}-{node.input[-1]}",
)
def test_rows_that_depend_on_each_other(load: Loader, node: Any) -> None:
    weights = {"zero": np.array(0), "flat": np.array([-1, 2]), "pair": np.array([-1, 8])}
    used = {name: value for name, value in weights.items() if name in node.input}
    signature = load(load.make.model([node], [("x", F, ["N", 4])], [("y", F, [None, None])], used)).signature
    assert not signature.batched
    assert signature.inputs["x"].shape == (-1, 4)
    assert signature.max_batch_size == 0


def test_a_fixed_first_dimension(load: Loader) -> None:
    signature = load(load.make.linear(rows=1)).signature
    assert not signature.batched
    assert signature.inputs["x"].shape == (1, 4)
    with pytest.raises(InvalidArgument, match="'max_batch_size' is 8, but input 'x' has the shape"):
        load(load.make.linear(rows=1), max_batch_size=8)


def test_declared_batching(load: Loader) -> None:
    wishes = {"inputs": (TensorConfig("x", FP32, (4,)),), "outputs": (TensorConfig("y", FP32, (3,)),)}
    signature = load(load.make.linear(), max_batch_size=8, **wishes).signature
    assert (signature.batched, signature.max_batch_size) == (True, 8)
    assert signature.inputs["x"].shape == (-1, 4)
    whole = load(load.make.linear(), max_batch_size=0, inputs=(TensorConfig("x", FP32, (5, 4)),)).signature
    assert (whole.batched, whole.inputs["x"].shape) == (False, (5, 4))


@pytest.mark.parametrize(
    ("field", "wish", "reason"),
    [
        ("inputs", TensorConfig("z", FP32, (4,)), "field 'input' names 'z', the model's inputs are 'x'"),
        ("outputs", TensorConfig("z", FP32, (4,)), "field 'output' names 'z', the model's outputs are 'y'"),
        ("inputs", TensorConfig("x", DATA_TYPES["FP64"], (4,)), "'data_type' of input 'x' is FP64, the model has FP32"),
        ("inputs", TensorConfig("x", FP32, (5,)), "'dims' of input 'x' is [5], the model has [4]"),
        ("inputs", TensorConfig("x", FP32, (-1,)), "'dims' of input 'x' is [-1], the model has [4]"),
        ("inputs", TensorConfig("x", FP32, (4, 1)), "'dims' of input 'x' is [4, 1], the model has [4]"),
        ("outputs", TensorConfig("y", FP32, (3,), reshape=(3, 1)), "'reshape' of output 'y' is [3, 1]"),
    ],
)
def test_declarations_that_do_not_fit(load: Loader, field: str, wish: TensorConfig, reason: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        load(load.make.linear(), max_batch_size=8, **{field: (wish,)})
    assert reason in caught.value.message


def test_only_declared_outputs_are_served(load: Loader) -> None:
    config = {"outputs": (TensorConfig("output_probability", FP32, (2,)),), "max_batch_size": 4}
    assert load(load.make.classifier([0, 1]), **config).signature.output_names == ("output_probability",)


def test_reshape(load: Loader) -> None:
    model = load.make.model(
        [helper.make_node("Neg", ["x"], ["y"])], [("x", F, ["N", "K", 2])], [("y", F, ["N", "K", 2])]
    )
    wishes = {
        "inputs": (TensorConfig("x", FP32, (-1,), reshape=(-1, 2)),),
        "outputs": (TensorConfig("y", FP32, (2, -1), reshape=(-1, 2)),),
    }
    with pytest.raises(InvalidArgument, match=r"'dims' of input 'x' is"):
        load(model, max_batch_size=4, inputs=(TensorConfig("x", FP32, (-1,)),))
    wishes["inputs"] = (TensorConfig("x", FP32, (1, -1, 2), reshape=(-1, 2)),)
    loaded = load(model, max_batch_size=4, **wishes)
    assert loaded.signature.inputs["x"].shape == (-1, 1, -1, 2)
    assert loaded.signature.outputs["y"].shape == (-1, 2, -1)
    x = np.arange(12, dtype=np.float32).reshape(2, 1, 3, 2)
    (y,) = loaded.run({"x": x}, ["y"])
    assert y.shape == (2, 2, 3)
    assert y.ravel().tolist() == (-x).ravel().tolist()


def test_reshape_to_a_scalar_per_row(load: Loader) -> None:
    model = load.make.identity(F, ["N"])
    wish = (TensorConfig("x", FP32, (1,), reshape=()),)
    loaded = load(model, max_batch_size=4, inputs=wish)
    assert loaded.run({"x": np.ones((3, 1), np.float32)}, ["y"])[0].shape == (3,)


def test_labels_from_a_file(load: Loader, tmp_path: Path) -> None:
    load.folder.mkdir()
    (load.folder / "names.txt").write_text("cat\r\ndög\n\nlast\n", encoding="utf-8")
    wish = (TensorConfig("y", FP32, (3,), label_file="names.txt"),)
    assert load(load.make.linear(), max_batch_size=1, outputs=wish).signature.outputs["y"].labels == (
        "cat", "dög", "", "last",
    )  # fmt: skip


def test_label_files_stay_in_the_model_folder(load: Loader, tmp_path: Path) -> None:
    load.folder.mkdir()
    (tmp_path / "outside.txt").write_text("secret")
    (load.folder / "link.txt").symlink_to(tmp_path / "outside.txt")
    (load.folder / "latin.txt").write_bytes(b"\xe9")
    for name, reason in (
        ("link.txt", "not in the model's folder"),
        ("../outside.txt", "not in the model's folder"),
        ("missing.txt", "No such file"),
        ("1", "not a regular file"),
        ("latin.txt", "UTF-8"),
    ):
        with pytest.raises(InvalidArgument, match=reason) as caught:
            load(load.make.linear(), max_batch_size=1, outputs=(TensorConfig("y", FP32, (3,), label_file=name),))
        assert str(tmp_path) not in caught.value.message
