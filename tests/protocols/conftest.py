from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from gateways import OPENED, Server, put, running
from onnx import TensorProto, helper
from small_models import affine

TOKEN = "t0ken"


def echo() -> bytes:
    """One output for each input: BYTES, INT64, BOOL and FP16, of fixed and free shapes."""
    kinds = {
        "text": (TensorProto.STRING, ["n", 2]),
        "count": (TensorProto.INT64, [3]),
        "flag": (TensorProto.BOOL, ["a", "b"]),
        "half": (TensorProto.FLOAT16, [2]),
    }
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds],
        "echo",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in kinds.items()],
        [helper.make_tensor_value_info(f"{name}_out", kind, shape) for name, (kind, shape) in kinds.items()],
    )
    return _bytes(graph)


def _bytes(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder: `affine` in versions 1 (times 2) and 2 (times 3), both served, and `echo`."""
    folder = tmp_path_factory.mktemp("models")
    for version, factor in ((1, 2.0), (2, 3.0)):
        put(folder, "affine", version, affine(factor))
    (folder / "affine" / "config.pbtxt").write_text("version_policy: { all {} }\n")
    put(folder, "echo", 1, echo())
    return folder


@pytest.fixture(scope="session")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with everything open, in mode `explicit`. What a test loads or sets, it takes back."""
    state = tmp_path_factory.mktemp("state")
    with running(models, state, control_mode="explicit", load="*", **OPENED) as found:
        yield found


@pytest.fixture(scope="session")
def guarded(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the settings that one gets without asking, but for the mode: `explicit`."""
    state = tmp_path_factory.mktemp("state")
    with running(models, state, control_mode="explicit", load="*", admin_token=TOKEN) as found:
        yield found
