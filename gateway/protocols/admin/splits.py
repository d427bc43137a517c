"""Traffic splits between versions."""

from __future__ import annotations

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from gateway.control.plane import ControlPlane
from gateway.core.errors import NotFound
from gateway.protocols.admin.change import MAX_BODY, changed, document
from gateway.protocols.doorman import rights
from gateway.protocols.oip.access import READ, SPLIT
from gateway.protocols.rest.body import parse, read
from gateway.protocols.route import Call
from gateway.protocols.views import split_view


class SplitBody(Struct, forbid_unknown_fields=True):
    """`weights` by version or label. Without `salt` the one of the split before stays."""

    weights: dict[str, float]
    salt: str | None = None


class TrafficSplits:
    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def routes(self) -> list[Call]:
        one = "/admin/v1/splits/{model}"
        return [
            Call("/admin/v1/splits", self.list, READ),
            Call(one, self.show, READ),
            Call(one, self.set, SPLIT, methods=["PUT"]),
            Call(one, self.clear, SPLIT, methods=["DELETE"]),
        ]

    async def list(self, request: Request) -> Response:
        desired = self._plane.desired
        views = [split_view(desired, model) for model in sorted(desired.splits) if rights(request).may("read", model)]
        return document({"revision": desired.revision, "splits": views}, desired)

    async def show(self, request: Request) -> Response:
        model = request.path_params["model"]
        if model not in self._plane.desired.splits:
            raise NotFound(f"model '{model}' has no split")
        return document(split_view(self._plane.desired, model), self._plane.desired)

    async def set(self, request: Request) -> Response:
        body = parse(await read(request, MAX_BODY), SplitBody)
        model = request.path_params["model"]
        weights = list(body.weights.items())
        desired = await changed(request, self._plane, lambda by: self._plane.set_split(model, weights, body.salt, **by))
        return document(split_view(desired, model), desired)

    async def clear(self, request: Request) -> Response:
        """Back to the split of the settings, or to none."""
        model = request.path_params["model"]
        desired = await changed(request, self._plane, lambda by: self._plane.clear_split(model, **by))
        split = split_view(desired, model) if model in desired.splits else None
        return document({"revision": desired.revision, "split": split}, desired)
