"""The one table from the error tree's codes to HTTP statuses, and the reply that carries an error.

The body is ``{"error": "…"}``, as the protocol has it. 499 is nginx's "client closed request".
"""

from __future__ import annotations

import logging
import math
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.core.errors import Internal, SluiceError

STATUS: Final[dict[str, int]] = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "CONFLICT": 409,
    "TOO_LARGE": 413,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNSUPPORTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

logger = logging.getLogger("sluice.protocols")


def status_of(error: SluiceError) -> int:
    return STATUS.get(error.code, 500)


def body_of(message: str) -> bytes:
    """The JSON body of an error."""
    return msgspec.json.encode({"error": message})


def headers_of(error: SluiceError) -> dict[str, str]:
    """Beside content type and length: when to try again, and how to log in."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if error.code == "UNAUTHENTICATED":
        headers["WWW-Authenticate"] = 'Bearer realm="sluice"'
    return headers


async def on_error(request: Request, exc: Exception) -> Response:
    """Starlette's exception handler for SluiceError, HTTPException (wrong verb, unknown route), all others.

    The caller never sees the text of an error that is not of the tree: it is logged.
    """
    if isinstance(exc, HTTPException):
        return _reply(exc.detail, exc.status_code, dict(exc.headers or {}))
    if not isinstance(exc, SluiceError):
        logger.error("%s %s failed", request.method, request.url.path, exc_info=exc)
        exc = Internal("internal error")
    return _reply(exc.message, status_of(exc), headers_of(exc))


def _reply(message: str, status: int, headers: dict[str, str]) -> Response:
    return Response(body_of(message), status, headers, media_type="application/json")
