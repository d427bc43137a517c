"""The application of the admin port: metrics, probes, and ``/admin/v1/…``, which takes the token.

Each route says what it needs of its caller; one that does not say it needs the most that there is. As long as nothing
says who may do what, that is the admin token, for all but metrics and probes.
There are no cookies and no CORS headers: a browser's page cannot speak for whoever looks at it.
Every answer that holds desired state carries its revision as ``ETag``; ``If-Match`` makes a change depend on it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
from msgspec import Struct
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from gateway.control.caller import Note
from gateway.control.desired import Desired
from gateway.control.plane import ControlPlane
from gateway.core.errors import InvalidArgument, NotFound, SluiceError, Unavailable
from gateway.protocols.change import MAX_BODY, changed, document, number
from gateway.protocols.doorman import Doorman, Guarded, caller, rights
from gateway.protocols.errors import on_error
from gateway.protocols.keys import ApiKeys
from gateway.protocols.oip.access import ADMIN, FREE, LOAD, READ, SPLIT
from gateway.protocols.rest.body import parse, read
from gateway.protocols.route import Call
from gateway.protocols.streams import StreamRoutes, Streams
from gateway.protocols.views import Inventory, audit_view, split_view
from gateway.telemetry.metrics.control import control_page


class LoadBody(Struct, forbid_unknown_fields=True):
    """`config`: a ModelConfig that overrides the model's own."""

    config: dict[str, Any] | None = None


class SplitBody(Struct, forbid_unknown_fields=True):
    """`weights` by version or label. Without `salt` the one of the split before stays."""

    weights: dict[str, float]
    salt: str | None = None


def admin_routes(
    plane: ControlPlane,
    inventory: Inventory,
    *,
    render: Callable[[], Awaitable[bytes]],
    content_type: str,
    ready: Callable[[], bool],
    detail: Callable[[], Mapping[str, Any]] = dict,
    workers: Processes | None = None,
    streams: Streams | None = None,
) -> list[Call]:
    """Every route of port 8002.

    render   the page of metrics, of `content_type`
    ready    whether the server takes traffic
    detail   what readiness says beside it
    workers  None where all is one process
    streams  None where none are run
    """
    return [
        *Probes(render, content_type, ready, plane, detail).routes(),
        *Workers(plane, workers).routes(),
        *Models(plane, inventory).routes(),
        *TrafficSplits(plane).routes(),
        *VersionLabels(plane).routes(),
        *ApiKeys(plane).routes(),
        *Trail(plane).routes(),
        *Gateways(plane).routes(),
        *(StreamRoutes(streams, plane.note).routes() if streams is not None else ()),
    ]


def streams_routes(
    streams: Streams,
    note: Note,
    *,
    render: Callable[[], Awaitable[bytes]],
    content_type: str,
    ready: Callable[[], bool],
) -> list[Call]:
    """The admin port of a process that runs streams and nothing else."""
    return [*Probes(render, content_type, ready).routes(), *StreamRoutes(streams, note).routes()]


def admin_app(routes: Sequence[Call], doorman: Doorman) -> Starlette:
    """The application of these routes, behind the doorman of the port."""
    handlers = dict.fromkeys((SluiceError, HTTPException, Exception), on_error)
    return Starlette(routes=routes, exception_handlers=handlers, middleware=[Middleware(Guarded, doorman=doorman)])


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


class Processes(Protocol):
    """The workers of a supervisor."""

    async def views(self) -> list[dict[str, Any]]: ...

    async def recycle(self, number: int | None = None) -> None:
        """One slot, or all, one after the other. Raises NotFound, Unavailable."""
        ...


class Workers:
    """Without a supervisor there is one process, which cannot be replaced."""

    def __init__(self, plane: ControlPlane, processes: Processes | None) -> None:
        self._plane = plane
        self._processes = processes

    def routes(self) -> list[Call]:
        base = "/admin/v1/workers"
        return [
            Call(base, self.list, ADMIN),
            Call(base + "/recycle", self.recycle, ADMIN, methods=["POST"]),
            Call(base + "/{slot:int}/recycle", self.recycle, ADMIN, methods=["POST"]),
        ]

    async def list(self, request: Request) -> Response:
        return document({"workers": await self._processes.views() if self._processes else []})

    async def recycle(self, request: Request) -> Response:
        """Answers when the new ones have taken over and the old ones are gone."""
        if self._processes is None:
            raise Unavailable("the server is one process, setting 'workers' makes it more")
        slot = request.path_params.get("slot")
        await self._plane.note("workers.recycle", "*" if slot is None else str(slot), **caller(request, "admin"))
        await self._processes.recycle(slot)
        return document({"workers": await self._processes.views()})


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


class Gateways:
    """All that share the store, on this machine and on others."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def routes(self) -> list[Call]:
        return [Call("/admin/v1/machines", self.list, ADMIN)]

    async def list(self, request: Request) -> Response:
        """Those that said something within the last hour, this one among them; none where the store is not shared."""
        peers = self._plane.peers
        machines = await peers.machines() if peers else []
        return document({"revision": self._plane.desired.revision, "machines": machines}, self._plane.desired)
