"""The processes of a gateway beside the one that has the admin port."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import Response

from gateway.control.plane import ControlPlane
from gateway.core.errors import Unavailable
from gateway.protocols.admin.change import document
from gateway.protocols.doorman import caller
from gateway.protocols.oip.access import ADMIN
from gateway.protocols.route import Call


class Listed(Protocol):
    """Processes that an operator may see. Views are fit for JSON."""

    async def views(self) -> list[dict[str, Any]]: ...


class Processes(Listed, Protocol):
    """The workers of a supervisor."""

    async def recycle(self, number: int | None = None) -> None:
        """One slot, or all, one after the other. Raises NotFound, Unavailable."""
        ...


class Workers:
    """Without a supervisor one process serves, which cannot be replaced. Those that run streams are shown beside."""

    def __init__(self, plane: ControlPlane, processes: Processes | None, streaming: Listed | None = None) -> None:
        self._plane = plane
        self._processes = processes
        self._listed: Final = [each for each in (processes, streaming) if each is not None]

    def routes(self) -> list[Call]:
        base = "/admin/v1/workers"
        return [
            Call(base, self.list, ADMIN),
            Call(base + "/recycle", self.recycle, ADMIN, methods=["POST"]),
            Call(base + "/{slot:int}/recycle", self.recycle, ADMIN, methods=["POST"]),
        ]

    async def list(self, request: Request) -> Response:
        views = await asyncio.gather(*(each.views() for each in self._listed))
        return document({"workers": [view for each in views for view in each]})

    async def recycle(self, request: Request) -> Response:
        """Answers when the new ones have taken over and the old ones are gone."""
        if self._processes is None:
            raise Unavailable("the server is one process, setting 'workers' makes it more")
        slot = request.path_params.get("slot")
        await self._plane.note("workers.recycle", "*" if slot is None else str(slot), **caller(request, "admin"))
        await self._processes.recycle(slot)
        return await self.list(request)
