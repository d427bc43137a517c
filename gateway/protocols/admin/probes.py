"""Metrics and probes: what is asked without a token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.control.plane import ControlPlane
from gateway.protocols.admin.change import document
from gateway.protocols.oip.access import FREE
from gateway.protocols.route import Call
from gateway.telemetry.metrics.control import control_page


class Probes:
    def __init__(
        self,
        render: Callable[[], Awaitable[bytes]],
        content_type: str,
        ready: Callable[[], bool],
        plane: ControlPlane | None = None,
        detail: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._plane = plane
        self._render = render
        self._detail = detail
        self._content_type = content_type
        self._ready = ready

    def routes(self) -> list[Call]:
        return [
            Call("/metrics", self.metrics, FREE),
            *(Call(path, self.live, FREE) for path in ("/livez", "/health/live")),
            *(Call(path, self.ready, FREE) for path in ("/readyz", "/health/ready")),
        ]

    async def metrics(self, request: Request) -> Response:
        page = await self._render()
        if self._plane:
            contact = self._plane.contact
            page += control_page(self._plane.in_force, contact.revision, contact.up)
        return Response(page, headers={"Content-Type": self._content_type})

    async def live(self, request: Request) -> Response:
        return document({"live": True})

    async def ready(self, request: Request) -> Response:
        """A gateway whose store is gone serves on: it is ready, and says so. Why it is gone is in the log alone."""
        ready = self._ready()
        body: dict[str, Any] = {"ready": ready, **self._detail()}
        if self._plane:
            contact = self._plane.contact
            since = datetime.fromtimestamp(contact.since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            body["store"] = "ok" if contact.up else f"gone since {since}"
        return document(body, status=200 if ready else 503)
