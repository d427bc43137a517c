"""A gateway with short limits, and the question that is put to it after each attack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from gateways import OPENED, Server, put, running
from onnx import TensorProto, helper, numpy_helper
from rawhttp import Raw, infer, tensor
from small_models import laps

#: bytes by which a module's attacks may make the server grow. The C library keeps up to 64 MiB that were freed, and
#: something for each thread; eight rounds of all attacks end where the second one did
GROWTH = 112 << 20

GOOD = infer("affine", tensor("x", [1, 4], "FP32", [1, 2, 3, 4]))
LIMITS = {
    "limits_header_timeout": "1",
    "limits_body_timeout": "1",
    "limits_idle_timeout": "600",
    "limits_json_body": "1MiB",
    "limits_binary_body": "4MiB",
}


def model(nodes: list, inputs: list, outputs: list, weights: dict[str, np.ndarray] | None = None) -> bytes:
    """Inputs and outputs as (name, element type, shape)."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def affine(factor: float) -> bytes:
    """y = factor * x: FP32 of any number of rows of 4."""
    return model(
        [helper.make_node("Mul", ["x", "f"], ["y"])],
        [("x", TensorProto.FLOAT, ["n", 4])],
        [("y", TensorProto.FLOAT, ["n", 4])],
        {"f": np.array([factor], np.float32)},
    )


def copies(**kinds: tuple[int, list]) -> bytes:
    """An output `<name>_out` for each input."""
    return model(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds],
        [(name, *kind) for name, kind in kinds.items()],
        [(f"{name}_out", *kind) for name, kind in kinds.items()],
    )


@pytest.fixture(scope="session")
def attacked_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attacked")
    put(folder, "affine", 1, affine(2.0))
    put(folder, "echo", 1, copies(text=(TensorProto.STRING, ["n"]), count=(TensorProto.INT64, ["n"])))
    put(folder, "flags", 1, copies(flag=(TensorProto.BOOL, ["n"])))
    put(folder, "small", 1, copies(x=(TensorProto.INT8, ["n"])))
    total = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)
    free = [("x", TensorProto.FLOAT, ["n", "m"])], [("y", TensorProto.FLOAT, ["m"])]
    put(folder, "free", 1, model([total], *free, {"axes": np.array([0], np.int64)}))
    put(folder, "laps", 1, laps())
    # one that has a limit never runs on the event loop
    (folder / "laps" / "model.yaml").write_text("run_limit: 20\n")
    return folder


@pytest.fixture(scope="module")
def gateway(attacked_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Its log has no traceback at the end (`running` looks), and its memory has not grown."""
    with running(attacked_models, tmp_path_factory.mktemp("state"), **LIMITS, **OPENED) as server:
        answers(server)
        before = memory(server)
        yield server
        assert memory(server) - before < GROWTH


@pytest.fixture(autouse=True)
def _unharmed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test does to the gateway, the next one is answered, and correctly."""
    yield
    if "gateway" in request.fixturenames:
        answers(request.getfixturevalue("gateway"))


def answers(server: Server) -> None:
    with Raw(server.host) as fresh:
        reply = fresh.send(GOOD).reply()
    assert reply.status == 200
    assert reply.json["outputs"][0]["data"] == [2, 4, 6, 8]


def memory(server: Server) -> int:
    """PSS in bytes."""
    lines = Path(f"/proc/{server.process.pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) << 10
