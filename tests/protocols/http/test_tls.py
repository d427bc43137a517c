"""The REST port with TLS, with and without certificates of clients."""

import ssl
from pathlib import Path

import httpx
import numpy as np
import pytest
from gateways import Server, running


def context(certificates: Path, client: str = "", ca: str = "ca") -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(certificates / f"{ca}.pem"))
    if client:
        made.load_cert_chain(certificates / f"{client}.pem", certificates / f"{client}.key")
    return made


def settings(certificates: Path, **more: str) -> dict[str, str]:
    files = {"cert": "server.pem", "key": "server.key", "client_ca": "ca.pem"}
    return {f"tls_{name}": str(certificates / file) for name, file in files.items()} | more


def ask(server: Server, trust: ssl.SSLContext, rows: int = 1) -> None:
    values = np.arange(rows * 4, dtype=np.float32)
    tensor = {"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": values.tolist()}
    with httpx.Client(base_url=server.rest, verify=trust) as client:
        for _ in range(4):  # from the third on the head is known, and a large body is read into its place
            reply = client.post("/v2/models/affine/infer", json={"inputs": [tensor]}, timeout=30)
            assert reply.json()["outputs"][0]["data"] == (values * 2).tolist()
        assert client.get("/v2/health/ready").json() == {"ready": True}


def test_tls(attacked_models: Path, certificates: Path, tmp_path: Path) -> None:
    with running(attacked_models, tmp_path, **settings(certificates)) as server:
        ask(server, context(certificates))
        ask(server, context(certificates), rows=20_000)
        with pytest.raises(httpx.ConnectError):
            ask(server, context(certificates, ca="stranger"))
        with pytest.raises(httpx.HTTPError):
            httpx.get(server.rest.replace("https", "http") + "/v2")
        ask(server, context(certificates))


def test_mtls(attacked_models: Path, certificates: Path, tmp_path: Path) -> None:
    with running(attacked_models, tmp_path, **settings(certificates, tls_client_auth="required")) as server:
        ask(server, context(certificates, "client"))
        for wrong in (context(certificates), context(certificates, "stranger")):
            with pytest.raises(httpx.HTTPError):
                ask(server, wrong)
        ask(server, context(certificates, "client"))
