"""Models as they are desired and as they are."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from gateway.control.plane import ControlPlane
from gateway.protocols.admin.change import MAX_BODY, changed, document
from gateway.protocols.doorman import rights
from gateway.protocols.oip.access import ADMIN, LOAD, READ
from gateway.protocols.rest.body import parse, read
from gateway.protocols.route import Call
from gateway.protocols.views import Inventory, split_view


class LoadBody(Struct, forbid_unknown_fields=True):
    """`config`: a ModelConfig that overrides the model's own."""

    config: dict[str, Any] | None = None


class Models:
    def __init__(self, plane: ControlPlane, inventory: Inventory) -> None:
        self._plane = plane
        self._inventory = inventory

    def routes(self) -> list[Call]:
        base = "/admin/v1/models"
        return [
            Call("/admin/v1/state", self.state, ADMIN),
            Call(base, self.list, READ),
            Call(base + "/{model}", self.show, READ),
            Call(base + "/{model}/load", self.load, LOAD, methods=["POST"]),
            Call(base + "/{model}/unload", self.unload, LOAD, methods=["POST"]),
        ]

    async def state(self, request: Request) -> Response:
        """Everything desired."""
        desired = self._plane.desired
        return document(
            {
                "revision": desired.revision,
                "control_mode": self._plane.mode,
                "models": self._plane.state.models,
                "splits": {model: split_view(desired, model) for model in desired.splits},
                "labels": desired.labels,
            },
            desired,
        )

    async def list(self, request: Request) -> Response:
        views = [view for view in await self._inventory.models() if rights(request).may("read", view["name"])]
        return document({"control_mode": self._plane.mode, "models": views}, self._plane.desired)

    async def show(self, request: Request) -> Response:
        return document(await self._inventory.model(request.path_params["model"]), self._plane.desired)

    async def load(self, request: Request) -> Response:
        body = parse(await read(request, MAX_BODY), LoadBody)
        override = msgspec.json.encode(body.config).decode() if body.config is not None else None
        model = request.path_params["model"]
        await changed(request, self._plane, lambda by: self._plane.load_model(model, override, **by))
        return await self.show(request)

    async def unload(self, request: Request) -> Response:
        model = request.path_params["model"]
        desired = await changed(request, self._plane, lambda by: self._plane.unload_model(model, **by))
        return document({"revision": desired.revision}, desired)
