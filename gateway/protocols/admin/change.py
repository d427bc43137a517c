"""How a request of the admin port changes the desired state, and what it is answered.

Every answer that holds desired state carries its revision as ``ETag``; ``If-Match`` makes a change depend on it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.control.desired import Desired
from gateway.control.plane import ControlPlane
from gateway.core.errors import Conflict, InvalidArgument
from gateway.protocols.doorman import caller

MAX_BODY: Final = 1 << 20
#: seconds that a change may wait for all gateways
MOST_WAIT: Final = 600

_ETAG: Final = re.compile(r'"?(\d{1,18})"?')

By = Mapping[str, Any]


async def changed(request: Request, plane: ControlPlane, change: Callable[[By], Awaitable[Desired]]) -> Desired:
    """Runs a mutation in the caller's name. An If-Match that no longer holds is 412, as RFC 9110 has it.

    ``?wait=SECONDS`` answers when every gateway has it in force.
    """
    expected = _expected(request)
    wait = number(request, "wait", 0, MOST_WAIT)
    by = {**caller(request, "admin"), "expected": expected}
    try:
        desired = await change(by)
    except Conflict as error:
        if expected is None:
            raise
        raise HTTPException(412, error.message, {"ETag": _etag(plane.desired)}) from error
    if wait:
        await plane.everywhere(desired.revision, wait, request.path_params.get("model", ""))
    return desired


def _expected(request: Request) -> int | None:
    header = request.headers.get("if-match", "*").strip()
    if header == "*":
        return None
    if not (match := _ETAG.fullmatch(header)):
        raise InvalidArgument(f"If-Match: expected one revision, as in '\"12\"', found '{header[:40]}'")
    return int(match[1])


def number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:20]) <= most):
        raise InvalidArgument(f"{name}: expected a number from 1 to {most}, found '{text[:40]}'")
    return int(text)


def _etag(desired: Desired) -> str:
    return f'"{desired.revision}"'


def document(content: Any, desired: Desired | None = None, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store"}
    if desired is not None:
        headers["ETag"] = _etag(desired)
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")
