"""Every way in is known, and needs something; ways that look like others lead no further."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Route
from surface import DENIED, OK, SERVICE, TOKEN, Credentials, Surface, bearer

from gateway import pb
from gateway.control.caller import unnoted
from gateway.core.errors import Unauthenticated
from gateway.protocols.admin import admin_routes
from gateway.protocols.admin.streams import StreamRoutes
from gateway.protocols.checkpoint import Checkpoint
from gateway.protocols.doorman import Doorman
from gateway.protocols.grpc import health, reflection
from gateway.protocols.grpc.service import InferenceService
from gateway.protocols.oip.access import Need
from gateway.protocols.oip.calls import Calls
from gateway.protocols.rest.app import rest_routes
from gateway.protocols.route import Call, need_of
from gateway.security.guard import Guard
from gateway.security.policy import Policies, Policy
from gateway.settings.schema import Restricted

NOTHING: Any = cast(Any, None)

#: whoever asks is answered
OPEN = {"/v2/health/live", "/v2/health/ready", "/metrics", "/livez", "/readyz", "/health/live", "/health/ready"}
OPEN_CALLS = {"ServerLive", "ServerReady"}


def calls() -> Calls:
    restricted = Restricted(repository="open", shared_memory="open", logging="open", trace="open", load_files=True)
    control: Any = SimpleNamespace(note=unnoted)
    return Calls(NOTHING, control, ready=lambda: True, restricted=restricted)


def every_route() -> Iterator[tuple[Call, str]]:
    found = [
        *rest_routes(calls(), NOTHING),
        *admin_routes(NOTHING, NOTHING, render=NOTHING, content_type="", ready=lambda: True),
        *StreamRoutes(NOTHING, NOTHING).routes(),
    ]
    for route in found:
        assert isinstance(route, Call), f"{route} does not say what it needs"
        for method in sorted(route.methods or ()):
            yield route, method


ROUTES = list(every_route())


@pytest.mark.parametrize(("route", "method"), ROUTES, ids=lambda each: getattr(each, "path", each))
def test_every_route_needs_something(route: Call, method: str) -> None:
    need = route.need(method)
    assert (need.action is None) == (route.path in OPEN)
    if method not in ("GET", "HEAD") and need.action == "read":
        # what is asked by POST and changes nothing
        assert route.path == "/v2/repository/index" or route.path.startswith("/v2/cudasharedmemory")


@pytest.mark.parametrize(("route", "method"), ROUTES, ids=lambda each: getattr(each, "path", each))
def test_no_route_is_open_to_nobody(route: Call, method: str) -> None:
    """Held against the doorman that the port has, with a policy for somebody else."""
    admin = not route.path.startswith("/v2")
    guard = Guard("t", Policies([Policy("key:x", ("infer",))]))
    doorman = Doorman(Checkpoint(guard, "x", always=admin), [each for each, _ in ROUTES], slashes=not admin)
    path = route.path.replace("{slot:int}", "1").replace("{", "").replace("}", "")
    scope = {"type": "http", "method": method, "path": path, "headers": [], "root_path": ""}
    if route.path in OPEN:
        doorman.admit(scope)
    else:
        with pytest.raises(Unauthenticated):
            doorman.admit(scope)
        with pytest.raises(Unauthenticated):
            doorman.admit({**scope, "headers": [(b"authorization", b"Bearer x")]})


def test_a_route_that_does_not_say_needs_the_most() -> None:
    plain = Route("/new", NOTHING)
    assert need_of(plain, "GET") == Need("admin")
    assert need_of(object(), "GET") == Need("admin")


def test_every_call_of_grpc_needs_something() -> None:
    methods = InferenceService(calls()).methods()
    for name, method in methods.items():
        assert (method.need.action is None) == (name in OPEN_CALLS)
        for word, action in (("Load", "load"), ("Unload", "load")):
            if word in name:
                assert method.need.action == action
    for name in ("TraceSetting", "LogSettings"):
        change = methods[name].change
        assert change is not None
        assert change.action == "admin"
    for name in ("SystemSharedMemoryRegister", "SystemSharedMemoryUnregister", "SystemSharedMemoryStatus"):
        assert methods[name].need.action == "admin"


def test_every_path_of_grpc_is_closed(surface: Surface) -> None:
    """As the running server has them, by reflection: and what reflection itself says is for readers."""
    paths = [f"/{SERVICE}/{name}" for name in (*InferenceService(calls()).methods(), "ModelInfer", "ModelStreamInfer")]
    paths += [f"/{name}/ServerReflectionInfo" for name in (reflection.SERVICE, reflection.OLDER)]
    paths += [f"/{health.SERVICE}/Check"]
    with surface.channel() as channel:
        for path in paths:
            call = channel.stream_stream(path)
            codes = []
            for metadata in ((), (("authorization", "Bearer wrong"),)):
                replies = call(iter([b""]), timeout=10, metadata=metadata)
                with suppress(grpc.RpcError):  # its code is asked below
                    list(replies)
                codes.append(replies.code().name)
            free = path.rpartition("/")[2] in (*OPEN_CALLS, "Check")
            assert codes == (["OK"] * 2 if free else ["UNAUTHENTICATED"] * 2), path


# ---- ways round


def raw(surface: Surface, data: bytes) -> tuple[int, bytes]:
    """Status and body of what is answered to exactly these bytes."""
    place = urlsplit(surface.server.rest)
    context = ssl.create_default_context(cafile=str(surface.certificates / "ca.pem"))
    with (
        socket.create_connection((place.hostname, place.port), 15) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
    ):
        tls.sendall(data)
        received = b""
        while b"\r\n\r\n" not in received:
            received += tls.recv(1 << 16)
        head, _, body = received.partition(b"\r\n\r\n")
        return int(head.split()[1]), body


INFER = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}'
WAYS = [
    b"POST /v2/models/fraud/infer",
    b"POST /v2/models/fraud/infer/",
    b"POST /v2/models/fraud/infer?x=y",
    b"POST /v2/models/fraud/versions/1/infer",
    b"POST /v2/models/fraud/versions/stable/infer",
    b"POST /v2/models/f%72aud/infer",
    b"POST /v2/models/%66%72%61%75%64/infer",
    b"POST /v2/models/fraud%2Finfer",
    b"POST /v2/models/churn-a%2F..%2Ffraud/infer",
    b"POST /v2/models/churn-a/../fraud/infer",
    b"POST /v2//models/fraud/infer",
    b"POST //v2/models/fraud/infer",
    b"POST /v2/models/fraud/infer#/v2/health/live",
    b"POST /v2/health/live/../../models/fraud/infer",
    b"POST http://test/v2/models/fraud/infer",
    b"POST HTTP://user:pw@test/v2/models/fraud/infer",
    b"POST http://test/v2/health/live/v2/models/fraud/infer",
    b"GET /v2/models/fraud",
    b"HEAD /v2/models/fraud",
    b"GET /v2/models/fraud/",
    b"GET /v2/models/fraud/config",
    b"GET /v2/models/fraud/ready",
    b"GET /v2/models/fraud/versions/1",
    b"GET /v2/models/fraud/versions/1/stats",
    b"GET /v2/models/fraud/trace/setting",
    b"POST /v2/models/fraud/trace/setting",
    b"GET /v2/logging",
    b"POST /v2/logging",
    b"POST /v2/repository/models/fraud/load",
    b"POST /v2/repository/models/fraud/unload/",
    b"POST /v2/repository/models/f%72aud/unload",
    b"POST /v2/systemsharedmemory/region/r/register",
    b"GET /v2/systemsharedmemory/status",
    b"GET /nothing",
    b"PUT /v2/models/fraud/infer",
    b"DELETE /v2/models/fraud",
    b"OPTIONS /v2/models/fraud",
    b"PATCH /v2",
    b"GET /metrics",
    b"GET /admin/v1/keys",
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.decode())
def test_no_way_round_without_credentials(surface: Surface, way: bytes) -> None:
    for more in (b"", b"Authorization: Bearer wrong\r\n", b"X-Forwarded-For: 127.0.0.1\r\nX-Original-URL: /v2\r\n"):
        head = way + b" HTTP/1.1\r\nHost: test\r\n" + more
        status, body = raw(surface, head + b"Content-Length: %d\r\n\r\n" % len(INFER) + INFER)
        assert status in (400, 401), body


@pytest.mark.parametrize("way", [way for way in WAYS if b"raud" in way or b"%66" in way], ids=lambda way: way.decode())
def test_no_way_round_with_credentials_for_something_else(surface: Surface, way: bytes) -> None:
    key = surface.key("round", "admin:churn-*")["key"]
    head = way + b" HTTP/1.1\r\nHost: test\r\nx-api-key: " + key.encode() + b"\r\n"
    status, body = raw(surface, head + b"Content-Length: %d\r\n\r\n" % len(INFER) + INFER)
    assert status in (400, 403, 404, 405), body
    assert b"outputs" not in body


@pytest.mark.parametrize(
    "fields",
    [
        b"Authorization: Bearer %b\r\nAuthorization: Bearer x\r\n",
        b"Authorization: Bearer x\r\nAuthorization: Bearer %b\r\n",
        b"Authorization: Bearer %b\r\nX-Api-Key: x\r\n",
        b"Authorization : Bearer %b\r\n",
        b"Authorization: Bearer %b\r\n, Bearer x\r\n",
        b"Authorization: Bearer\r\n %b\r\n",
        b"X-Authorization: Bearer %b\r\n",
        b"Proxy-Authorization: Bearer %b\r\n",
        b"Cookie: authorization=%b\r\n",
        b"Connection: Authorization\r\nAuthorization: Basic %b\r\n",
    ],
)
def test_hostile_headers(surface: Surface, fields: bytes) -> None:
    fields = fields.replace(b"%b", TOKEN.encode())
    head = b"GET /v2/models/churn-a HTTP/1.1\r\nHost: test\r\n" + fields + b"\r\n"
    status, _ = raw(surface, head)
    assert status in (400, 401)
    trailers = b"0\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
    status, _ = raw(
        surface,
        b"POST /v2/repository/index HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + trailers,
    )
    assert status == 401


@given(st.text(min_size=1, max_size=40))
def test_whatever_a_path_says_the_doorman_knows_who_asks(path: str) -> None:
    """What routes make of a path, the application makes of it too: they are the same ones."""
    guard = Guard("t", Policies([Policy("key:x", ("infer",))]))
    doorman = Doorman(Checkpoint(guard, "x"), [each for each, _ in ROUTES], slashes=True)
    scope = {"type": "http", "method": "POST", "path": "/" + path, "headers": [], "root_path": ""}
    if "/" + path.removesuffix("/") not in OPEN:
        with pytest.raises(Unauthenticated):
            doorman.admit(scope)


def test_who_may_read_sees_those_models_and_no_others(surface: Surface) -> None:
    reader = bearer(surface.key("reader", "read:churn-*", "admin:none")["key"])
    rest, admin = surface.server.rest, surface.server.admin
    index = surface.send("POST", f"{rest}/v2/repository/index", reader).json()
    assert {each["name"] for each in index} == {"churn-a", "churn-b"}
    stats = surface.send("GET", f"{rest}/v2/models/stats", reader).json()
    assert {each["name"] for each in stats["model_stats"]} == {"churn-a", "churn-b"}
    assert "fraud" not in surface.send("GET", f"{rest}/v2/openapi.json", reader).text
    models = surface.send("GET", f"{admin}/admin/v1/models", reader).json()["models"]
    assert {each["name"] for each in models} == {"churn-a", "churn-b"}
    assert surface.send("GET", f"{rest}/v2", reader).status_code == 200
    assert surface.send("GET", f"{admin}/admin/v1/state", reader).status_code == 403
    assert surface.send("GET", f"{rest}/v2/health/ready", Credentials()).status_code == 200
    assert surface.send("GET", f"{admin}/metrics", Credentials()).status_code == 200


def test_the_same_over_grpc(surface: Surface) -> None:
    reader = bearer(surface.key("reader", "read:churn-*")["key"])
    with surface.channel() as channel:
        for name in ("RepositoryIndex", "ModelStatistics"):
            read = pb.message(f"{name}Response").FromString
            reply = channel.unary_unary(f"/{SERVICE}/{name}", None, read)(b"", timeout=10, metadata=reader.headers)
            names = {each.name for each in (reply.models if name == "RepositoryIndex" else reply.model_stats)}
            assert names == {"churn-a", "churn-b"}


def test_a_key_that_may_load_some_models(surface: Surface) -> None:
    loader = bearer(surface.key("loader", "load:churn-*")["key"])
    for model, status in (("churn-a", 503), ("fraud", 403), ("none", 403)):  # 503: not in this control mode
        reply = surface.send("POST", f"{surface.server.rest}/v2/repository/models/{model}/load", loader)
        assert reply.status_code == status
        reply = surface.send("POST", f"{surface.server.admin}/admin/v1/models/{model}/load", loader)
        assert reply.status_code == status
    assert surface.rest(loader) == surface.grpc(loader) == DENIED


def test_keys_cannot_be_made_by_who_may_administer_some_models(surface: Surface) -> None:
    some = bearer(surface.key("some", "admin:churn-*")["key"])
    url = f"{surface.server.admin}/admin/v1/keys"
    assert surface.send("POST", url, some, json={"name": "x", "allow": ["admin"]}).status_code == 403
    assert surface.send("GET", url, some).status_code == 403
    every = bearer(surface.key("every", "admin")["key"])
    assert surface.send("GET", url, every).status_code == 200
    assert surface.rest(every) == surface.admin(every) == OK


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"name": "x", "allow": ["fly"]}, "expected one of infer, read, load, split, admin"),
        ({"name": "x", "allow": ["infer:"]}, "expected a pattern of models"),
        ({"name": "a b"}, "name: expected up to 63 letters"),
        ({"name": "x", "expires_in": -1}, "expires_in"),
        ({"name": "x", "secret": "mine"}, "unknown field `secret`"),
        ({}, "missing required field `name`"),
    ],
)
def test_a_key_that_cannot_be_is_refused_in_words(surface: Surface, body: Any, says: str) -> None:
    before = surface.keys()
    reply = surface.send("POST", f"{surface.server.admin}/admin/v1/keys", bearer(TOKEN), json=body)
    assert reply.status_code == 400
    assert says in reply.json()["error"]
    assert surface.keys() == before


def test_a_key_that_is_not_there_cannot_be_revoked(surface: Surface) -> None:
    url = f"{surface.server.admin}/admin/v1/keys"
    assert surface.send("DELETE", f"{url}/nobody", bearer(TOKEN)).status_code == 404
    key = surface.key("twice")
    assert surface.send("DELETE", f"{url}/{key['key']}", bearer(TOKEN)).status_code == 400
    surface.revoke(key["id"])
    assert surface.send("DELETE", f"{url}/{key['id']}", bearer(TOKEN)).status_code == 404
