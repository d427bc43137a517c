"""Makes a model, and loads it as a version of a repository is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from gateway.models.config import ModelConfig
from gateway.models.onnx import OnnxModel, Runtime


class Loader:
    """`folder` is the model's, which holds its only version."""

    def __init__(self, runtime: Runtime, folder: Path, make: Any) -> None:
        self.runtime, self.folder, self.make = runtime, folder, make

    def __call__(self, model: onnx.ModelProto, **config: Any) -> OnnxModel:
        path = self.make.save(model, self.folder / "1")
        return self.runtime.load(path, ModelConfig(**config))
