"""The port: TLS, limits, compression, the token, metadata, and how it ends."""

from __future__ import annotations

import queue
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from conformance.oip import NAMES
from gateways import running
from servers.server import until

from gateway import pb
from gateway.routing.split import point

SERVICE = "inference.GRPCInferenceService"
ROWS = np.array([[1, 2, 3, 4]], np.float32)


def message(model: str, array: Any, **fields: Any) -> bytes:
    found = pb.message("ModelInferRequest")(model_name=model, **fields)
    found.inputs.add(name="n" if model == "laps" else "x", datatype=NAMES[array.dtype], shape=array.shape)
    found.raw_input_contents.append(array.tobytes())
    body: bytes = found.SerializeToString()
    return body


def infer(channel: grpc.Channel, body: bytes, **how: Any) -> Any:
    call = channel.unary_unary(f"/{SERVICE}/ModelInfer", None, pb.message("ModelInferResponse").FromString)
    return call(body, **{"timeout": 20, **how})


def test_an_unknown_method(server: Any) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        for path in (f"/{SERVICE}/Nothing", "/x/ModelInfer", f"/{SERVICE}/ModelInfer/", "/inference/ModelInfer"):
            with pytest.raises(grpc.RpcError) as failure:
                channel.unary_unary(path)(b"", timeout=20)
            assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("RepositoryModelLoad", {"model_name": "spare"}),
        ("RepositoryModelUnload", {"model_name": "spare"}),
        ("LogSettings", {"settings": {"log_info": {"bool_param": True}}}),
        ("TraceSetting", {"settings": {"trace_rate": {"value": ["1"]}}}),
    ],
)
@pytest.mark.parametrize("authorization", [(), ("Bearer nope",), ("t0ken",), ("Bearer t0ken", "Bearer t0ken")])
def test_restricted_calls_without_the_token(guarded: Any, name: str, fields: Any, authorization: Any) -> None:
    request = pb.message(f"{name}Request")()
    for field, value in fields.items():
        if isinstance(value, str):
            setattr(request, field, value)
        else:
            for key, choice in value.items():
                for kind, content in choice.items():
                    if isinstance(content, list):
                        getattr(request.settings[key], kind).extend(content)
                    else:
                        setattr(request.settings[key], kind, content)
    metadata = [("authorization", value) for value in authorization]
    with grpc.insecure_channel(guarded.grpc) as channel:
        call = channel.unary_unary(f"/{SERVICE}/{name}")
        with pytest.raises(grpc.RpcError) as failure:
            call(request.SerializeToString(), timeout=20, metadata=metadata)
        assert failure.value.code() is grpc.StatusCode.UNAUTHENTICATED
        found = [("authorization", "Bearer t0ken")]
        if name != "RepositoryModelUnload" and name != "TraceSetting":
            call(request.SerializeToString(), timeout=20, metadata=found)
        entries = httpx.get(f"{guarded.admin}/admin/v1/audit", headers={"Authorization": "Bearer t0ken"}).json()
        assert all(entry["origin"].startswith("grpc ipv4:127.0.0.1:") for entry in _entries(entries))


def _entries(page: Any) -> list[Any]:
    found = page["entries"] if isinstance(page, dict) else page
    return [entry for entry in found if entry["action"].startswith(("load", "unload"))]


def test_calls_that_are_off(guarded: Any) -> None:
    with grpc.insecure_channel(guarded.grpc) as channel:
        for name in ("SystemSharedMemoryRegister", "SystemSharedMemoryUnregister"):
            with pytest.raises(grpc.RpcError, match=r"restricted\.shared_memory") as failure:
                channel.unary_unary(f"/{SERVICE}/{name}")(b"", timeout=20)
            assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert channel.unary_unary(f"/{SERVICE}/SystemSharedMemoryStatus")(b"", timeout=20) == b""


def test_tls(start: Any, certificates: Path) -> None:
    server = start(tls_cert=str(certificates / "server.pem"), tls_key=str(certificates / "server.key"))
    trusted = grpc.ssl_channel_credentials((certificates / "ca.pem").read_bytes())
    with grpc.secure_channel(server.grpc, trusted) as channel:
        assert infer(channel, message("affine", ROWS)).model_name == "affine"
    stranger = grpc.ssl_channel_credentials((certificates / "stranger.pem").read_bytes())
    for channel in (grpc.secure_channel(server.grpc, stranger), grpc.insecure_channel(server.grpc)):
        with channel, pytest.raises(grpc.RpcError) as failure:
            infer(channel, message("affine", ROWS), timeout=5)
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE


def test_mtls(start: Any, certificates: Path) -> None:
    files = {"cert": "server.pem", "key": "server.key", "client_ca": "ca.pem"}
    paths = {f"tls_{name}": str(certificates / file) for name, file in files.items()}
    server = start(**paths, tls_client_auth="required")
    ca, key, cert = ((certificates / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem"))
    with grpc.secure_channel(server.grpc, grpc.ssl_channel_credentials(ca, key, cert)) as channel:
        assert infer(channel, message("affine", ROWS)).model_name == "affine"
    wrong = ((certificates / name).read_bytes() for name in ("stranger.key", "stranger.pem"))
    for credentials in (grpc.ssl_channel_credentials(ca), grpc.ssl_channel_credentials(ca, *wrong)):
        with grpc.secure_channel(server.grpc, credentials) as channel, pytest.raises(grpc.RpcError) as failure:
            infer(channel, message("affine", ROWS), timeout=5)
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE


def test_compressed_replies(start: Any) -> None:
    server = start(grpc_compression="gzip")
    large = np.zeros(100_000, np.float32)
    with grpc.insecure_channel(server.grpc) as channel:
        for array in (large, ROWS[0]):
            call = channel.unary_unary(f"/{SERVICE}/ModelInfer", None, pb.message("ModelInferResponse").FromString)
            reply, told = call.with_call(message("echo-FP32", array), timeout=20)
            assert reply.raw_output_contents[0] == array.tobytes()
            coded = dict(told.initial_metadata()).get("grpc-encoding", "identity")
            assert coded in ("gzip" if array is large else "identity", "identity")
        stream = channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer", None, pb.message("ModelStreamInferResponse").FromString
        )
        bodies = [message("echo-FP32", large), message("echo-FP32", ROWS[0])]
        replies = [reply.infer_response.raw_output_contents[0] for reply in stream(iter(bodies), timeout=20)]
        assert replies == [large.tobytes(), ROWS[0].tobytes()]


def test_a_key_sticks(server: Any) -> None:
    weights = {"1": 50, "2": 50}
    httpx.put(
        f"{server.admin}/admin/v1/splits/affine",
        json={"weights": weights, "salt": "s"},
        headers={"Authorization": f"Bearer {token(server)}"},
    ).raise_for_status()
    try:
        with grpc.insecure_channel(server.grpc) as channel:
            for number in range(40):
                key = f"user-{number}"
                expected = "1" if point("s", key) < 2**63 else "2"
                for _ in range(2):
                    reply = infer(channel, message("affine", ROWS), metadata=(("sluice-key", key),))
                    assert reply.model_version == expected
                assert infer(channel, message("affine", ROWS, id=key)).model_version == expected
    finally:
        httpx.delete(
            f"{server.admin}/admin/v1/splits/affine", headers={"Authorization": f"Bearer {token(server)}"}
        ).raise_for_status()


def token(server: Any) -> str:
    environment = Path(f"/proc/{server.process.pid}/environ").read_text().split("\0")
    state = next(each.partition("=")[2] for each in environment if each.startswith("SLUICE_STATE="))
    return (Path(state) / "admin-token").read_text().strip()


def test_an_old_connection_is_told_to_go_and_no_call_fails(start: Any) -> None:
    server = start(grpc_max_connection_age="0.3", grpc_max_connection_age_grace="5")
    with grpc.insecure_channel(server.grpc) as channel:
        peers = set()
        while len(peers) < 3:
            assert infer(channel, message("affine", ROWS)).model_name == "affine"
            peers.add(connections(server))


def test_a_call_may_outlive_its_connections_age_by_the_grace(start: Any) -> None:
    server = start(grpc_max_connection_age="0.2", grpc_max_connection_age_grace="30")
    with grpc.insecure_channel(server.grpc) as channel:
        before = None
        slow = channel.unary_unary(f"/{SERVICE}/ModelInfer").future(message("laps", np.array(1500, np.int64)))
        while not slow.done() or connections(server) == before:
            # others are on newer connections meanwhile
            assert infer(channel, message("affine", ROWS)).model_name == "affine"
            before = before or connections(server)
        assert slow.result(20)


def test_after_the_grace_what_is_left_fails_in_a_way_that_may_be_tried_again(start: Any) -> None:
    server = start(grpc_max_connection_age="0.2", grpc_max_connection_age_grace="0.2")
    with grpc.insecure_channel(server.grpc, options=[("grpc.enable_retries", 0)]) as channel:
        slow = channel.unary_unary(f"/{SERVICE}/ModelInfer").future(message("laps", np.array(20_000, np.int64)))
        with pytest.raises(grpc.RpcError) as failure:
            slow.result(60)
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
        assert infer(channel, message("affine", ROWS)).model_name == "affine"


def test_a_client_that_pings_too_often_is_sent_away_and_comes_back_calmer(start: Any) -> None:
    server = start(grpc_min_ping_interval="30")
    options = [("grpc.keepalive_time_ms", 100), ("grpc.keepalive_permit_without_calls", 1)]
    options += [("grpc.http2.max_pings_without_data", 0)]
    with grpc.insecure_channel(server.grpc, options=options) as channel:
        assert infer(channel, message("affine", ROWS)).model_name == "affine"
        before = connections(server)
        assert before
        until(lambda: connections(server) != before, 30)
        for _ in range(20):
            assert infer(channel, message("affine", ROWS)).model_name == "affine"


def test_a_client_that_asks_within_the_interval_stays(start: Any) -> None:
    server = start(grpc_min_ping_interval="0.05", grpc_keepalive_time="0.2", grpc_keepalive_timeout="5")
    options = [("grpc.keepalive_time_ms", 300), ("grpc.keepalive_permit_without_calls", 1)]
    options += [("grpc.http2.max_pings_without_data", 0)]
    with grpc.insecure_channel(server.grpc, options=options) as channel:
        slow = channel.unary_unary(f"/{SERVICE}/ModelInfer").future(message("laps", np.array(2500, np.int64)))
        infer(channel, message("affine", ROWS))
        before = connections(server)
        assert slow.result(60)
        assert connections(server) == before


def connections(server: Any) -> tuple[str, ...]:
    """Our ends of the connections to the port."""
    port = f":{int(server.grpc.rpartition(':')[2]):04X}"
    # grpc's IPv4 is that of IPv6 sockets
    lines = [line for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return tuple(sorted(f[1] for f in map(str.split, lines) if f[2].endswith(port) and f[3] == "01"))


def test_a_taken_port_is_said_in_a_line(server: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gateway.cli", "serve", "--models", str(tmp_path), "--state", str(tmp_path / "s")]
    ports = ["--http-port", "0", "--admin-port", "0", "--grpc-port", server.grpc.rpartition(":")[2]]
    done = subprocess.run([*command, "--host", "127.0.0.1", *ports], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert f"cannot listen on {server.grpc}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_where_it_is_off_nothing_of_it_is_loaded(models: Path, tmp_path: Path) -> None:
    with running(models, tmp_path, grpc_port="off") as server:
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()
        assert "cygrpc" not in maps
        with pytest.raises(ConnectionRefusedError), socket.create_connection(server.grpc.split(":")):
            pass


def test_the_end(models: Path, tmp_path: Path) -> None:
    """What is in flight ends well, an idle stream and a watch are ended, and the process with them."""
    said: queue.Queue[Any] = queue.Queue()
    with running(models, tmp_path) as server, grpc.insecure_channel(server.grpc) as channel:
        stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(iter(said.get, None))
        said.put(message("affine", ROWS))
        assert next(stream)
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20)
        assert next(watch) == b"\x08\x01"
        slow = channel.unary_unary(f"/{SERVICE}/ModelInfer").future(message("laps", np.array(800, np.int64)))
        call = channel.unary_unary(f"/{SERVICE}/ServerLive")
        for _ in range(5):
            call(b"", timeout=20)
        server.process.send_signal(signal.SIGTERM)
        assert slow.result(20)
        with pytest.raises(grpc.RpcError) as failure:
            next(stream)
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
        assert [*watch] in ([b"\x08\x02"], [])
        assert server.process.wait(10) == 0
        said.put(None)
