"""What the server and its models are, and whether they are ready."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.protocols.oip.access import FREE, READ
from gateway.protocols.oip.metadata import Metadata
from gateway.protocols.rest.body import reply
from gateway.protocols.route import Call


class MetadataRoutes:
    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    def routes(self) -> list[Call]:
        model = "/v2/models/{model}"
        version = f"{model}/versions/{{version}}"
        return [
            Call("/v2", self.server, READ),
            Call("/v2/health/live", self.live, FREE),
            Call("/v2/health/ready", self.ready, FREE),
            Call(model, self.model, READ),
            Call(version, self.model, READ),
            Call(f"{model}/ready", self.model_ready, READ),
            Call(f"{version}/ready", self.model_ready, READ),
        ]

    async def server(self, request: Request) -> Response:
        return reply(self._metadata.server())

    async def live(self, request: Request) -> Response:
        return reply({"live": True})

    async def ready(self, request: Request) -> Response:
        ready = self._metadata.server_ready()
        return reply({"ready": ready}, 200 if ready else 503)

    async def model(self, request: Request) -> Response:
        return reply(self._metadata.model(request.path_params["model"], request.path_params.get("version", "")))

    async def model_ready(self, request: Request) -> Response:
        model = request.path_params["model"]
        ready = self._metadata.model_ready(model, request.path_params.get("version", ""))
        return reply({"name": model, "ready": ready}, 200 if ready else 503)
