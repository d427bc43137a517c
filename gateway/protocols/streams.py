"""The routes of streams on an admin port: what runs, pausing and resuming it, putting dead letters back."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Protocol

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from gateway.protocols.doorman import caller
from gateway.protocols.oip.access import ADMIN, READ
from gateway.protocols.rest.body import parse, read
from gateway.protocols.route import Call

logger = logging.getLogger("sluice.control")

MAX_BODY: Final = 1 << 16


class Streams(Protocol):
    """The streams of this process, or of others that it speaks for. Views are fit for JSON.

    All that take a name raise NotFound.
    """

    async def list(self) -> Sequence[Mapping[str, Any]]: ...

    async def show(self, name: str) -> Mapping[str, Any]: ...

    async def pause(self, name: str, reason: str) -> None: ...

    async def resume(self, name: str) -> None: ...

    async def redrive(self, name: str, limit: int | None) -> Mapping[str, Any]:
        """Raises Unsupported where the stream's adapters cannot, Unavailable where this process does not run it."""
        ...

    async def reload(self) -> Mapping[str, Sequence[str]]:
        """Takes up what has changed in the streams' files. Raises InvalidArgument, and then nothing has changed."""
        ...


class PauseBody(Struct, forbid_unknown_fields=True):
    reason: Annotated[str, Meta(max_length=500)] = ""


class RedriveBody(Struct, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1)] | None = None


class StreamRoutes:
    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def routes(self) -> list[Call]:
        base = "/admin/v1/streams"
        return [
            Call(base, self.list, READ),
            Call("/admin/v1/reload-streams", self.reload, ADMIN, methods=["POST"]),
            Call(base + "/{name}", self.show, READ),
            Call(base + "/{name}/pause", self.pause, ADMIN, methods=["POST"]),
            Call(base + "/{name}/resume", self.resume, ADMIN, methods=["POST"]),
            Call(base + "/{name}/redrive", self.redrive, ADMIN, methods=["POST"]),
        ]

    async def list(self, request: Request) -> Response:
        return _json({"streams": await self._streams.list()})

    async def reload(self, request: Request) -> Response:
        return _json(await self._streams.reload())

    async def show(self, request: Request) -> Response:
        return _json(await self._streams.show(request.path_params["name"]))

    async def pause(self, request: Request) -> Response:
        body = parse(await read(request, MAX_BODY), PauseBody)
        await self._streams.pause(request.path_params["name"], body.reason)
        _tell(request, "paused")
        return await self.show(request)

    async def resume(self, request: Request) -> Response:
        await self._streams.resume(request.path_params["name"])
        _tell(request, "resumed")
        return await self.show(request)

    async def redrive(self, request: Request) -> Response:
        body = parse(await read(request, MAX_BODY), RedriveBody)
        done = await self._streams.redrive(request.path_params["name"], body.limit)
        _tell(request, "redriven")
        return _json(done)


def _tell(request: Request, what: str) -> None:
    by = caller(request, "admin")
    logger.info("stream '%s' %s, by %s from %s", request.path_params["name"], what, by["actor"], by["origin"])


def _json(document: Any) -> Response:
    return Response(msgspec.json.encode(document), 200, {"Cache-Control": "no-store"}, media_type="application/json")
