"""The logging extension."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.protocols.doorman import caller
from gateway.protocols.oip.access import READ
from gateway.protocols.oip.logsettings import Logging
from gateway.protocols.rest.body import parse, read, reply
from gateway.protocols.route import Call


class LoggingRoutes:
    def __init__(self, logging: Logging, max_body: int) -> None:
        self._logging = logging
        self._max_body = max_body

    def routes(self) -> list[Call]:
        return [Call("/v2/logging", self.settings, {"GET": READ, "POST": self._logging.need})]

    async def settings(self, request: Request) -> Response:
        """GET tells them, POST changes those that are named; both answer with all of them."""
        if request.method == "POST":
            changes = parse(await read(request, self._max_body), dict[str, Any])
            await self._logging.change(changes, caller(request, "rest"))
        return reply(self._logging.current())
