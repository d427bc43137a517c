"""The gateways that share the store."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.control.plane import ControlPlane
from gateway.protocols.admin.change import document
from gateway.protocols.oip.access import ADMIN
from gateway.protocols.route import Call


class Gateways:
    """On this machine and on others."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def routes(self) -> list[Call]:
        return [Call("/admin/v1/machines", self.list, ADMIN)]

    async def list(self, request: Request) -> Response:
        """Those that said something within the last hour, this one among them; none where the store is not shared."""
        peers = self._plane.peers
        machines = await peers.machines() if peers else []
        return document({"revision": self._plane.desired.revision, "machines": machines}, self._plane.desired)
