"""The streams of a gateway's settings run in processes of their own, which are watched and replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateways import Server
from gateways import running as serving
from servers.server import until
from streaming import Place, environment


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_streams_of_the_settings_run_in_a_process_of_their_own(place: Place, workers: str) -> None:
    streams = place.absolute("double")
    state = place.folder / ".sluice"
    with serving(place.folder / "models", state, streams=streams, workers=workers, grpc_port="off") as server:
        place.feed("a.jsonl", [*place.records(1, 5), "broken"])
        until(lambda: len(place.results()) == 5, what="5 results")
        token = (state / "admin-token").read_text().strip()
        with httpx.Client(base_url=server.admin, headers={"Authorization": f"Bearer {token}"}) as admin:
            (worker,) = _streaming(admin)
            assert (worker["slot"], worker["state"], worker["restarts"]) == (0, "ready", 0)
            assert (worker["pid"], worker["streams"]) == (_stream_workers(server.process.pid)[0], ["double"])
            assert worker["memory"] > 0
            view = admin.get("/admin/v1/streams").json()["streams"][0]
            assert (view["name"], view["state"], view["epoch"]) == ("double", "running", 1)
            assert 'sluice_stream_records_total{stream="double",worker="0",outcome="read"} 6' in (
                admin.get("/metrics").text
            )
            assert admin.get("/admin/v1/streams/none").status_code == 404
            assert admin.post("/admin/v1/streams/double/redrive", json={}).json() == {"records": 1, "left": 0}
            assert admin.post("/admin/v1/streams/double/pause", json={"reason": "r"}).json()["reason"] == "r"
            assert admin.post("/admin/v1/streams/double/resume", json={}).status_code == 200
            assert admin.post("/admin/v1/reload-streams").json() == {"added": [], "changed": [], "removed": []}
            assert admin.post("/admin/v1/streams/none/pause", json={}).status_code == 404
            assert httpx.post(f"{server.admin}/admin/v1/streams/double/pause", json={}).status_code == 401
            entries = admin.get("/admin/v1/audit").json()["entries"]
            assert [(each["action"], each["target"], each["detail"]) for each in reversed(entries)] == [
                ("stream.redrive", "double", {"records": 1, "left": 0}),
                ("stream.pause", "double", {"reason": "r"}),
                ("stream.resume", "double", {}),
                ("stream.reload", "*", {"added": [], "changed": [], "removed": []}),
            ]
            assert {(each["actor"], each["origin"]) for each in entries} == {("admin", "admin 127.0.0.1")}
            assert "denied: POST /admin/v1/streams/double/pause" in server.log()
            (pid,) = _stream_workers(server.process.pid)
            os.kill(pid, signal.SIGKILL)
            place.feed("b.jsonl", place.records(6, 5))
            # the lease of who was killed runs out first
            until(lambda: len(place.results()) == 10, what="10 results of its successor")
            assert admin.get("/admin/v1/streams/double").json()["epoch"] == 2
            (successor,) = _streaming(admin)
            assert successor["pid"] != pid
            assert (successor["restarts"], successor["streams"]) == (1, ["double"])
            sluice = [sys.executable, "-m", "gateway.cli", "workers", "list", "--admin-url", server.admin]
            told = subprocess.run([*sluice, "--token", token], capture_output=True, text=True, check=True).stdout
            (line,) = (line for line in told.splitlines() if " stream " in line)
            assert line.split()[:4] == ["0", "stream", str(successor["pid"]), "ready"]
            assert line.endswith("double")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_process_that_hangs_is_killed_and_replaced(place: Place, workers: str) -> None:
    """It is there and its socket is open: only its silence tells."""
    state = place.folder / ".sluice"
    chosen = {"workers": workers, "grpc_port": "off", "worker_timeout": "1", "streams_lease": "1"}
    with serving(place.folder / "models", state, streams=place.absolute("double"), **chosen) as server:
        place.feed("a.jsonl", place.records(1, 5))
        until(lambda: len(place.results()) == 5, what="5 results")
        (pid,) = _stream_workers(server.process.pid)
        assert _metric(server, 'sluice_stream_workers{state="ready"}') == 1
        os.kill(pid, signal.SIGSTOP)
        place.feed("b.jsonl", place.records(6, 5))
        until(lambda: len(place.results()) == 10, what="10 results of its successor")
        assert pid not in _stream_workers(server.process.pid)
        assert "stream worker 0: silent for 1 s; its successor starts now" in server.log()
        assert _metric(server, 'sluice_stream_worker_restarts_total{cause="silent for 1 s"}') == 1
        # on a busy machine those that serve may have been silent, too
        assert "stream worker 0: silent for 1 s" in httpx.get(f"{server.admin}/readyz").json()["troubles"]
    assert [result["id"] for result in place.results()] == list(range(1, 11))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_streams_score_is_counted_with_what_requests_do(place: Place, workers: str) -> None:
    state = place.folder / ".sluice"
    chosen = {"workers": workers, "grpc_port": "off", "streams_lease": "1"}
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}
    with serving(place.folder / "models", state, streams=place.absolute("double"), **chosen) as server:
        place.feed("a.jsonl", place.records(1, 5))
        until(lambda: len(place.results()) == 5, what="5 results")
        reply = httpx.post(f"{server.rest}/v2/models/affine/versions/2/infer", json=body)
        assert reply.status_code == 200, reply.text
        before, succeeded = _rows(server), _succeeded(server, state)
        assert before == [6.0] * 3
        (pid,) = _stream_workers(server.process.pid)
        os.kill(pid, signal.SIGKILL)
        until(lambda: pid not in _stream_workers(server.process.pid), what="its end")
        # it had told of them
        assert (_rows(server), _succeeded(server, state)) == (before, succeeded)
        place.feed("b.jsonl", place.records(6, 5))
        until(lambda: len(place.results()) == 10, what="10 results")
        assert _rows(server) == [11.0] * 3
        assert _succeeded(server, state) > succeeded
        assert _metric(server, 'sluice_version_loaded{model="affine",version="2"}') == 1
        assert 'process_resident_memory_bytes{process="stream-0"}' in httpx.get(f"{server.admin}/metrics").text


def test_one_that_hangs_does_not_keep_the_gateway_from_ending(place: Place) -> None:
    state = place.folder / ".sluice"
    chosen = {"grpc_port": "off", "worker_timeout": "1", "drain_delay": "0"}
    with serving(place.folder / "models", state, streams=place.absolute("double"), **chosen) as server:
        (pid,) = _stream_workers(server.process.pid)
        os.kill(pid, signal.SIGSTOP)
        server.process.terminate()
        assert server.process.wait(20) == 0


def test_a_stream_that_is_wrong_keeps_the_gateway_from_starting(place: Place) -> None:
    place.stream("double", "none")
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "serve"], capture_output=True, text=True, timeout=60,
        cwd=place.folder,
        env=environment(
            SLUICE_STREAMS="double.yaml", SLUICE_HTTP_PORT="0", SLUICE_ADMIN_PORT="0", SLUICE_GRPC_PORT="off"
        ),
    )  # fmt: skip
    assert done.returncode == 2
    assert "double.yaml:4: model: there is no model 'none' in 'models'" in done.stderr


def _metric(server: Server, sample: str) -> float:
    """0 where there is no such sample."""
    lines = httpx.get(f"{server.admin}/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{sample} ")), 0.0)


def _rows(server: Server) -> list[float]:
    """How many version 2 scored, as three readers are told."""
    at = '{model="affine",version="2"}'
    (stats,) = httpx.get(f"{server.rest}/v2/models/affine/versions/2/stats").json()["model_stats"]
    counted = [_metric(server, f"{name}{at}") for name in ("sluice_rows_total", "nv_inference_count")]
    return [*counted, float(stats["inference_count"])]


def _succeeded(server: Server, state: Path) -> int:
    """Requests of version 2, a batch of a stream among them, as an operator is told."""
    headers = {"Authorization": f"Bearer {(state / 'admin-token').read_text().strip()}"}
    view = httpx.get(f"{server.admin}/admin/v1/models/affine", headers=headers).json()
    return sum(each["succeeded"] for each in view["versions"] if each["version"] == "2")


def _streaming(admin: httpx.Client) -> list[dict[str, Any]]:
    """The processes that run streams, as an operator sees them."""
    views = admin.get("/admin/v1/workers").raise_for_status().json()["workers"]
    return [view for view in views if view["role"] == "stream"]


def _stream_workers(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if b"streamworker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
