"""The application of the admin port: metrics, probes, and ``/admin/v1/…``, which takes the token.

Each route says what it needs of its caller; one that does not say it needs the most that there is. As long as nothing
says who may do what, that is the admin token, for all but metrics and probes.
There are no cookies and no CORS headers: a browser's page cannot speak for whoever looks at it.
Every answer that holds desired state carries its revision as ``ETag``; ``If-Match`` makes a change depend on it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from gateway.control.caller import Note
from gateway.control.plane import ControlPlane
from gateway.core.errors import SluiceError
from gateway.protocols.admin.keys import ApiKeys
from gateway.protocols.admin.labels import VersionLabels
from gateway.protocols.admin.machines import Gateways
from gateway.protocols.admin.models import Models
from gateway.protocols.admin.probes import Probes
from gateway.protocols.admin.splits import TrafficSplits
from gateway.protocols.admin.streams import StreamRoutes, Streams
from gateway.protocols.admin.trail import Trail
from gateway.protocols.admin.workers import Listed, Processes, Workers
from gateway.protocols.doorman import Doorman, Guarded
from gateway.protocols.errors import on_error
from gateway.protocols.route import Call
from gateway.protocols.views import Inventory


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
    stream_workers: Listed | None = None,
) -> list[Call]:
    """Every route of port 8002.

    render   the page of metrics, of `content_type`
    ready    whether the server takes traffic
    detail   what readiness says beside it
    workers  None where one process serves
    streams  None where none are run; `stream_workers` are the processes that do
    """
    return [
        *Probes(render, content_type, ready, plane, detail).routes(),
        *Workers(plane, workers, stream_workers).routes(),
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
