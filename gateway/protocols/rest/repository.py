"""The model repository extension."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Any

from msgspec import UNSET, Struct, UnsetType, field
from starlette.requests import Request
from starlette.responses import Response

from gateway.core.errors import InvalidArgument
from gateway.protocols.doorman import caller, rights
from gateway.protocols.oip.access import READ
from gateway.protocols.oip.repository import Load, ModelRepository
from gateway.protocols.rest.body import empty, parse, read, reply
from gateway.protocols.route import Call


class IndexRequest(Struct):
    ready: bool = False


class LoadRequest(Struct):
    """`parameters`: `config` is a ModelConfig as JSON text, each `file:<path>` a file as base64."""

    parameters: dict[str, Any] = field(default_factory=dict)


class UnloadParameters(Struct):
    """No model here depends on another one, so that there is nothing more to unload."""

    unload_dependents: bool = False


class UnloadRequest(Struct):
    parameters: UnloadParameters = field(default_factory=UnloadParameters)


class IndexEntry(Struct, omit_defaults=True):
    name: str
    version: str | UnsetType = UNSET
    state: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class RepositoryRoutes:
    """Bytes of a body: `max_load` of a load call, which may bring files in base64; `max_body` of any other."""

    def __init__(self, repository: ModelRepository, *, max_body: int, max_load: int) -> None:
        self._repository = repository
        self._max_body = max_body
        self._max_load = max_load

    def routes(self) -> list[Call]:
        model = "/v2/repository/models/{model}"
        return [
            Call("/v2/repository/index", self.index, READ, methods=["POST"]),
            Call(f"{model}/load", self.load, self._repository.need, methods=["POST"]),
            Call(f"{model}/unload", self.unload, self._repository.need, methods=["POST"]),
        ]

    async def index(self, request: Request) -> Response:
        asked = parse(await read(request, self._max_body), IndexRequest)
        return reply(
            [
                IndexEntry(status.name, status.version or UNSET, status.state or UNSET, status.reason or UNSET)
                for status in await self._repository.index(rights(request), ready=asked.ready)
            ]
        )

    async def load(self, request: Request) -> Response:
        body = await read(request, self._max_load)
        # Decoding base64 of a whole model takes long enough to be felt by predictions.
        load = await asyncio.to_thread(self._parse_load, body)
        await self._repository.load(request.path_params["model"], load, caller(request, "rest"))
        return empty()

    async def unload(self, request: Request) -> Response:
        parse(await read(request, self._max_body), UnloadRequest)
        await self._repository.unload(request.path_params["model"], caller(request, "rest"))
        return empty()

    def _parse_load(self, body: bytes) -> Load:
        return self._repository.read_load(parse(body, LoadRequest).parameters, _decode)


def _decode(name: str, value: Any) -> bytes:
    if not isinstance(value, str):
        raise InvalidArgument(f"load parameter '{name}' must be a string, got {type(value).__name__}")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument(f"load parameter '{name}' is not base64: {error}") from error
