"""Who may not send a request is told so by its head: nothing of its body is kept, and most of it is not even read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event

import grpc
import httpx
import pytest
from gateways import Server, put, running
from rawhttp import Raw, infer, request, tensor
from small_models import affine
from surface import SERVICE, TOKEN

from gateway import pb

GOOD = tensor("x", [1, 4], "FP32", [1, 2, 3, 4])
LOAD = "/v2/repository/models/affine/load"
LARGE = 300 << 20
POLICY = [{"who": "key:scorer", "allow": ["infer"], "models": ["affine"]}]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    put(folder, "affine", 1, affine(2.0))
    return folder


@pytest.fixture(scope="module")
def guarded(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Open but for load calls, which take the admin token and bring files."""
    with running(models, tmp_path_factory.mktemp("s"), admin_token=TOKEN, restricted_load_files="true") as server:
        yield server


@pytest.fixture(scope="module")
def closed(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"auth_policies": json.dumps(POLICY), "restricted_load_files": "true"}
    with running(models, tmp_path_factory.mktemp("s"), admin_token=TOKEN, **settings) as server:
        yield server


@pytest.fixture(scope="module")
def key(closed: Server) -> str:
    reply = httpx.post(
        f"{closed.admin}/admin/v1/keys", json={"name": "scorer"}, headers={"Authorization": f"Bearer {TOKEN}"}
    )
    return str(reply.json()["key"])


def resident(server: Server) -> int:
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) << 10


@pytest.mark.parametrize("path", [LOAD, LOAD + "/", "/v2/models/affine/load", "/load"])
@pytest.mark.parametrize("header", ["X: y", "Authorization: Bearer wrong"])
def test_a_large_body_to_a_load_path_is_not_taken_from_anybody(guarded: Server, path: str, header: str) -> None:
    before = resident(guarded)
    with Raw(guarded.host) as raw:
        raw.send(request(path, b"x" * (1 << 20), header, length=LARGE))
        reply = raw.reply()
        assert reply.status == (401 if "repository" in path else 413)
        assert reply.closes
    assert resident(guarded) - before < 32 << 20


def test_one_in_chunks_neither(guarded: Server) -> None:
    with Raw(guarded.host) as raw:
        raw.send(request(LOAD, b"", "Transfer-Encoding: chunked", length=""))
        assert raw.reply().status == 401
        raw.send(b"100000\r\n" + b"x" * (1 << 20) + b"\r\n")
        assert raw.ends()


def test_who_waits_for_leave_to_send_is_refused_it(guarded: Server) -> None:
    with Raw(guarded.host) as raw:
        raw.send(request(LOAD, b"", "Expect: 100-continue", length=LARGE))
        assert raw.reply().status == 401


def test_who_may_load_may_bring_as_much_as_that(guarded: Server) -> None:
    with Raw(guarded.host) as raw:
        raw.send(request(LOAD, b"", f"Authorization: Bearer {TOKEN}", "Expect: 100-continue", length=LARGE))
        assert raw.reply(bodiless=True).status == 100


def test_infer_bodies_are_refused_by_their_heads(closed: Server) -> None:
    before = resident(closed)
    with Raw(closed.host) as raw:
        head = request("/v2/models/affine/infer", b"", "Inference-Header-Content-Length: 10", length=60 << 20)
        raw.send(head)
        assert raw.reply().status == 401, "without a byte of the body"
    assert resident(closed) - before < 16 << 20


def test_a_connection_goes_on_after_a_small_request_that_was_denied(closed: Server, key: str) -> None:
    wrong, right = ["x-api-key: wrong"], [f"x-api-key: {key}"]
    with Raw(closed.host) as raw:
        for _ in range(3):
            reply = raw.send(infer("affine", GOOD, headers=wrong)).reply()
            assert reply.status == 401
            assert not reply.closes
            assert reply.headers["www-authenticate"].startswith("Bearer")
            assert raw.send(infer("affine", GOOD, headers=right)).reply().json["outputs"][0]["data"] == [2, 4, 6, 8]
            assert raw.send(infer("other", GOOD, headers=right)).reply().status == 403


def test_pipelined_requests_of_several_senders_each_get_their_own_answer(closed: Server, key: str) -> None:
    good = infer("affine", GOOD, headers=[f"x-api-key: {key}"])
    bad = infer("affine", GOOD, headers=["x-api-key: wrong"])
    none = infer("affine", GOOD)
    with Raw(closed.host) as raw:
        for _ in range(4):  # heads are remembered in between
            raw.send(good + bad + none + good + none + good)
            assert [raw.reply().status for _ in range(6)] == [200, 401, 401, 200, 401, 200]


def test_a_body_that_comes_byte_by_byte_is_dropped_as_well(closed: Server, key: str) -> None:
    with Raw(closed.host) as raw:
        assert raw.slowly(infer("affine", GOOD, headers=["x-api-key: wrong"]), step=7).reply().status == 401
        assert raw.slowly(infer("affine", GOOD, headers=[f"x-api-key: {key}"]), step=7).reply().status == 200


def test_a_denied_body_that_never_ends_runs_into_the_limit_of_time(models: Path, tmp_path: Path) -> None:
    settings = {"auth_policies": json.dumps(POLICY), "limits_body_timeout": "1"}
    with running(models, tmp_path, **settings) as server, Raw(server.host) as raw:
        raw.send(request("/v2/models/affine/infer", b"{", length=1000))
        assert raw.reply().status in (401, 408)
        assert raw.ends()


# ---- gRPC


@pytest.mark.parametrize("metadata", [(), (("authorization", "Bearer wrong"),)])
@pytest.mark.parametrize("method", ["RepositoryModelLoad", "ModelInfer"])
def test_a_large_message_is_not_taken_from_anybody(
    guarded: Server, closed: Server, method: str, metadata: tuple[tuple[str, str], ...]
) -> None:
    server = guarded if method == "RepositoryModelLoad" else closed
    before = resident(server)
    peak = before
    with grpc.insecure_channel(server.grpc, [("grpc.max_send_message_length", -1)]) as channel:
        future = channel.unary_unary(f"/{SERVICE}/{method}").future(b"x" * (60 << 20), timeout=30, metadata=metadata)
        while not future.done():
            peak = max(peak, resident(server))
            time.sleep(0.005)
        assert future.code() is grpc.StatusCode.UNAUTHENTICATED
    assert peak - before < 24 << 20


def test_the_answer_comes_before_the_message(closed: Server) -> None:
    """A stream whose client says nothing is told at once that it may not."""
    never = Event()
    with grpc.insecure_channel(closed.grpc) as channel:
        call = channel.stream_unary(f"/{SERVICE}/ModelInfer")

        def silent() -> Iterator[bytes]:
            never.wait(20)
            yield b""

        began = time.monotonic()
        with pytest.raises(grpc.RpcError) as refused:
            call(silent(), timeout=15)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert time.monotonic() - began < 10
        never.set()


def test_reflection_is_for_readers(closed: Server, key: str) -> None:
    request = pb.message("ServerReflectionRequest", "grpc.reflection.v1")(list_services="").SerializeToString()
    codes = {}
    with grpc.insecure_channel(closed.grpc) as channel:
        for name, token in (("none", ""), ("scorer", key), ("admin", TOKEN)):
            call = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
            metadata = [("authorization", f"Bearer {token}")] if token else []
            replies = call(iter([request]), timeout=10, metadata=metadata)
            with suppress(grpc.RpcError):  # its code is asked below
                assert list(replies)
            codes[name] = replies.code().name
    assert codes == {"none": "UNAUTHENTICATED", "scorer": "PERMISSION_DENIED", "admin": "OK"}


def test_who_tries_to_change_something_in_vain_is_in_the_log(models: Path, tmp_path: Path) -> None:
    with running(models, tmp_path, admin_token=TOKEN) as server:
        with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError):
            channel.unary_unary(f"/{SERVICE}/RepositoryModelLoad")(b"", timeout=10)
        httpx.post(f"{server.rest}{LOAD}", headers={"Authorization": "Bearer s3cret"})
        httpx.put(f"{server.admin}/admin/v1/labels/affine", json={}, headers={"Authorization": "Bearer s3cret"})
        httpx.get(f"{server.rest}/v2/models/none")
        denied = [line for line in server.log().splitlines() if "denied: " in line]
        assert [line.partition("denied: ")[2].partition(": ")[0] for line in denied] == [
            f"/{SERVICE}/RepositoryModelLoad, from grpc 127.0.0.1",
            f"POST {LOAD}, from rest 127.0.0.1",
            "PUT /admin/v1/labels/affine, from admin 127.0.0.1",
        ]
        assert "s3cret" not in server.log()
