from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from models.onnx.loader import Loader

from gateway.models.onnx import Runtime


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(1)


@pytest.fixture
def load(runtime: Runtime, tmp_path: Path, make: Any) -> Loader:
    return Loader(runtime, tmp_path / "model", make)


@pytest.fixture(autouse=True)
def silent(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """onnxruntime writes to stderr by itself what it likes."""
    yield
    assert capfd.readouterr().err == ""
