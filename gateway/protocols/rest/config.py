"""The model configuration extension: the ModelConfig message as JSON, with what was derived filled in."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.models.manager import Manager
from gateway.protocols.oip.access import READ
from gateway.protocols.oip.versions import pinned
from gateway.protocols.rest.body import reply
from gateway.protocols.route import Call


class Config:
    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    def routes(self) -> list[Call]:
        model = "/v2/models/{model}"
        return [
            Call(f"{model}/config", self.config, READ),
            Call(f"{model}/versions/{{version}}/config", self.config, READ),
        ]

    async def config(self, request: Request) -> Response:
        from gateway.models.config.description import describe  # protobuf: not worth its memory before anyone asks

        model, version = request.path_params["model"], request.path_params.get("version", "")
        with pinned(self._manager, model, version) as handle:
            return reply(describe(handle.config, handle.servable.signature, model))
