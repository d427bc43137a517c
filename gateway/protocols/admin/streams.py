"""The routes of streams on an admin port: what runs, pausing and resuming it, putting dead letters back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Protocol

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from gateway.control.caller import Note
from gateway.core.errors import NotFound, SluiceError, Unsupported
from gateway.protocols.doorman import caller
from gateway.protocols.oip.access import ADMIN, READ
from gateway.protocols.rest.body import parse, read
from gateway.protocols.route import Call

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
    """`note` has in the audit trail what was done."""

    def __init__(self, streams: Streams, note: Note) -> None:
        self._streams = streams
        self._note = note

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
        done = await self._streams.reload()
        await self._tell(request, "reload", done)
        return _json(done)

    async def show(self, request: Request) -> Response:
        return _json(await self._streams.show(request.path_params["name"]))

    async def pause(self, request: Request) -> Response:
        body = parse(await read(request, MAX_BODY), PauseBody)
        await self._streams.pause(request.path_params["name"], body.reason)
        await self._tell(request, "pause", {"reason": body.reason})
        return await self.show(request)

    async def resume(self, request: Request) -> Response:
        await self._streams.resume(request.path_params["name"])
        await self._tell(request, "resume")
        return await self.show(request)

    async def redrive(self, request: Request) -> Response:
        body = parse(await read(request, MAX_BODY), RedriveBody)
        try:
            done = await self._streams.redrive(request.path_params["name"], body.limit)
        except (NotFound, Unsupported):
            raise
        except SluiceError as error:
            # some of them may be where they came from
            await self._tell(request, "redrive", {"limit": body.limit, "failed": error.message})
            raise
        await self._tell(request, "redrive", {"limit": body.limit, **done})
        return _json(done)

    async def _tell(self, request: Request, what: str, detail: Mapping[str, object] | None = None) -> None:
        target = request.path_params.get("name", "*")
        await self._note(f"stream.{what}", target, detail, **caller(request, "admin"))


def _json(document: Any) -> Response:
    return Response(msgspec.json.encode(document), 200, {"Cache-Control": "no-store"}, media_type="application/json")
