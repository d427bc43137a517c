"""Bodies of requests that are not inference, and JSON replies."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gateway.core.errors import Cancelled, InvalidArgument, TooLarge, Unsupported

T = TypeVar("T")


def reply(document: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(document), status, media_type="application/json")


def empty() -> Response:
    """What the reference server answers where there is nothing to say: 200, no body."""
    return Response()


async def read(request: Request, limit: int) -> bytes:
    """The whole body. Raises TooLarge as soon as it is known to exceed `limit` bytes."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() not in ("", "identity"):
        raise Unsupported(f"content encoding '{encoding}' is taken for inference only")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise _too_large(limit)
    except ClientDisconnect as error:
        raise Cancelled("the client went away before its request was complete") from error
    return bytes(body)


def parse(body: bytes, type_: type[T]) -> T:
    """A JSON object as `type_`; no body is an empty object. Raises InvalidArgument that has the JSON path."""
    try:
        return msgspec.json.decode(body if body.strip() else b"{}", type=type_)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"failed to parse the request: {error}") from error


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body exceeds the limit of {limit} bytes")
