"""A gateway that knows of its callers' issuer no more than the name."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
from gateways import put, running
from issuer import issuing, token
from small_models import affine


def test_an_issuer_is_enough(tmp_path: Path) -> None:
    put(tmp_path / "models", "affine", 1, affine(2.0))
    with issuing() as issuer:
        key = issuer.publish("a")
        settings = {
            "auth_jwt_issuer": issuer.base,
            "auth_jwt_audience": "sluice",
            "auth_policies": json.dumps([{"who": "jwt:ann", "allow": ["read"]}]),
        }
        with running(tmp_path / "models", tmp_path / "state", **settings) as server:
            url = f"{server.rest}/v2/models/affine"
            for signed, status in ((token(key, "a", iss=issuer.base), 200), (token(key, "a"), 401)):
                assert httpx.get(url, headers={"Authorization": f"Bearer {signed}"}).status_code == status
