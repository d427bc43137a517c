"""The keys of an issuer, from a real server: read, kept, rotated."""

from __future__ import annotations

import asyncio
import json
import ssl
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from issuer import Issuer
from joserfc.jwk import ECKey, OctKey, RSAKey

from gateway.core.errors import Unavailable
from gateway.security.download import LARGEST, download
from gateway.security.jwks import Jwks, read_keys


def run(issuer: Issuer, body: Callable[[Jwks], Awaitable[None]], **how: Any) -> None:
    async def go() -> None:
        read = lambda: download(issuer.url, patience=5)  # noqa: E731
        async with Jwks(read, **{"refresh": 3600, "cooldown": 0, **how}) as jwks:
            await looked(jwks)
            await body(jwks)

    asyncio.run(go())


async def looked(jwks: Jwks) -> None:
    found = jwks.look()
    assert found is not None
    await found


def test_keys_are_found_by_id_and_kind(issuer: Issuer) -> None:
    issuer.publish("a")
    issuer.publish("b", RSAKey.generate_key(2048))

    async def body(jwks: Jwks) -> None:
        assert [key.id for key in jwks.find("a", "ES256")] == ["a"]
        assert jwks.find("a", "RS256") == jwks.find("b", "ES256") == jwks.find("a", "ES384") == []
        assert [key.id for key in jwks.find("", "RS256")] == ["b"]
        assert jwks.find("c", "ES256") == []

    run(issuer, body)


def test_rotation_is_told_and_an_outage_keeps_what_was_known(issuer: Issuer) -> None:
    issuer.publish("old")
    changes: list[int] = []

    async def body(jwks: Jwks) -> None:
        assert changes == [1]
        await looked(jwks)
        assert changes == [1], "the same keys are no news"
        issuer.keys.clear()
        issuer.publish("new")
        issuer.up = False
        await looked(jwks)
        assert jwks.find("old", "ES256")
        issuer.up = True
        issuer.extra = b"}"
        await looked(jwks)
        assert jwks.find("old", "ES256"), "what is no JSON is an outage"
        issuer.extra = b" " * (LARGEST + 1)
        await looked(jwks)
        assert jwks.find("old", "ES256"), "what is too large is an outage"
        issuer.extra = b""
        await looked(jwks)
        assert jwks.find("new", "ES256")
        assert not jwks.find("old", "ES256")
        assert changes == [1, 1]

    run(issuer, body, changed=lambda: changes.append(1))


def test_tokens_do_not_make_it_look_more_often_than_allowed(issuer: Issuer) -> None:
    issuer.publish("a")

    async def body(jwks: Jwks) -> None:
        assert [jwks.look() for _ in range(1000)] == [None] * 1000
        assert issuer.asked == 1

    run(issuer, body, cooldown=3600)


def test_those_that_ask_at_the_same_time_share_one_look(issuer: Issuer) -> None:
    issuer.publish("a")

    async def body(jwks: Jwks) -> None:
        asked = [jwks.look() for _ in range(100)]
        assert None not in asked
        await asyncio.gather(*(each for each in asked if each))
        assert issuer.asked == 2

    run(issuer, body)


def test_it_looks_again_by_itself(issuer: Issuer) -> None:
    issuer.publish("a")

    async def body(jwks: Jwks) -> None:
        issuer.publish("b")
        await asyncio.wait_for(changed.wait(), 20)
        assert jwks.find("b", "ES256")

    changed = asyncio.Event()
    run(issuer, body, refresh=0.05, changed=lambda: changed.set() if len(issuer.keys) == 2 else None)


def test_who_waits_is_told_when_it_ends(issuer: Issuer) -> None:
    async def go() -> None:
        never: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        async with Jwks(lambda: never) as jwks:
            waits = jwks.look()
            assert waits is not None
            assert not waits.done()
        await asyncio.wait_for(waits, 5)

    asyncio.run(go())


def test_keys_that_cannot_verify_are_passed_over() -> None:
    good = ECKey.generate_key("P-256").as_dict(private=False)
    entries = [
        {**good, "kid": "good"},
        OctKey.generate_key(256).as_dict(),
        {**good, "use": "enc"},
        {"kty": "RSA", "e": "AQAB", "n": urlsafe_b64encode(b"\xff" * 128).decode()},
        {"kty": "EC", "crv": "P-256", "x": "!", "y": 3},
        {"kty": "EC"},
        {"kty": ["EC"]},
        {**good, "kid": 3},
        "key",
        None,
    ]
    assert [key.id for key in read_keys({"keys": entries})] == ["good"]
    for document in ({}, [], None, {"keys": {}}, "keys"):
        with pytest.raises(Unavailable):
            read_keys(document)


# ---- where they come from


def fetch(url: str, **how: Any) -> bytes:
    return asyncio.run(download(url, **{"patience": 5, **how}))


def test_what_is_no_answer(issuer: Issuer) -> None:
    issuer.up = False
    with pytest.raises(Unavailable, match="status 503"):
        fetch(issuer.url)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/"):
        fetch("http://127.0.0.1:1/")


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n", "status 302"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", "IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "http"),
        (b"nonsense\r\n\r\n", "nonsense"),
        (b"", "http"),
    ],
)
def test_answers_that_are_none(reply: bytes, says: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        writer.close()

    async def go() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(Unavailable, match=says):
                await download(f"http://127.0.0.1:{port}/", patience=5)

    asyncio.run(go())


def test_chunks_are_an_answer() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"Host: 127.0.0.1:" in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
        writer.close()

    async def go() -> bytes:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            return await download(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/?a=b", patience=5)

    assert asyncio.run(go()) == b"{}"


def test_a_server_that_drips_is_cut_off() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            while not writer.is_closing():
                writer.write(b" ")
                await asyncio.sleep(0.01)
        finally:
            writer.close()

    async def go() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            with pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
                await download(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", patience=0.2)

    asyncio.run(go())


def test_tls_is_verified(certificates: Path, issuer: Issuer) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    body = json.dumps({"keys": []}).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    async def go() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            assert await download(url, patience=5, ca_file=str(certificates / "ca.pem")) == body
            with pytest.raises(Unavailable, match="certificate"):
                await download(url, patience=5, ca_file=str(certificates / "stranger.pem"))

    asyncio.run(go())
