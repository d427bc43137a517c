"""Tiny ONNX models, made with the onnx package and skl2onnx."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from models.world import World
from onnx import TensorProto, helper, numpy_helper

# before any test imports onnxruntime: it would report to its maker
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


class Make:
    """Builds models. An input or output is (name, element type, shape); shape None leaves the rank open."""

    @staticmethod
    def model(
        nodes: Sequence[Any],
        inputs: Sequence[tuple[str, int, Sequence[int | str | None] | None]],
        outputs: Sequence[tuple[str, int, Sequence[int | str | None] | None]],
        weights: dict[str, np.ndarray] | None = None,
        opset: int = 17,
    ) -> onnx.ModelProto:
        graph = helper.make_graph(
            list(nodes),
            "g",
            [helper.make_tensor_value_info(*item) for item in inputs],
            [helper.make_tensor_value_info(*item) for item in outputs],
            [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)

    @staticmethod
    def save(model: onnx.ModelProto, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    @classmethod
    def identity(cls, element: int, shape: Sequence[int | str | None], opset: int = 17) -> onnx.ModelProto:
        node = helper.make_node("Identity", ["x"], ["y"])
        return cls.model([node], [("x", element, shape)], [("y", element, shape)], opset=opset)

    @classmethod
    def linear(cls, inputs: int = 4, outputs: int = 3, rows: int | str = "N") -> onnx.ModelProto:
        """y = relu(x W), float."""
        weight = np.random.default_rng(0).normal(size=(inputs, outputs)).astype(np.float32)
        nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
        return cls.model(
            nodes,
            [("x", TensorProto.FLOAT, [rows, inputs])],
            [("y", TensorProto.FLOAT, [rows, outputs])],
            {"w": weight},
        )

    @staticmethod
    def external(model: onnx.ModelProto, folder: Path, location: str = "weights.bin") -> Path:
        """Saves the model with its initializers in a file beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "model.onnx"
        onnx.save_model(
            model, path, save_as_external_data=True, location=location, size_threshold=0, convert_attribute=True
        )
        return path

    @staticmethod
    def stored(name: str, location: str, **more: str) -> TensorProto:
        """A tensor of FP32 [2, 3] whose data is in another file."""
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2, 3], data_location=TensorProto.EXTERNAL)
        for key, value in {"location": location, **more}.items():
            tensor.external_data.add(key=key, value=value)
        return tensor

    @staticmethod
    def classifier(labels: Sequence[Any], options: dict[str, Any] | None = None) -> onnx.ModelProto:
        """A logistic regression over 4 features by skl2onnx; its default options write a ZipMap."""
        from skl2onnx import to_onnx
        from sklearn.linear_model import LogisticRegression

        rng = np.random.default_rng(1)
        x = rng.normal(size=(60, 4)).astype(np.float32)
        y = np.array(labels)[np.arange(60) % len(labels)]
        x[:, 0] += np.arange(60) % len(labels)
        return to_onnx(LogisticRegression().fit(x, y), x[:1], options=options)


@pytest.fixture(scope="session")
def make() -> type[Make]:
    return Make


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    made = World(tmp_path / "models")
    yield made
    made.pool.shutdown()
    assert made.live() == 0
    assert not list((tmp_path / "tmp").iterdir())
