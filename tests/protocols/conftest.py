from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx
import onnx
import pytest
from onnx import TensorProto, helper

TOKEN = "t0ken"
START_LIMIT = 20.0


def affine(factor: float) -> bytes:
    """y = factor * x: FP32 of any number of rows of 4."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "affine",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])],
    )
    return _bytes(graph)


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


def put(models: Path, name: str, version: int, content: bytes) -> None:
    folder = models / name / str(version)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(content)


@dataclass(frozen=True)
class Server:
    """A whole server in a process of its own."""

    rest: str
    admin: str
    models: Path


@contextmanager
def running(models: Path, state: Path, **settings: str) -> Iterator[Server]:
    """`settings` are those of the environment: their names without SLUICE_, in lower case."""
    ports = _free_ports(2)
    rest, admin = (f"http://127.0.0.1:{port}" for port in ports)
    chosen = {
        "models": str(models),
        "state": str(state),
        "host": "127.0.0.1",
        "http_port": str(ports[0]),
        "admin_port": str(ports[1]),
        **settings,
    }
    environment = {f"SLUICE_{name.upper()}": value for name, value in chosen.items()}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "serve"], env=os.environ | environment, stderr=log
        )
        try:
            _await_ready(process, rest, log)
            yield Server(rest, admin, models)
            assert process.poll() is None, _text(log)
        finally:
            process.terminate()
            process.wait(20)
        assert "Traceback" not in _text(log), _text(log)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _text(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode()


def _await_ready(process: subprocess.Popen[bytes], address: str, log: IO[bytes]) -> None:
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end:
        try:
            # returns when the process ends, which it should not
            process.wait(0.05)
            break
        except subprocess.TimeoutExpired:
            pass
        try:
            if httpx.get(f"{address}/v2/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
    raise AssertionError(f"the server did not become ready: {_text(log)}")


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
    opened = {f"restricted_{name}": "open" for name in ("repository", "shared_memory", "logging")}
    with running(models, state, control_mode="explicit", load="*", restricted_load_files="true", **opened) as found:
        yield found


@pytest.fixture(scope="session")
def guarded(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the settings that one gets without asking, but for the mode: `explicit`."""
    state = tmp_path_factory.mktemp("state")
    with running(models, state, control_mode="explicit", load="*", admin_token=TOKEN) as found:
        yield found
