"""The admin application on a real manager with real models, served by uvicorn on a port of its own."""

import asyncio
import shutil
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from gateway.control.follower import Follower
from gateway.control.plane import ControlPlane
from gateway.models.batchpolicy import BatchPolicy
from gateway.models.engine import onnx_engine
from gateway.models.manager import Manager
from gateway.models.onnx import Runtime
from gateway.models.repository import Repository
from gateway.protocols.admin import admin_app, admin_routes
from gateway.protocols.admin.change import MAX_BODY
from gateway.protocols.checkpoint import Checkpoint
from gateway.protocols.doorman import Doorman
from gateway.protocols.views import LocalInventory
from gateway.routing.split import Splits
from gateway.security.guard import Guard
from gateway.settings import Settings
from gateway.store.sqlite import SqliteStore

TOKEN = "tökén"
AUTHORIZATION = {"Authorization": f"Bearer {TOKEN}".encode()}


async def page() -> bytes:
    return b"up 1\n"


class Running(threading.Thread):
    """The server and all that it stands on, in a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.ready = True
        self.loop = asyncio.new_event_loop()
        self.plane: ControlPlane
        self.server: uvicorn.Server
        self.started = threading.Event()

    def run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._serve())
        self.loop.close()

    async def _serve(self) -> None:
        with ThreadPoolExecutor(2) as pool:
            engine = onnx_engine(Runtime(1), pool, BatchPolicy())
            manager = Manager(Repository(Path(self.settings.models)), engine, mode=self.settings.control_mode)
            async with SqliteStore(None) as store:
                follower = Follower(manager, Splits(), self.settings, store.blob)
                self.plane = ControlPlane(store, follower, self.settings)
                await self.plane.start()
                routes = admin_routes(
                    self.plane,
                    LocalInventory(manager, lambda: self.plane.desired),
                    render=page,
                    content_type="text/plain; version=0.0.4; charset=utf-8",
                    ready=lambda: self.ready,
                )
                app = admin_app(routes, Doorman(Checkpoint(Guard(TOKEN), "admin", always=True), routes))
                self.server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
                self.loop.call_soon(self.started.set)
                await self.server.serve([self.socket])
                await self.plane.close()
            await manager.close()

    def stop(self) -> None:
        self.server.should_exit = True
        self.join()


@pytest.fixture(scope="module")
def folder(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`affine` in versions 1 and 2, of which the policy holds 2, and `echo`."""
    folder = tmp_path_factory.mktemp("admin") / "models"
    shutil.copytree(models, folder)
    (folder / "affine" / "config.pbtxt").unlink()
    return folder


def serving(settings: Settings) -> Iterator[Running]:
    running = Running(settings)
    running.start()
    assert running.started.wait(20)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def unchanged(folder: Path) -> Iterator[Running]:
    """For tests that change nothing."""
    yield from serving(Settings(models=str(folder)))


@pytest.fixture
def server(folder: Path) -> Iterator[Running]:
    yield from serving(Settings(models=str(folder)))


@pytest.fixture
def explicit(folder: Path) -> Iterator[Running]:
    yield from serving(Settings(models=str(folder), control_mode="explicit"))


def plain(method: str, url: str, **given: Any) -> httpx.Response:
    return httpx.request(method, url, verify=False, trust_env=False, **given)  # noqa: S501 - all of it is plain HTTP


def ask(server: Running, method: str, path: str, **given: Any) -> httpx.Response:
    headers = AUTHORIZATION | given.pop("headers", {})
    return plain(method, server.url + path, headers=headers, **given)


def test_a_gateway_alone_waits_for_nobody_and_has_no_machines(server: Running) -> None:
    body = {"weights": {"1": 1}}
    assert ask(server, "PUT", "/admin/v1/splits/affine?wait=5", json=body).status_code == 200
    assert ask(server, "GET", "/admin/v1/machines").json() == {"revision": 1, "machines": []}
    for wait in ("0", "601", "soon"):
        reply = ask(server, "PUT", f"/admin/v1/splits/affine?wait={wait}", json=body)
        assert (reply.status_code, "wait: expected a number" in reply.text) == (400, True)


def test_probes_and_metrics_are_open(server: Running) -> None:
    for path in ("/livez", "/health/live", "/readyz", "/health/ready"):
        assert plain("GET", server.url + path).status_code == 200
    assert plain("GET", server.url + "/livez").json() == {"live": True}
    assert plain("GET", server.url + "/readyz").json() == {"ready": True, "store": "ok"}
    metrics = plain("GET", server.url + "/metrics")
    assert metrics.content.startswith(b"up 1\n")
    assert b"\nsluice_control_revision 0\n" in metrics.content
    assert b"\nsluice_store_up 1\n" in metrics.content
    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    server.ready = False
    reply = plain("GET", server.url + "/readyz")
    assert (reply.status_code, reply.json()) == (503, {"ready": False, "store": "ok"})
    assert plain("GET", server.url + "/livez").status_code == 200


@pytest.mark.parametrize(
    "header",
    [None, b"Bearer wrong", b"Bearer", b"Basic " + TOKEN.encode(), b"Bearer " + TOKEN.encode() + b"x", b"\xff"],
)
@pytest.mark.parametrize(
    "path", ["/admin/v1/state", "/admin/v1/splits/affine", "/nothing", "/metrics/", "/", "//readyz"]
)
def test_everything_else_wants_the_token(unchanged: Running, path: str, header: bytes | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for method in ("GET", "PUT", "DELETE", "POST", "OPTIONS"):
        reply = plain(method, unchanged.url + path, headers=headers)
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"].startswith("Bearer")
        assert "access-control-allow-origin" not in reply.headers


def test_two_tokens_are_none(unchanged: Running) -> None:
    headers = [("Authorization", f"Bearer {TOKEN}".encode()), ("Authorization", b"Bearer x")]
    assert plain("GET", unchanged.url + "/admin/v1/state", headers=headers).status_code == 401


def test_a_split_is_set_shown_and_cleared(server: Running) -> None:
    path = "/admin/v1/splits/affine"
    assert ask(server, "GET", path).status_code == 404
    reply = ask(server, "PUT", path, json={"weights": {"2": 10, "1": 90}})
    assert reply.status_code == 200
    assert reply.headers["etag"] == '"1"'
    expected = {"revision": 1, "model": "affine", "weights": {"2": 10, "1": 90}, "salt": "affine", "source": "api"}
    assert reply.json() == expected == ask(server, "GET", path).json()
    assert list(reply.json()["weights"]) == ["2", "1"]
    assert ask(server, "GET", "/admin/v1/splits").json() == {"revision": 1, "splits": [expected]}
    assert ask(server, "PUT", path, json={"weights": {"1": 1}, "salt": "x"}).json()["salt"] == "x"
    assert ask(server, "DELETE", path).json() == {"revision": 3, "split": None}
    assert ask(server, "DELETE", path).status_code == 404


def test_a_change_may_depend_on_the_revision(server: Running) -> None:
    path = "/admin/v1/splits/affine"
    body = {"weights": {"1": 1}}
    state = ask(server, "GET", "/admin/v1/state")
    assert state.headers["etag"] == '"0"'
    assert ask(server, "PUT", path, json=body, headers={"If-Match": state.headers["etag"]}).status_code == 200
    reply = ask(server, "PUT", path, json=body, headers={"If-Match": '"0"'})
    assert (reply.status_code, reply.headers["etag"]) == (412, '"1"')
    assert reply.json() == {"error": "the control state is at revision 1, not 0"}
    assert ask(server, "PUT", path, json=body, headers={"If-Match": "*"}).status_code == 200
    assert ask(server, "PUT", path, json=body, headers={"If-Match": 'W/"2"'}).status_code == 400
    assert ask(server, "GET", path).json()["revision"] == 2


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "missing required field `weights`"),
        (b"{", 400, "failed to parse the request"),
        (b'{"weights": {"1": 1}, "sald": "x"}', 400, "unknown field `sald`"),
        (b'{"weights": {"1": "many"}}', 400, "Expected `float`, got `str` - at `$.weights[...]`"),
        (b'{"weights": {"1": -1}}', 400, "weight of '1' is -1"),
        (b'{"weights": {}}', 400, "all zero"),
        (b'{"weights": {"1": 1, "9": 1}}', 404, "no version '9', there are: 1, 2"),
        (b'{"weights": {"stable": 1}}', 404, "no label 'stable', there are: 1, 2"),
        (b"[" * 100_000, 400, "failed to parse the request"),
        (b" " * (MAX_BODY + 1), 413, "limit of 1048576 bytes"),
    ],
)
def test_a_split_that_cannot_be_is_refused_in_words(unchanged: Running, body: bytes, status: int, says: str) -> None:
    reply = ask(unchanged, "PUT", "/admin/v1/splits/affine", content=body)
    assert reply.status_code == status
    assert says in reply.json()["error"]
    assert ask(unchanged, "GET", "/admin/v1/state").json()["revision"] == 0


@pytest.mark.parametrize("model", ["nope", "..", "a%2Fb", "%2e%2e%2fetc", "%00", "%ff"])
def test_models_that_are_not_there(unchanged: Running, model: str) -> None:
    for method, path in (("PUT", "splits"), ("PUT", "labels"), ("GET", "models")):
        body = {"json": {"weights": {"1": 1}} if path == "splits" else {"a": "1"}} if method == "PUT" else {}
        assert ask(unchanged, method, f"/admin/v1/{path}/{model}", **body).status_code in (400, 404)


def test_labels_are_replaced_changed_and_cleared(server: Running) -> None:
    path = "/admin/v1/labels/affine"
    assert ask(server, "GET", path).json() == {"revision": 0, "model": "affine", "labels": {}}
    assert ask(server, "PUT", path, json={"stable": "1", "canary": 2}).json()["labels"] == {
        "stable": "1",
        "canary": "2",
    }
    assert ask(server, "PATCH", path, json={"canary": None, "old": 1}).json()["labels"] == {"stable": "1", "old": "1"}
    assert ask(server, "PUT", path, json={"canary": 2}).json()["labels"] == {"canary": "2"}
    assert ask(server, "GET", "/admin/v1/labels").json()["labels"] == {"affine": {"canary": "2"}}
    assert ask(server, "PUT", path, json={"x": None}).status_code == 400
    assert ask(server, "PUT", path, json={"x": 9}).status_code == 404
    assert ask(server, "PUT", path, json={"7": 1}).status_code == 400
    assert ask(server, "PUT", path, json={"x": [1]}).status_code == 400
    assert ask(server, "DELETE", path).json()["labels"] == {}


def test_models_show_versions_labels_split_and_tensors(server: Running) -> None:
    ask(server, "PUT", "/admin/v1/labels/affine", json={"canary": 2})
    ask(server, "PUT", "/admin/v1/splits/affine", json={"weights": {"1": 9, "canary": 1}})
    listed = ask(server, "GET", "/admin/v1/models").json()
    assert [model["name"] for model in listed["models"]] == ["affine", "echo"]
    shown = ask(server, "GET", "/admin/v1/models/affine").json()
    assert shown["split"] == {"1": 9, "canary": 1}
    assert shown["labels"] == {"canary": "2"}
    assert shown["versions"] == [
        {"version": "1", "state": "READY", "labels": [], "succeeded": 0, "failed": 0, "pending": 0},
        {"version": "2", "state": "READY", "labels": ["canary"], "succeeded": 0, "failed": 0, "pending": 0},
    ]
    assert shown["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert ask(server, "GET", "/admin/v1/models/nope").status_code == 404


def test_models_are_loaded_and_unloaded_in_explicit_mode(server: Running, explicit: Running) -> None:
    assert ask(server, "POST", "/admin/v1/models/affine/load").status_code == 503
    config = {"version_policy": {"specific": {"versions": [1]}}}
    reply = ask(explicit, "POST", "/admin/v1/models/affine/load", json={"config": config})
    assert reply.status_code == 200
    assert [v["version"] for v in reply.json()["versions"] if v["state"] == "READY"] == ["1"]
    state = ask(explicit, "GET", "/admin/v1/state").json()
    assert state["control_mode"] == "explicit"
    assert state["models"]["affine"]["loaded"] is True
    assert ask(explicit, "POST", "/admin/v1/models/affine/unload").json() == {"revision": 2}
    assert ask(explicit, "GET", "/admin/v1/state").json()["models"]["affine"]["loaded"] is False
    assert ask(explicit, "POST", "/admin/v1/models/nope/load").status_code == 404
    assert ask(explicit, "POST", "/admin/v1/models/affine/load", json={"config": 3}).status_code == 400
    reply = ask(explicit, "POST", "/admin/v1/models/affine/load", json={"config": {"no_such": 1}})
    assert reply.status_code == 400
    assert "no_such" in reply.json()["error"]


def test_the_trail(server: Running) -> None:
    for weight in (1, 2, 3):
        ask(server, "PUT", "/admin/v1/splits/affine", json={"weights": {"1": weight}})
    entries = ask(server, "GET", "/admin/v1/audit?limit=2").json()["entries"]
    assert [entry["after"] for entry in entries] == [3, 2]
    assert entries[0]["actor"] == "admin"
    assert entries[0]["origin"] == "admin 127.0.0.1"
    assert entries[0]["detail"] == {"weights": {"1": 3}, "salt": "affine"}
    assert entries[0]["at"].endswith("+00:00")
    older = ask(server, "GET", f"/admin/v1/audit?before={entries[-1]['id']}").json()["entries"]
    assert [entry["after"] for entry in older] == [1]
    for wrong in ("limit=0", "limit=1001", "before=x", "limit=-1", "limit=%C2%B2"):
        assert ask(server, "GET", f"/admin/v1/audit?{wrong}").status_code == 400


def test_wrong_verbs_and_routes_are_json(unchanged: Running) -> None:
    reply = ask(unchanged, "POST", "/admin/v1/splits/affine")
    assert (reply.status_code, reply.json()) == (405, {"error": "Method Not Allowed"})
    assert ask(unchanged, "GET", "/admin/v2").json() == {"error": "Not Found"}
    assert ask(unchanged, "GET", "/admin/v1/state").headers["cache-control"] == "no-store"
