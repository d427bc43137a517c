"""The model repository extension: which models there are, loading and unloading them.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType, field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.control.plane import ControlPlane
from gateway.core.errors import InvalidArgument, PermissionDenied
from gateway.models.manager import Manager
from gateway.protocols.rest.access import Gate
from gateway.protocols.rest.body import empty, parse, read, reply

FILE: Final = "file:"


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


class ModelRepository:
    """`load_files` says whether a load call may bring files, up to `max_files` bytes of base64 in all."""

    def __init__(
        self,
        manager: Manager,
        control: ControlPlane,
        gate: Gate,
        *,
        load_files: bool,
        max_body: int,
        max_files: int,
    ) -> None:
        self._manager = manager
        self._control = control
        self._gate = gate
        self._load_files = load_files
        self._max_body = max_body
        self._max_load = max(max_body, max_files) if load_files else max_body

    def routes(self) -> list[Route]:
        model = "/v2/repository/models/{model}"
        return [
            Route("/v2/repository/index", self.index, methods=["POST"]),
            Route(f"{model}/load", self.load, methods=["POST"]),
            Route(f"{model}/unload", self.unload, methods=["POST"]),
        ]

    async def index(self, request: Request) -> Response:
        """Open whatever the gate says: it tells no more than metadata and readiness do."""
        asked = parse(await read(request, self._max_body), IndexRequest)
        await self._manager.refresh()
        return reply(
            [
                IndexEntry(status.name, status.version or UNSET, status.state or UNSET, status.reason or UNSET)
                for status in self._manager.index()
                if status.state == "READY" or not asked.ready
            ]
        )

    async def load(self, request: Request) -> Response:
        self._gate.check(request)
        body = await read(request, self._max_load)
        # Decoding base64 of a whole model takes long enough to be felt by predictions.
        override, files = await asyncio.to_thread(self._parse_load, body)
        await self._control.load_model(
            request.path_params["model"], override, files, actor=_actor(self._gate), origin=_origin(request)
        )
        return empty()

    async def unload(self, request: Request) -> Response:
        self._gate.check(request)
        parse(await read(request, self._max_body), UnloadRequest)
        await self._control.unload_model(
            request.path_params["model"], actor=_actor(self._gate), origin=_origin(request)
        )
        return empty()

    def _parse_load(self, body: bytes) -> tuple[str | None, dict[str, bytes] | None]:
        """Raises InvalidArgument that names the parameter, PermissionDenied where files are not taken."""
        parameters = parse(body, LoadRequest).parameters
        files: dict[str, bytes] = {}
        override: str | None = None
        for name, value in parameters.items():
            if name != "config" and not name.startswith(FILE):
                raise InvalidArgument(f"unexpected load parameter '{name}', expected 'config' or 'file:<path>'")
            if not isinstance(value, str):
                raise InvalidArgument(f"load parameter '{name}' must be a string, got {type(value).__name__}")
            if name == "config":
                override = value
            elif not self._load_files:
                raise PermissionDenied(
                    f"load parameter '{name}': files are not taken, setting 'restricted.load_files' opens it"
                )
            else:
                files[name.removeprefix(FILE)] = _decode(name, value)
        if files and override is None:
            raise InvalidArgument("load parameters 'file:<path>' need 'config' beside them")
        return override, files or None


def _decode(name: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument(f"load parameter '{name}' is not base64: {error}") from error


def _actor(gate: Gate) -> str:
    return "token" if gate.access == "token" else "anonymous"


def _origin(request: Request) -> str:
    return f"rest {request.client.host}" if request.client else "rest"
