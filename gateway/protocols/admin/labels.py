"""Names of versions, such as stable and canary."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.control.desired import Desired
from gateway.control.plane import ControlPlane
from gateway.core.errors import InvalidArgument
from gateway.protocols.admin.change import MAX_BODY, changed, document
from gateway.protocols.doorman import rights
from gateway.protocols.oip.access import READ, SPLIT
from gateway.protocols.rest.body import parse, read
from gateway.protocols.route import Call


class VersionLabels:
    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def routes(self) -> list[Call]:
        one = "/admin/v1/labels/{model}"
        return [
            Call("/admin/v1/labels", self.list, READ),
            Call(one, self.show, READ),
            Call(one, self.set, SPLIT, methods=["PUT", "PATCH"]),
            Call(one, self.clear, SPLIT, methods=["DELETE"]),
        ]

    async def list(self, request: Request) -> Response:
        desired = self._plane.desired
        labels = {model: given for model, given in desired.labels.items() if rights(request).may("read", model)}
        return document({"revision": desired.revision, "labels": labels}, desired)

    async def show(self, request: Request) -> Response:
        return self._reply(self._plane.desired, request.path_params["model"])

    async def set(self, request: Request) -> Response:
        """PUT: these labels and no others. PATCH: these beside the others, and without those that are null."""
        model = request.path_params["model"]
        whole = request.method == "PUT"
        given = parse(await read(request, MAX_BODY), dict[str, str | int | None])
        if whole and None in given.values():
            raise InvalidArgument("labels: null takes a label away in PATCH only, leave it out in PUT")
        changes = {label: str(version) if version is not None else None for label, version in given.items()}
        desired = await changed(
            request, self._plane, lambda by: self._plane.set_labels(model, changes, whole=whole, **by)
        )
        return self._reply(desired, model)

    async def clear(self, request: Request) -> Response:
        """Back to the labels of the settings, or to none."""
        model = request.path_params["model"]
        desired = await changed(request, self._plane, lambda by: self._plane.clear_labels(model, **by))
        return self._reply(desired, model)

    def _reply(self, desired: Desired, model: str) -> Response:
        labels = desired.labels.get(model, {})
        return document({"revision": desired.revision, "model": model, "labels": labels}, desired)
