"""Quotas of clients, over REST and gRPC."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from gateways import Server, put, running
from small_models import affine
from surface import SERVICE, TOKEN

from gateway import pb

#: slow enough that nothing comes back while a test runs, but for what it waits for
QUOTAS = [
    {"who": "key:requests", "requests_per_second": 0.02, "requests_burst": 5},
    {"who": "key:rows", "rows_per_second": 0.02, "rows_burst": 10},
    {"who": "anonymous", "requests_per_second": 0.02, "requests_burst": 3},
]
POLICIES = [{"who": "*", "allow": ["infer", "read"]}]
ADMIN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    put(tmp_path / "models", "affine", 1, affine(2.0))
    settings = {"auth_quotas": json.dumps(QUOTAS), "auth_policies": json.dumps(POLICIES)}
    with running(tmp_path / "models", tmp_path / "state", admin_token=TOKEN, **settings) as found:
        yield found


def key(server: Server, name: str) -> str:
    made = httpx.post(f"{server.admin}/admin/v1/keys", json={"name": name}, headers=ADMIN)
    return str(made.json()["key"])


def body(rows: int) -> dict[str, Any]:
    tensor = {"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": [1.0] * (rows * 4)}
    return {"inputs": [tensor]}


def message(rows: int) -> bytes:
    request = pb.message("ModelInferRequest")(model_name="affine")
    request.inputs.add(name="x", datatype="FP32", shape=[rows, 4]).contents.fp32_contents.extend([1.0] * (rows * 4))
    found: bytes = request.SerializeToString()
    return found


def over_grpc(server: Server, token: str, rows: int) -> tuple[str, str]:
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        try:
            call(message(rows), timeout=10, metadata=[("x-api-key", token)] if token else [])
        except grpc.RpcError as failure:
            trailers = dict(failure.trailing_metadata())
            return failure.code().name, trailers.get("grpc-retry-pushback-ms", "")
        return "OK", ""


def test_requests_over_both_ports_are_one_quota(server: Server) -> None:
    token = key(server, "requests")
    other = key(server, "requests")  # of the same client
    url = f"{server.rest}/v2/models/affine/infer"
    with httpx.Client() as client:
        found = [client.post(url, json=body(1), headers={"x-api-key": token}) for _ in range(4)]
        assert [each.status_code for each in found] == [200] * 4
        assert over_grpc(server, other, 1)[0] == "OK"
        for _ in range(3):  # a head that is remembered is not let through by that
            refused = client.post(url, json=body(1), headers={"x-api-key": token})
            assert refused.status_code == 429
            assert 1 <= int(refused.headers["retry-after"]) <= 50
            assert "over this client's quota of requests" in refused.json()["error"]
        code, pushback = over_grpc(server, token, 1)
        assert code == "RESOURCE_EXHAUSTED"
        assert 0 < int(pushback) <= 50_000
        assert client.get(f"{server.rest}/v2", headers={"x-api-key": token}).status_code == 429
        assert client.get(f"{server.rest}/v2/health/ready", headers={"x-api-key": token}).status_code == 200
        assert client.post(url, json=body(1), headers=ADMIN).status_code == 200, "whoever has no quota has no limit"
    assert 'sluice_auth_denied_total{port="rest",reason="quota"} 4' in httpx.get(f"{server.admin}/metrics").text


def test_rows_of_both_ports_are_one_quota(server: Server) -> None:
    token = key(server, "rows")
    url = f"{server.rest}/v2/models/affine/infer"
    with httpx.Client(headers={"x-api-key": token}) as client:
        large = client.post(url, json=body(11))
        assert large.status_code == 413
        assert "11 rows at once exceed this client's burst of 10: send fewer" in large.json()["error"]
        assert client.post(url, json=body(6)).status_code == 200
        assert client.post(url, json=body(6)).status_code == 429
        assert over_grpc(server, token, 5)[0] == "RESOURCE_EXHAUSTED"
        assert over_grpc(server, token, 4)[0] == "OK"
        refused = client.post(url, json=body(1))
        assert refused.status_code == 429
        assert "quota of rows" in refused.json()["error"]
        page = httpx.get(f"{server.admin}/metrics").text
        assert 'sluice_auth_denied_total{port="rest",reason="quota"} 3' in page
        assert 'sluice_auth_denied_total{port="grpc",reason="quota"} 1' in page
        assert client.get(f"{server.rest}/v2").status_code == 200


def test_a_stream_has_no_quota_of_its_own(server: Server) -> None:
    token = key(server, "rows")
    read = pb.message("ModelStreamInferResponse").FromString
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", None, read)
        replies = list(call(iter([message(4)] * 4), timeout=10, metadata=[("x-api-key", token)]))
    assert [bool(reply.error_message) for reply in replies] == [False, False, True, True]
    assert "quota of rows" in replies[-1].error_message


def test_those_without_a_name_have_one_by_address(server: Server) -> None:
    url = f"{server.rest}/v2/models/affine/infer"
    statuses = [httpx.post(url, json=body(1), headers={"x-forwarded-for": f"1.2.3.{i}"}).status_code for i in range(5)]
    assert statuses == [200, 200, 200, 429, 429], "a header changes nothing"
    elsewhere = httpx.HTTPTransport(local_address="127.0.0.2")
    with httpx.Client(transport=elsewhere) as client:
        assert client.post(url, json=body(1)).status_code == 200


def test_an_open_gateway_has_quotas_too(tmp_path: Path) -> None:
    put(tmp_path / "models", "affine", 1, affine(2.0))
    settings = {"auth_quotas": json.dumps(QUOTAS), "auth_trusted_proxies": "127.0.0.1"}
    with running(tmp_path / "models", tmp_path / "state", **settings) as server:
        url = f"{server.rest}/v2/models/affine/infer"
        with httpx.Client() as client:
            headers = [{"x-forwarded-for": "1.2.3.4"}, {"x-forwarded-for": "1.2.3.4", "x-api-key": "junk"}]
            found = [client.post(url, json=body(1), headers=headers[i % 2]).status_code for i in range(5)]
            assert found == [200, 200, 200, 429, 429]
            assert client.post(url, json=body(1), headers={"x-forwarded-for": "1.2.3.5"}).status_code == 200
