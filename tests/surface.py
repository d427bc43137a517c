"""A gateway's ports, asked the same with some credentials."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
from gateways import Server
from issuer import Issuer

from gateway import pb

TOKEN = "adm1n"
SERVICE = "inference.GRPCInferenceService"
BODY = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}

OK, UNKNOWN, DENIED, REFUSED = "ok", "unauthenticated", "denied", "refused"
_STATUS = {200: OK, 201: OK, 401: UNKNOWN, 403: DENIED}
_CODE = {"OK": OK, "UNAUTHENTICATED": UNKNOWN, "PERMISSION_DENIED": DENIED}

#: who may what: on `churn-…` only
POLICIES = [
    {"who": "jwt:ann", "allow": ["infer", "read"], "models": ["churn-*"]},
    {"who": "cert:client", "allow": ["infer", "read"], "models": ["churn-*"]},
]


@dataclass(frozen=True)
class Credentials:
    """What a caller brings: header fields, which are metadata on gRPC, and a certificate by its file's name."""

    headers: list[tuple[str, str]] = field(default_factory=list)
    certificate: str = ""


def bearer(token: str) -> Credentials:
    return Credentials([("authorization", f"Bearer {token}")])


class Surface:
    """The ports, each asked for one model with some credentials. They answer with the words above."""

    def __init__(self, server: Server, certificates: Path, issuer: Issuer) -> None:
        self.server = server
        self.certificates = certificates
        self.issuer = issuer

    def client(self, certificate: str = "") -> httpx.Client:
        context = ssl.create_default_context(cafile=str(self.certificates / "ca.pem"))
        if certificate:
            folder = self.certificates
            context.load_cert_chain(folder / f"{certificate}.pem", folder / f"{certificate}.key")
        return httpx.Client(verify=context, trust_env=False, timeout=30)

    def channel(self, certificate: str = "") -> grpc.Channel:
        def content(name: str) -> bytes:
            return (self.certificates / name).read_bytes()

        pair = (content(f"{certificate}.key"), content(f"{certificate}.pem")) if certificate else (None, None)
        credentials = grpc.ssl_channel_credentials(content("ca.pem"), *pair)
        return grpc.secure_channel(self.server.grpc, credentials)

    def send(self, method: str, url: str, credentials: Credentials, **what: Any) -> httpx.Response:
        with self.client(credentials.certificate) as client:
            return client.request(method, url, headers=credentials.headers, **what)

    def rest(self, credentials: Credentials, model: str = "churn-a") -> str:
        """Twice on one connection and twice with the same head: it is remembered from the second time on."""
        url = f"{self.server.rest}/v2/models/{model}/infer"
        try:
            with self.client(credentials.certificate) as client:
                found = {client.post(url, json=BODY, headers=credentials.headers).status_code for _ in range(4)}
        except httpx.TransportError:
            return REFUSED
        assert len(found) == 1, f"the answer changes: {found}"
        return _STATUS.get(status := found.pop(), str(status))

    def rest_route(self, credentials: Credentials, model: str = "churn-a") -> str:
        try:
            reply = self.send("GET", f"{self.server.rest}/v2/models/{model}", credentials)
        except httpx.TransportError:
            return REFUSED
        return _STATUS.get(reply.status_code, str(reply.status_code))

    def grpc(self, credentials: Credentials, model: str = "churn-a") -> str:
        body = self.message(model)
        with self.channel(credentials.certificate) as channel:
            call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
            return _outcome(lambda: call(body, timeout=10, metadata=credentials.headers))

    def grpc_stream(self, credentials: Credentials, model: str = "churn-a") -> str:
        body = self.message(model)
        with self.channel(credentials.certificate) as channel:
            call = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
            metadata = [*credentials.headers, ("triton_grpc_error", "true")]
            return _outcome(lambda: list(call(iter([body, body]), timeout=10, metadata=metadata)))

    def grpc_call(self, credentials: Credentials, model: str = "churn-a") -> str:
        body = pb.message("ModelMetadataRequest")(name=model).SerializeToString()
        with self.channel(credentials.certificate) as channel:
            call = channel.unary_unary(f"/{SERVICE}/ModelMetadata")
            return _outcome(lambda: call(body, timeout=10, metadata=credentials.headers))

    def admin(self, credentials: Credentials, model: str = "churn-a") -> str:
        try:
            reply = self.send("GET", f"{self.server.admin}/admin/v1/models/{model}", credentials)
        except httpx.TransportError:
            return REFUSED
        return _STATUS.get(reply.status_code, str(reply.status_code))

    def key(self, name: str, *allow: str, **more: Any) -> dict[str, Any]:
        """A new one, as the admin port tells it."""
        url = f"{self.server.admin}/admin/v1/keys"
        reply = self.send("POST", url, bearer(TOKEN), json={"name": name, "allow": list(allow), **more})
        found: dict[str, Any] = reply.raise_for_status().json()
        return found

    def revoke(self, which: str) -> None:
        self.send("DELETE", f"{self.server.admin}/admin/v1/keys/{which}", bearer(TOKEN)).raise_for_status()

    def keys(self) -> dict[str, Any]:
        reply = self.send("GET", f"{self.server.admin}/admin/v1/keys", bearer(TOKEN))
        return {key["id"]: key for key in reply.raise_for_status().json()["keys"]}

    def denied(self) -> dict[str, int]:
        """sluice_auth_denied_total by port and reason, as in "rest missing"."""
        found = {}
        with self.client() as client:
            for line in client.get(f"{self.server.admin}/metrics").text.splitlines():
                if line.startswith("sluice_auth_denied_total{"):
                    _, port, _, reason, count = line.split('"')
                    found[f"{port} {reason}"] = int(count.strip("} "))
        return found

    def message(self, model: str) -> bytes:
        request = pb.message("ModelInferRequest")(model_name=model)
        tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
        tensor.contents.fp32_contents.extend([1, 2, 3, 4])
        found: bytes = request.SerializeToString()
        return found


def _outcome(call: Any) -> str:
    try:
        call()
    except grpc.RpcError as failure:
        name = failure.code().name
        details = failure.details()
        if name == "UNAVAILABLE" and any(word in details for word in ("handshake", "Socket closed", "SSL", "reset")):
            return REFUSED
        return _CODE.get(name, f"{name}: {details}")
    return OK


def until_expired(surface: Surface, key_id: str) -> None:
    end = time.monotonic() + 10
    while surface.keys()[key_id]["state"] != "expired":
        assert time.monotonic() < end
