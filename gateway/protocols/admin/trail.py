"""Who changed what."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.control.plane import ControlPlane
from gateway.protocols.admin.change import document, number
from gateway.protocols.oip.access import ADMIN
from gateway.protocols.route import Call
from gateway.protocols.views import audit_view


class Trail:
    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def routes(self) -> list[Call]:
        return [Call("/admin/v1/audit", self.list, ADMIN)]

    async def list(self, request: Request) -> Response:
        """The newest first; `before` is an id to go on from."""
        limit = number(request, "limit", 100, 1000)
        before = number(request, "before", 0, 1 << 62)
        entries = await self._plane.audit(limit, before or None)
        return document({"entries": [audit_view(entry) for entry in entries]})
