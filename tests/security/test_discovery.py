"""What an issuer says of itself, from a real server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from issuer import Issuer

from gateway.core.errors import Unavailable
from gateway.security.discovery import discovered_keys, jwks_uri
from gateway.security.jwks import read_keys

URL = "https://id.example/realms/prod"


def keys(issuer: str) -> list[str]:
    found = asyncio.run(discovered_keys(issuer, patience=5))
    return [key.id for key in read_keys(json.loads(found))]


def test_the_keys_are_where_the_issuer_says(issuer: Issuer) -> None:
    issuer.publish("a")
    assert keys(issuer.base) == ["a"]
    issuer.name = f"{issuer.base}/"
    assert keys(f"{issuer.base}/") == ["a"], "the slash is the issuer's own, the path has one"


def test_another_issuer_is_none(issuer: Issuer) -> None:
    issuer.publish("a")
    issuer.name = "https://evil"
    with pytest.raises(Unavailable, match=f"expected issuer '{issuer.base}', found 'https://evil'"):
        keys(issuer.base)
    issuer.up = False
    with pytest.raises(Unavailable, match=r"openid-configuration: status 503"):
        keys(issuer.base)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"issuer": f"{URL}/", "jwks_uri": "https://id.example/keys"}, f"expected issuer '{URL}', found"),
        ({"jwks_uri": "https://id.example/keys"}, "found 'None'"),
        ({"issuer": [URL], "jwks_uri": "https://id.example/keys"}, "expected issuer"),
        ([URL], "expected issuer"),
        ({"issuer": URL}, "jwks_uri: expected https://…, found 'None'"),
        ({"issuer": URL, "jwks_uri": "http://id.example/keys"}, "expected https://…, found 'http://id.example/keys'"),
        ({"issuer": URL, "jwks_uri": "file:///etc/passwd"}, "expected https://…"),
        ({"issuer": URL, "jwks_uri": "https://id.example/ HTTP/1.1\r\nx: y"}, "expected https://…"),
        ({"issuer": URL, "jwks_uri": ["https://id.example/keys"]}, "expected https://…"),
    ],
)
def test_documents_that_are_none(told: Any, says: str) -> None:
    with pytest.raises(Unavailable) as raised:
        jwks_uri(json.dumps(told).encode(), URL, f"{URL}/.well-known/openid-configuration")
    assert says in raised.value.message
    assert raised.value.message.startswith(f"{URL}/.well-known/openid-configuration: ")


def test_what_is_no_json() -> None:
    for junk in (b"", b"<html>", b"[" * 100_000, b"\xff"):
        with pytest.raises(Unavailable, match="expected JSON"):
            jwks_uri(junk, URL, "there")


def test_keys_may_be_elsewhere_and_without_tls_for_an_issuer_without() -> None:
    for issuer, uri in (("http://id", "http://keys"), ("http://id", "https://keys/a?b=c"), (URL, "https://keys:8443/")):
        assert jwks_uri(json.dumps({"issuer": issuer, "jwks_uri": uri}).encode(), issuer, "there") == uri
