"""The statistics extension."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.protocols.doorman import rights
from gateway.protocols.oip.access import READ
from gateway.protocols.oip.statistics import ModelStatistics
from gateway.protocols.rest.body import reply
from gateway.protocols.route import Call


class StatisticsRoutes:
    def __init__(self, statistics: ModelStatistics) -> None:
        self._statistics = statistics

    def routes(self) -> list[Call]:
        model = "/v2/models/{model}"
        return [
            # before `/v2/models/{model}`: the protocol gives this path away
            Call("/v2/models/stats", self.all_models, READ),
            Call(f"{model}/stats", self.model, READ),
            Call(f"{model}/versions/{{version}}/stats", self.model, READ),
        ]

    async def all_models(self, request: Request) -> Response:
        return reply(await self._statistics.of_all(rights(request)))

    async def model(self, request: Request) -> Response:
        return reply(await self._statistics.of(request.path_params["model"], request.path_params.get("version", "")))
