"""How a whole gateway starts: in which order, with what, and what it says where it cannot."""

from __future__ import annotations

import base64
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from gateways import OPENED, put, running
from onnx import TensorProto, helper
from rawhttp import Raw, request


def identity() -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.fixture
def models(tmp_path: Path) -> Path:
    put(tmp_path / "models", "same", 1, identity())
    return tmp_path / "models"


def test_what_a_killed_gateway_left_is_removed_by_the_next(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    brought = {"parameters": {"config": "{}", "file:1/model.onnx": base64.b64encode(identity()).decode()}}
    with ExitStack() as stack:
        settings = {"control_mode": "explicit", "grpc_port": "off", **OPENED}
        alive = stack.enter_context(running(models, tmp_path / "alive", **settings))
        killed = stack.enter_context(running(models, tmp_path / "killed", **settings))
        for server in (alive, killed):
            httpx.post(f"{server.rest}/v2/repository/models/fresh/load", json=brought).raise_for_status()
        assert len(list(temporary.glob("sluice-*"))) == 2
        killed.process.kill()
        killed.process.wait()
        next_ = stack.enter_context(running(models, tmp_path / "next", **settings))
        assert "removed 1 temporary folders of processes that were killed" in next_.log()
        assert len(list(temporary.glob("sluice-*"))) == 1, "who lives keeps theirs"
        assert httpx.post(f"{alive.rest}/v2/repository/models/fresh/load", json=brought).status_code == 200
    assert not list(temporary.glob("sluice-*"))


@contextmanager
def started(models: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """Not waited for until it is ready."""
    chosen = {
        "models": str(models),
        "state": str(models.parent / "state"),
        "http_port": "0",
        "admin_port": "0",
    } | settings
    environment = {f"SLUICE_{name.upper()}": value for name, value in chosen.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway.cli", "serve"], env=os.environ | environment, stderr=subprocess.PIPE, text=True
    )
    with process:
        yield process
        process.kill()


def test_a_port_that_is_taken_is_told_in_one_line_before_anything_is_loaded(models: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for name in ("http_port", "admin_port"):
            with started(models, host="127.0.0.1", **{name: str(port)}) as process:
                _, log = process.communicate(timeout=20)
            assert process.returncode == 1
            assert f"cannot listen on 127.0.0.1:{port}" in log
            assert "is loaded" not in log
            assert "Traceback" not in log


def test_a_signal_while_it_starts_ends_it(models: Path) -> None:
    for number in range(20):
        put(models, f"same{number}", 1, identity())
    with started(models) as process:
        assert process.stderr
        assert "is loaded" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in log


def test_a_broken_model_keeps_no_other_from_serving(models: Path, tmp_path: Path) -> None:
    put(models, "broken", 1, b"garbage")
    with running(models, tmp_path / "state") as server, httpx.Client(base_url=server.rest) as client:
        assert client.get("/v2/models/same/ready").status_code == 200
        assert client.get("/v2/models/broken/ready").status_code == 503
        assert client.get("/v2/health/ready").status_code == 200
        index = {line["name"]: line for line in client.post("/v2/repository/index").json()}
        assert index["same"]["state"] == "READY"
        assert index["broken"]["reason"]


def test_as_many_files_as_connections(models: Path, tmp_path: Path) -> None:
    """The soft limit of the shell does not decide how many clients there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with running(models, tmp_path / "state") as server:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            with ExitStack() as stack:
                clients = [stack.enter_context(Raw(server.host)) for _ in range(400)]
                for client in clients:
                    client.send(request("/v2", method="GET"))
                assert {client.reply().status for client in clients} == {200}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_both_ports_are_there_before_the_models_are(models: Path) -> None:
    """A probe is told "not ready" while models load; nothing is refused."""
    for number in range(10):
        put(models, f"same{number}", 1, identity())
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    seen = []
    with started(models, admin_port=str(port)) as process:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                seen.append(httpx.get(f"http://127.0.0.1:{port}/readyz").status_code)
            except httpx.ConnectError:
                assert not seen
            if seen[-1:] == [200]:
                break
        process.terminate()
        assert process.wait(20) == 0
    assert seen[-1] == 200
    assert set(seen) <= {200, 503}
