"""Several gateways on one PostgreSQL: one truth, whoever is asked, and whatever becomes of the store."""

from __future__ import annotations

import base64
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gateways
import httpx
import pytest
import small_models
from servers.postgresql import Databases, PostgreSQL
from servers.server import until

TOKEN = {"Authorization": "Bearer secret"}


@contextmanager
def gateway(models: Path, folder: Path, url: str, name: str, **settings: str) -> Iterator[gateways.Server]:
    given = {"store": url, "machine": name, "admin_token": "secret", "grpc_port": "off", **settings}
    with gateways.running(models, folder / name, **given) as server:
        yield server


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """`m` in versions 1 to 3; each multiplies by its number."""
    for version in (1, 2, 3):
        gateways.put(tmp_path / "models", "m", version, small_models.affine(version))
    return tmp_path / "models"


def admin(server: gateways.Server, method: str, path: str, **given: Any) -> httpx.Response:
    return httpx.request(method, f"{server.admin}/admin/v1{path}", headers=TOKEN, timeout=30, **given)


def split(server: gateways.Server, *versions: str, **query: int) -> httpx.Response:
    return admin(server, "PUT", "/splits/m", json={"weights": dict.fromkeys(versions, 1)}, params=query)


INPUT = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]}


def answer(server: gateways.Server, client: httpx.Client | None = None) -> str:
    response = (client or httpx).post(f"{server.rest}/v2/models/m/infer", json=INPUT)
    assert response.status_code == 200, response.text
    return str(response.json()["model_version"])


def readiness(server: gateways.Server) -> dict[str, Any]:
    response = httpx.get(f"{server.admin}/readyz")
    return {"status": response.status_code, **response.json()}


def metric(server: gateways.Server, name: str) -> float:
    (line,) = [line for line in httpx.get(f"{server.admin}/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


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


class Load:
    """Predictions on several connections, from now until the end of the `with`; every answer is kept."""

    def __init__(self, server: gateways.Server) -> None:
        self.server = server
        self.count = 0
        self.failures: list[str] = []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with httpx.Client(timeout=10) as client:
            while not self._end.wait(0.005):
                try:
                    answer(self.server, client)
                    self.count += 1
                except (AssertionError, httpx.HTTPError) as error:
                    self.failures.append(repr(error))


@pytest.mark.parametrize(("how", "workers"), [("killed", "1"), ("killed", "2"), ("paused", "1")])
def test_without_its_store_a_gateway_serves_on_says_so_and_catches_up(
    models: Path, tmp_path: Path, own_postgresql: PostgreSQL, how: str, workers: str
) -> None:
    url = own_postgresql.database()
    with gateway(models, tmp_path, url, "a", workers=workers) as a, gateway(models, tmp_path, url, "b") as b:
        assert split(a, "1", wait=20).status_code == 200
        assert {"status": 200, "ready": True, "store": "ok"}.items() <= readiness(a).items()
        with Load(a) as load:
            own_postgresql.kill() if how == "killed" else own_postgresql.pause()
            until(lambda: metric(a, "sluice_store_up") == metric(b, "sluice_store_up") == 0)
            state = readiness(a)
            assert (state["status"], state["ready"]) == (200, True)
            assert state["store"].startswith("gone since 20")
            began = time.monotonic()
            refused = split(a, "2", wait=20)
            assert refused.status_code == 503
            assert time.monotonic() - began < 10
            assert "control state 'postgresql://sluice@127.0.0.1:" in refused.json()["error"]
            assert (answer(a), answer(b)) == ("1", "1")
            if how == "killed":
                own_postgresql.start()
            else:
                own_postgresql.resume()
            until(lambda: metric(a, "sluice_store_up") == metric(b, "sluice_store_up") == 1)
            assert split(b, "3", wait=20).status_code == 200
            assert answer(a) == "3"
        assert not load.failures
        assert load.count > 100
        assert readiness(a)["store"] == "ok"
        for server in (a, b):
            assert "revision 1 is served on, nothing can be changed" in server.log()
            assert "the store is back, at revision 1" in server.log()
        assert admin(a, "GET", "/state").json()["splits"] == admin(b, "GET", "/state").json()["splits"]


def test_just_after_the_store_was_gone_nobody_is_taken_for_dead(
    models: Path, tmp_path: Path, own_postgresql: PostgreSQL
) -> None:
    url = own_postgresql.database()
    with gateway(models, tmp_path, url, "a") as a, gateway(models, tmp_path, url, "b") as b:
        assert split(a, "1", wait=20).status_code == 200
        b.process.send_signal(19)
        try:
            own_postgresql.kill()
            until(lambda: metric(a, "sluice_store_up") == 0)
            own_postgresql.start()
            own_postgresql.sql("UPDATE sluice.machines SET seen = seen - interval '20 s' WHERE name = 'b'", url)
            until(lambda: metric(a, "sluice_store_up") == 1)
            response = split(a, "2", wait=1)
            assert response.status_code == 504
            # what is said every second is not written through: a server that was killed may know an older word
            assert "not everywhere: b is at" in response.json()["error"]
        finally:
            b.process.send_signal(18)
        until(lambda: answer(b) == "2", 20)


def test_what_was_changed_while_a_gateway_was_cut_off_is_caught_up(
    models: Path, tmp_path: Path, own_postgresql: PostgreSQL
) -> None:
    url = own_postgresql.database()
    with gateway(models, tmp_path, url, "a") as a:
        assert split(a, "1").status_code == 200
        own_postgresql.kill()
        until(lambda: metric(a, "sluice_store_up") == 0)
        own_postgresql.start()
        with gateway(models, tmp_path, url, "b") as b:
            assert split(b, "2", wait=20).status_code == 200
            until(lambda: answer(a) == "2", 10)


def test_a_store_that_went_back_is_followed(
    models: Path, tmp_path: Path, postgresql: Databases, postgresql_database: str
) -> None:
    with gateway(models, tmp_path, postgresql_database, "a") as a:
        for version in ("1", "2", "3"):
            assert split(a, version).status_code == 200
        restored = "UPDATE sluice.splits SET arms = '[[\"1\", 1.0]]'; UPDATE sluice.revision SET value = 1"
        postgresql.sql(f"BEGIN; {restored}; COMMIT", postgresql_database)
        until(lambda: answer(a) == "1", 10)
        assert "the store went back from revision 3 to 1" in a.log()
        assert split(a, "2").json()["revision"] == 2


def test_a_start_waits_for_a_store_that_is_gone(models: Path, tmp_path: Path, own_postgresql: PostgreSQL) -> None:
    url = own_postgresql.database()
    with gateway(models, tmp_path, url, "a") as a:
        assert split(a, "2").status_code == 200
    own_postgresql.stop()
    started = threading.Event()

    def back() -> None:
        started.wait(30)
        own_postgresql.start()

    bringer = threading.Thread(target=back)
    bringer.start()
    with gateway_that_waits(models, tmp_path, url, "a") as (_, admin_url):
        until(lambda: _status(f"{admin_url}/livez") == 200)
        response = httpx.get(f"{admin_url}/readyz")
        assert response.status_code == 503
        assert response.json()["store"].startswith("gone since")
        started.set()
        until(lambda: _status(f"{admin_url}/readyz") == 200)
    bringer.join()


def test_a_start_that_waits_ends_on_sigterm(models: Path, tmp_path: Path, own_postgresql: PostgreSQL) -> None:
    url = own_postgresql.database()
    own_postgresql.stop()
    try:
        with gateway_that_waits(models, tmp_path, url, "a") as (process, admin_url):
            until(lambda: _status(f"{admin_url}/livez") == 200)
            process.terminate()
            assert process.wait(10) == 0
    finally:
        own_postgresql.start()


@pytest.mark.parametrize(
    ("store", "message", "code"),
    [
        ("mysql://u:pass-word@h/d", "store: expected postgresql://user@host:port/database", 2),
        ("postgresql://u:pass-word@h:0/d", "store: expected a port from 1 to 65535, found '0'", 2),
        ("{server}/nowhere", 'database "nowhere" does not exist', 1),
    ],
)
def test_a_store_that_cannot_be_is_told_at_the_start(
    models: Path, tmp_path: Path, postgresql: Databases, store: str, message: str, code: int
) -> None:
    url = store.format(server=postgresql.url.rpartition("/")[0]).replace("sluice@", "sluice:pass-word@")
    command = [sys.executable, "-m", "gateway.cli", "serve", "--models", str(models), "--set", f"store={url}"]
    command += ["--set", f"state={tmp_path}/s", "--set", "admin_port=0", "--set", "http_port=0"]
    done = subprocess.run([*command, "--set", "grpc_port=off"], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "pass-word" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_gateway_alone_loads_no_driver(models: Path, tmp_path: Path, postgresql_database: str) -> None:
    with gateway(models, tmp_path, postgresql_database, "a") as shared:
        assert "asyncpg" in Path(f"/proc/{shared.process.pid}/maps").read_text()
    with gateway(models, tmp_path, "", "b") as alone:
        assert "asyncpg" not in Path(f"/proc/{alone.process.pid}/maps").read_text()


def _status(url: str) -> int:
    try:
        return httpx.get(url).status_code
    except httpx.TransportError:
        return 0


@contextmanager
def gateway_that_waits(
    models: Path, folder: Path, url: str, name: str
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """One that is not ready yet; the URL is the admin port's. The store's comes from a file."""
    (folder / "url").write_text(url + "\n")
    (port,) = gateways._free_ports(1)
    settings = {"models": str(models), "state": str(folder / name), "store_file": str(folder / "url")}
    settings |= {"machine": name, "http_port": "0", "grpc_port": "off", "admin_port": str(port)}
    given = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    process = subprocess.Popen([sys.executable, "-m", "gateway.cli", "serve", *given])
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(20) == 0
