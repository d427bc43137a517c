"""The statistics extension."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.protocols.oip.statistics import ModelStatistics
from gateway.protocols.rest.body import reply


class StatisticsRoutes:
    def __init__(self, statistics: ModelStatistics) -> None:
        self._statistics = statistics

    def routes(self) -> list[Route]:
        model = "/v2/models/{model}"
        return [
            # before `/v2/models/{model}`: the protocol gives this path away
            Route("/v2/models/stats", self.all_models, methods=["GET"]),
            Route(f"{model}/stats", self.model, methods=["GET"]),
            Route(f"{model}/versions/{{version}}/stats", self.model, methods=["GET"]),
        ]

    async def all_models(self, request: Request) -> Response:
        return reply(await self._statistics.of_all())

    async def model(self, request: Request) -> Response:
        return reply(await self._statistics.of(request.path_params["model"], request.path_params.get("version", "")))
