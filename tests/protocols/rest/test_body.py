from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import Struct
from starlette.requests import Request

from gateway.core.errors import Cancelled, InvalidArgument, TooLarge, Unsupported
from gateway.protocols.rest.body import parse, read


def _read(messages: list[dict[str, Any]], limit: int, headers: dict[bytes, bytes] | None = None) -> bytes:
    left = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(left)

    scope = {"type": "http", "headers": list((headers or {}).items())}
    return asyncio.run(read(Request(scope, receive), limit))


def _chunk(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_chunks_are_put_together() -> None:
    assert _read([_chunk(b"ab", more=True), _chunk(b"c")], 3) == b"abc"


def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(TooLarge, match="the body exceeds the limit of 3 bytes"):
        _read([], 3, {b"content-length": b"4"})


def test_a_body_without_a_length_is_refused_once_it_is_over() -> None:
    with pytest.raises(TooLarge):
        _read([_chunk(b"ab", more=True), _chunk(b"cd", more=True)], 3)


def test_a_client_that_vanishes() -> None:
    with pytest.raises(Cancelled):
        _read([_chunk(b"ab", more=True), {"type": "http.disconnect"}], 3)


def test_compressed_bodies_are_for_inference_only() -> None:
    assert _read([_chunk(b"a")], 3, {b"content-encoding": b"Identity"}) == b"a"
    with pytest.raises(Unsupported, match="content encoding 'gzip'"):
        _read([_chunk(b"a")], 3, {b"content-encoding": b"gzip"})


class _Asked(Struct):
    count: int = 7


@pytest.mark.parametrize("body", [b"", b"  \n", b"{}", b'{"unknown": [1]}'])
def test_defaults(body: bytes) -> None:
    assert parse(body, _Asked) == _Asked(7)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"count": "x"}', r"\$\.count"),
        (b"[]", "object"),
        (b"{", "failed to parse the request"),
        (b'{"count": 1} x', "failed to parse the request"),
        (b'{"count": NaN}', "failed to parse the request"),
        (b'{"a":' * 100_000, "failed to parse the request"),
        (b'{"count": ' + b"9" * 10_000 + b"}", "failed to parse the request"),
    ],
)
def test_what_is_no_such_object_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        parse(body, _Asked)
