"""A server of several processes is one server to whoever uses and operates it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fleets import BODY, TOKEN, Fleet, Load, fleet

from gateway.client import Client, Refused


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One for all tests that leave it as it was."""
    with fleet(tmp_path_factory.mktemp("two")) as found:
        yield found


def _rest(two: Fleet, method: str, path: str, body: bytes | None = None) -> Any:
    """Over a connection of its own, so that chance says which worker answers. Returns JSON, where there is any."""
    reply = Client(two.server.rest).send(method, path, body)
    return reply.json() if reply.body else None


def test_the_supervisor_has_no_models_in_it(two: Fleet) -> None:
    maps = Path(f"/proc/{two.server.process.pid}/maps").read_text()
    assert "onnxruntime" not in maps
    assert "grpc" not in maps
    assert len(two.pids()) == 2
    for pid in two.pids().values():
        assert "onnxruntime" in Path(f"/proc/{pid}/maps").read_text()


def test_both_answer_and_their_numbers_are_one(two: Fleet) -> None:
    before = two.metric("nv_inference_request_success")
    with Load(two.server.rest, 16) as load:
        load.wait_for(200)
    assert not load.failed
    assert all(worker["requests"] > 0 for worker in two.workers())
    assert two.metric("nv_inference_request_success") == before + load.good
    (stats,) = _rest(two, "GET", "/v2/models/m/stats")["model_stats"]
    assert stats["inference_stats"]["success"]["count"] == before + load.good
    (version,) = two.admin.get("/admin/v1/models/m").json()["versions"]
    assert version["succeeded"] == before + load.good


def test_after_a_load_whoever_is_asked_says_the_same(two: Fleet) -> None:
    _rest(two, "POST", "/v2/repository/models/m/unload")
    for _ in range(40):
        (line,) = _rest(two, "POST", "/v2/repository/index")
        assert line["state"] == "UNAVAILABLE"
        with pytest.raises(Refused):
            _rest(two, "GET", "/v2/models/m/ready")
    _rest(two, "POST", "/v2/repository/models/m/load")
    count = 0
    for _ in range(40):
        _rest(two, "GET", "/v2/models/m/ready")
        (line,) = _rest(two, "POST", "/v2/repository/index", json.dumps({"ready": True}).encode())
        assert line["state"] == "READY"
        assert two.metric("sluice_version_loaded") == 1
        _rest(two, "POST", "/v2/models/m/infer", BODY)
        (stats,) = _rest(two, "GET", "/v2/models/m/stats")["model_stats"]
        assert stats["inference_count"] > count
        count = stats["inference_count"]
        assert two.metric("nv_inference_count") == count


def test_a_load_that_fails_changes_nothing_anywhere(two: Fleet) -> None:
    broken = two.server.models / "m" / "2"
    broken.mkdir()
    (broken / "model.onnx").write_bytes(b"garbage")
    try:
        with pytest.raises(Refused):
            _rest(two, "POST", "/v2/repository/models/m/load")
        for _ in range(20):
            answer = _rest(two, "POST", "/v2/models/m/infer", BODY)
            assert answer["model_version"] == "1"
            states = {line["version"]: line["state"] for line in _rest(two, "POST", "/v2/repository/index")}
            assert states == {"1": "READY", "2": "UNAVAILABLE"}
    finally:
        (broken / "model.onnx").unlink()
        broken.rmdir()
        two.load()


def test_a_split_holds_in_all_of_them_when_it_is_acknowledged(two: Fleet) -> None:
    two.put(7, 7)
    for version in ("1", "7") * 3:
        began = time.monotonic()
        two.admin.put("/admin/v1/splits/m", json={"weights": {version: 1}}).raise_for_status()
        assert time.monotonic() - began < 2
        answers = {_rest(two, "POST", "/v2/models/m/infer", BODY)["model_version"] for _ in range(10)}
        assert answers == {version}
    revisions = {worker["revision"] for worker in two.workers()}
    assert revisions == {two.admin.get("/admin/v1/state").json()["revision"]}
    two.admin.delete("/admin/v1/splits/m").raise_for_status()


def test_log_settings_hold_in_all_of_them(two: Fleet) -> None:
    for level in (2, 0):
        _rest(two, "POST", "/v2/logging", json.dumps({"log_verbose_level": level}).encode())
        found = {_rest(two, "GET", "/v2/logging")["log_verbose_level"] for _ in range(16)}
        assert found == {min(level, 2)}


def test_shared_memory_is_registered_in_all_or_in_none(two: Fleet) -> None:
    memory = shared_memory.SharedMemory(create=True, size=8)
    try:
        np.frombuffer(memory.buf, np.float32)[:] = [5, 6]
        region = {"key": "/" + memory.name.lstrip("/"), "byte_size": 8}
        _rest(two, "POST", "/v2/systemsharedmemory/region/r/register", json.dumps(region).encode())
        body = {
            "inputs": [
                {
                    "name": "x", "shape": [2, 1], "datatype": "FP32",
                    "parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 8},
                }
            ]
        }  # fmt: skip
        for _ in range(16):
            assert _rest(two, "POST", "/v2/models/m/infer", json.dumps(body).encode())["outputs"][0]["data"] == [5, 6]
        with pytest.raises(Refused):
            _rest(
                two,
                "POST",
                "/v2/systemsharedmemory/region/other/register",
                json.dumps({"key": "/none", "byte_size": 8}).encode(),
            )
        # a worker that comes later has it as well
        two.admin.post("/admin/v1/workers/0/recycle").raise_for_status()
        for _ in range(16):
            found = _rest(two, "GET", "/v2/systemsharedmemory/status")
            assert [each["name"] for each in found] == ["r"]
        _rest(two, "POST", "/v2/systemsharedmemory/unregister")
        assert all(not _rest(two, "GET", "/v2/systemsharedmemory/status") for _ in range(16))
    finally:
        memory.close()
        memory.unlink()


def test_a_worker_that_comes_later_serves_what_the_others_serve(two: Fleet) -> None:
    """And not what lies in the folder since, which nobody has loaded."""
    two.put(7, 7)
    two.load()
    two.put(9, 9)
    try:
        two.admin.post("/admin/v1/workers/recycle").raise_for_status()
        answers = {_rest(two, "POST", "/v2/models/m/infer", BODY)["model_version"] for _ in range(16)}
        assert answers == {"7"}
    finally:
        (two.server.models / "m" / "9" / "model.onnx").unlink()
        (two.server.models / "m" / "9").rmdir()


def test_what_operators_type(two: Fleet) -> None:
    def sluice(*arguments: str) -> str:
        command = [sys.executable, "-m", "gateway.cli", "workers", *arguments]
        return subprocess.run(
            [*command, "--admin-url", two.server.admin, "--token", TOKEN],
            env=os.environ | {"SLUICE_STATE": str(two.server.models)}, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    before = two.pids()
    header, *lines = sluice("list").splitlines()
    assert header.split() == [
        "slot", "role", "pid", "state", "uptime", "revision", "requests", "memory", "restarts", "streams", "reason",
    ]  # fmt: skip
    assert [line.split()[:4] for line in lines[:2]] == [[str(n), "serving", str(before[n]), "ready"] for n in (0, 1)]
    after = {line.split()[0]: line.split()[2] for line in sluice("recycle", "--slot", "1").splitlines()[1:3]}
    assert after["0"] == str(before[0])
    assert after["1"] != str(before[1])
    assert len(json.loads(sluice("list", "--json"))["workers"]) >= 2


def test_only_slots_that_are_there_can_be_recycled(two: Fleet) -> None:
    reply = two.admin.post("/admin/v1/workers/5/recycle")
    assert reply.status_code == 404
    assert "expected one from 0 to 1, found 5" in reply.json()["error"]
    assert httpx.post(f"{two.server.admin}/admin/v1/workers/recycle", trust_env=False).status_code == 401


def test_a_repository_that_is_followed_is_followed_by_all_at_once(tmp_path: Path) -> None:
    with fleet(
        tmp_path, control_mode="poll", poll_interval="0.2", load="", grpc_port="off", spare_worker="false"
    ) as two:

        def answers() -> set[str]:
            found = [_rest(two, "POST", "/v2/models/m/infer", BODY)["model_version"] for _ in range(12)]
            return {*found}

        assert answers() == {"1"}
        with Load(two.server.rest, 4) as load:
            two.put(2, 2)
            two.until(lambda: "2" in answers())
            assert answers() == {"2"}
            two.admin.post("/admin/v1/workers/0/recycle").raise_for_status()
            assert answers() == {"2"}
            (two.server.models / "m" / "2" / "model.onnx").unlink()
            (two.server.models / "m" / "2").rmdir()
            two.until(lambda: answers() == {"1"})
        assert not load.failed


def _refused(folder: Path, **settings: str) -> str:
    """What a server of two workers says that cannot start."""
    chosen = {"models": str(folder / "models"), "state": str(folder / "other"), "workers": "2", "host": "127.0.0.1"}
    for port in ("http_port", "grpc_port", "admin_port"):
        chosen[port] = "0"
    environment = {f"SLUICE_{name.upper()}": value for name, value in (chosen | settings).items()}
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "serve"], env=os.environ | environment, capture_output=True, timeout=60
    )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    return done.stderr.decode()


def test_a_port_that_others_have_is_not_shared_with_them(two: Fleet) -> None:
    for name, place in (("http_port", two.server.host), ("grpc_port", two.server.grpc)):
        port = place.rpartition(":")[2]
        told = _refused(two.server.models.parent, **{name: port})
        assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in told


def test_what_no_worker_can_start_with_ends_the_server(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for name in ("cert", "key"):
        (tmp_path / name).write_text("no certificate")
    told = _refused(tmp_path, tls_cert=str(tmp_path / "cert"), tls_key=str(tmp_path / "key"))
    assert "the TLS files cannot be used" in told.splitlines()[-1]


def test_a_key_holds_in_every_worker_and_its_revocation_does_too(tmp_path: Path) -> None:
    """Once the command returns, over fresh connections to whichever worker answers, and on those that are open."""
    with fleet(tmp_path / "keys", spare_worker="false") as two:
        url = f"{two.server.rest}/v2/models/m/infer"

        def status(headers: dict[str, str]) -> int:
            try:
                return Client(two.server.rest).send("POST", "/v2/models/m/infer", BODY, headers).status
            except Refused as error:
                return error.status

        def statuses(headers: dict[str, str], clients: list[httpx.Client]) -> set[int]:
            fresh = {status(headers) for _ in range(40)}
            return fresh | {client.post(url, content=BODY, headers=headers).status_code for client in clients * 2}

        with ExitStack() as stack:
            clients = [stack.enter_context(httpx.Client()) for _ in range(8)]
            assert statuses({}, clients) == {200}
            made = two.admin.post("/admin/v1/keys", json={"name": "ann", "allow": ["infer:m"]}).json()
            key = {"x-api-key": made["key"]}
            assert statuses({}, clients) == {401}
            assert statuses(key, clients) == {200}
            assert two.admin.delete("/admin/v1/keys/ann").status_code == 200
            assert statuses(key, clients) == {401}
            denied = two.metric("sluice_auth_denied_total")
            assert denied == 2 * (40 + 16)
            # one that begins afterwards knows it, too, and what its predecessor denied is still counted
            pid = two.pids()[0]
            os.kill(pid, signal.SIGKILL)
            two.replaced(0, pid)
            assert statuses(key, []) == {401}
            assert two.metric("sluice_auth_denied_total") >= denied
