"""Several gateways on one PostgreSQL: one truth, whoever is asked."""

from __future__ import annotations

import base64
import json
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gateways
import httpx
import pytest
import small_models
from machines.machine import INPUT, TOKEN, admin, answer, gateway, metric, split
from servers.postgresql import Databases
from servers.server import until


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_change_on_one_is_in_force_on_the_other(
    models: Path, tmp_path: Path, postgresql_database: str, workers: str
) -> None:
    with (
        gateway(models, tmp_path, postgresql_database, "a", workers=workers) as a,
        gateway(models, tmp_path, postgresql_database, "b", workers=workers) as b,
        httpx.Client() as client,
    ):
        took = []
        for turn in range(10):
            server, other = (a, b) if turn % 2 else (b, a)
            version = str(1 + turn % 3)
            began = time.monotonic()
            assert split(server, version).status_code == 200
            assert answer(server) == version
            until(lambda other=other, version=version: answer(other, client) == version, 10)
            took.append(time.monotonic() - began)
        assert statistics.median(took) <= 1.5, took
        assert [e["machine"] for e in admin(a, "GET", "/audit").json()["entries"]] == ["a", "b"] * 5
        until(lambda: metric(a, "sluice_control_revision") == metric(b, "sluice_control_revision") == 10)
        machines = admin(b, "GET", "/machines").json()["machines"]
        assert [(m["name"], m["live"], m["troubles"]) for m in machines] == [("a", True, {}), ("b", True, {})]
        assert complaints(a) == complaints(b) == []


def complaints(server: gateways.Server) -> list[str]:
    return [line for line in server.log().splitlines() if "ERROR" in line or "WARNING" in line]


def test_wait_returns_when_all_have_it_and_names_who_has_not(
    models: Path, tmp_path: Path, postgresql_database: str, postgresql: Databases
) -> None:
    with (
        gateway(models, tmp_path, postgresql_database, "a") as a,
        gateway(models, tmp_path, postgresql_database, "b") as b,
    ):
        for turn in range(6):
            version = str(1 + turn % 3)
            assert split(a, version, wait=20).status_code == 200
            assert answer(b) == version
        command = [sys.executable, "-m", "gateway.cli", "split", "set", "m", "1=1", "--wait", "--timeout", "2"]
        command += ["--admin-url", a.admin, "--token", "secret"]
        assert subprocess.run(command, capture_output=True).returncode == 0
        b.process.send_signal(19)  # SIGSTOP
        try:
            began = time.monotonic()
            done = subprocess.run([*command[:6], "2=1", *command[7:]], capture_output=True, text=True)
            assert done.returncode == 1
            assert time.monotonic() - began < 8
            assert "revision 8 is written and in force here; within 2 s not everywhere: b is at 7" in done.stderr
            assert split(a, "3", wait=1).status_code == 504
            # after ten seconds of silence it counts as dead, and nobody waits for it any more
            assert split(a, "1", wait=20).status_code == 200
            assert time.monotonic() - began > 5
        finally:
            b.process.send_signal(18)
        until(lambda: answer(b) == "1")
        assert split(b, "2", wait=20).status_code == 200
        assert answer(a) == "2"
    assert postgresql.sql("SELECT count(*) FROM sluice.machines", postgresql_database) == [("0",)]


def test_wait_is_for_every_worker(models: Path, tmp_path: Path, postgresql_database: str) -> None:
    with (
        gateway(models, tmp_path, postgresql_database, "a") as a,
        gateway(models, tmp_path, postgresql_database, "b", workers="2") as b,
    ):
        for turn in range(6):
            version = str(1 + turn % 3)
            assert split(a, version, wait=20).status_code == 200
            # each over a connection of its own, to whichever worker
            assert [answer(b) for _ in range(10)] == [version] * 10


def test_a_machine_that_cannot_serve_what_is_desired_is_named(
    models: Path, tmp_path: Path, postgresql_database: str
) -> None:
    other = tmp_path / "other"
    gateways.put(other, "m", 1, small_models.affine(1))
    gateways.put(other, "m", 2, b"no model at all")
    with (
        gateway(models, tmp_path, postgresql_database, "a") as a,
        gateway(other, tmp_path, postgresql_database, "b", control_mode="poll", poll_interval="0.2") as b,
    ):
        response = split(a, "1", "2", wait=10)
        assert response.status_code == 503
        assert "in force everywhere, but b: the split of 'm' names 2, which is not ready" in response.json()["error"]
        assert {answer(a) for _ in range(40)} == {"1", "2"}
        assert {answer(b) for _ in range(40)} == {"1"}
        (other / "m" / "2" / "model.onnx").write_bytes(small_models.affine(2))
        until(lambda: answer(b) == "2", 30)
        assert split(a, "2", wait=10).status_code == 200


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_model_that_a_load_call_brought_reaches_every_machine(
    models: Path, tmp_path: Path, postgresql_database: str, workers: str
) -> None:
    settings = {"control_mode": "explicit", "load": "*", **gateways.OPENED}
    with (
        gateway(models, tmp_path, postgresql_database, "a", **settings) as a,
        gateway(models, tmp_path, postgresql_database, "b", workers=workers, **settings) as b,
    ):
        content = base64.b64encode(small_models.affine(7)).decode()
        brought = {"parameters": {"config": '{"backend": "onnxruntime"}', "file:1/model.onnx": content}}
        response = httpx.post(f"{a.rest}/v2/repository/models/fresh/load", json=brought, timeout=30)
        assert response.status_code == 200, response.text
        assert split(a, "1", wait=20).status_code == 200
        for server in (a, b):
            (output,) = httpx.post(f"{server.rest}/v2/models/fresh/infer", json=INPUT).json()["outputs"]
            assert output["data"] == [7, 7, 7, 7]
        assert admin(b, "POST", "/models/fresh/unload", params={"wait": 20}).status_code == 200
        assert httpx.post(f"{a.rest}/v2/models/fresh/infer", json=INPUT).status_code in (400, 404, 503)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_version_that_comes_later_is_taken_up(
    models: Path, tmp_path: Path, postgresql_database: str, workers: str
) -> None:
    other = tmp_path / "other"
    gateways.put(other, "m", 1, small_models.affine(1))
    with (
        gateway(models, tmp_path, postgresql_database, "a") as a,
        gateway(other, tmp_path, postgresql_database, "b", workers=workers) as b,
    ):
        assert split(a, "1", "2", wait=20).status_code == 503
        # written aside, and brought in whole
        gateways.put(tmp_path / "aside", "m", 2, small_models.affine(2))
        (tmp_path / "aside" / "m" / "2").rename(other / "m" / "2")
        until(lambda: answer(b) == "2", 30)
        assert split(a, "1", "2", wait=20).status_code == 200
        assert admin(b, "GET", "/machines").json()["machines"][1]["troubles"] == {}


def test_a_key_opens_and_its_revocation_closes_every_machine(
    models: Path, tmp_path: Path, postgresql_database: str
) -> None:
    with (
        gateway(models, tmp_path, postgresql_database, "a") as a,
        gateway(models, tmp_path, postgresql_database, "b") as b,
    ):
        made = admin(a, "POST", "/keys", json={"name": "ann", "allow": ["infer:m"]}, params={"wait": 20})
        assert made.status_code == 201, made.text
        key = {"Authorization": f"Bearer {made.json()['key']}"}
        for server, headers, status in ((b, {}, 401), (b, key, 200), (a, key, 200)):
            response = httpx.post(f"{server.rest}/v2/models/m/infer", json=INPUT, headers=headers)
            assert response.status_code == status, response.text
        assert admin(b, "DELETE", "/keys/ann", params={"wait": 20}).status_code == 200
        for server in (a, b):
            assert httpx.post(f"{server.rest}/v2/models/m/infer", json=INPUT, headers=key).status_code == 401


def test_a_key_that_is_not_everywhere_in_time_is_shown_nevertheless(
    models: Path, tmp_path: Path, postgresql_database: str
) -> None:
    with (
        gateway(models, tmp_path, postgresql_database, "a") as a,
        gateway(models, tmp_path, postgresql_database, "b") as b,
    ):
        assert split(a, "1", wait=20).status_code == 200, "both have said something"
        command = [sys.executable, "-m", "gateway.cli", "keys", "create", "ann", "--allow", "infer"]
        command += ["--wait", "--timeout", "1", "--admin-url", a.admin, "--token", "secret"]
        b.process.send_signal(19)  # SIGSTOP
        try:
            done = subprocess.run(command, capture_output=True, text=True)
            more = subprocess.run([*command, "--json"], capture_output=True, text=True)
        finally:
            b.process.send_signal(18)
        assert (done.returncode, more.returncode) == (1, 1)
        lines = done.stderr.splitlines()
        assert "only time that the key is shown" in lines[0]
        assert "the key is made, but not in force everywhere yet: revision 2 is written and in force here" in lines[-1]
        told = json.loads(more.stdout)
        assert (told["name"], told["first"]) == ("ann", False)
        assert "not everywhere: b is at" in told["error"]

        def accepted(server: gateways.Server, key: str) -> bool:
            url, headers = f"{server.rest}/v2/models/m/infer", {"x-api-key": key}
            return httpx.post(url, json=INPUT, headers=headers).status_code == 200

        for key in (done.stdout.strip(), told["key"]):
            assert accepted(a, key)
            until(lambda key=key: accepted(b, key))


def test_changes_on_both_at_once_are_all_made(models: Path, tmp_path: Path, postgresql_database: str) -> None:
    with (
        gateway(models, tmp_path, postgresql_database, "a") as a,
        gateway(models, tmp_path, postgresql_database, "b") as b,
    ):

        def change(number: int) -> httpx.Response:
            body = {f"l{number}": str(1 + number % 3)}
            return admin((a, b)[number % 2], "PATCH", "/labels/m", json=body)

        with ThreadPoolExecutor(4) as pool:
            responses = list(pool.map(change, range(24)))
        assert [r.status_code for r in responses] == [200] * 24, [r.text for r in responses]
        until(lambda: metric(a, "sluice_control_revision") == metric(b, "sluice_control_revision") == 24)
        wanted = {f"l{number}": str(1 + number % 3) for number in range(24)}
        for server in (a, b):
            assert admin(server, "GET", "/labels/m").json()["labels"] == wanted
        # who decided on a revision that is gone is told so
        stale = httpx.put(
            f"{b.admin}/admin/v1/splits/m", headers=TOKEN | {"If-Match": '"3"'}, json={"weights": {"1": 1}}
        )
        assert stale.status_code == 412
