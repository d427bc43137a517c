"""The application of the REST port, put together out of its nouns."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.codecs.sharedmemory import Regions
from gateway.control.plane import ControlPlane
from gateway.core.errors import SluiceError, Unsupported
from gateway.models.manager import Manager
from gateway.protocols.errors import body_of, on_error
from gateway.protocols.rest.access import Gate
from gateway.protocols.rest.config import Config
from gateway.protocols.rest.logging import Logging
from gateway.protocols.rest.metadata import Metadata
from gateway.protocols.rest.openapi.document import OpenApi
from gateway.protocols.rest.repository import ModelRepository
from gateway.protocols.rest.sharedmemory import SystemSharedMemory, cuda_routes
from gateway.protocols.rest.statistics import ModelStatistics
from gateway.settings.schema import Restricted

MIB = 1024 * 1024


def rest_app(
    manager: Manager,
    control: ControlPlane,
    *,
    ready: Callable[[], bool],
    restricted: Restricted,
    token: str = "",
    regions: Regions | None = None,
    max_body: int = 8 * MIB,
    max_files: int = 512 * MIB,
) -> Starlette:
    """Every route of port 8000, of which the wire answers inference itself.

    ready      whether the server takes traffic
    token      what opens the calls that `restricted` sets to `token`
    regions    the shared memory that inference reads, None where it is off
    max_body   bytes of a body
    max_files  bytes of the body of a load call, where it may bring files
    """
    repository = Gate("the repository API", "restricted.repository", restricted.repository, token)
    memory = Gate("system shared memory", "restricted.shared_memory", restricted.shared_memory, token)
    logging = Gate("changing log settings", "restricted.logging", restricted.logging, token)
    routes = [
        *ModelStatistics(manager).routes(),
        *Metadata(manager, ready, _extensions(restricted)).routes(),
        *Config(manager).routes(),
        *ModelRepository(
            manager,
            control,
            repository,
            load_files=restricted.load_files,
            max_body=max_body,
            max_files=max_files,
        ).routes(),
        *SystemSharedMemory(regions or Regions(max_regions=0), memory, max_body).routes(),
        *cuda_routes(),
        *Logging(logging, max_body).routes(),
        *OpenApi(manager).routes(),
        *_infer_routes(),
    ]
    handlers = dict.fromkeys((SluiceError, HTTPException, Exception), on_error)
    app = Starlette(routes=routes, exception_handlers=handlers, middleware=[Middleware(Paths)])
    app.router.redirect_slashes = False  # `Paths` has taken them off: clients that POST do not follow
    return app


class Paths:
    """A path with a slash at its end means the same without it. An encoded slash does not separate: no name
    holds one, so that a path with it leads nowhere, whatever it would spell once decoded.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if b"%2f" in scope.get("raw_path", b"").lower():
                await Response(body_of("Not Found"), 404, media_type="application/json")(scope, receive, send)
                return
            path = scope["path"]
            if len(path) > 1 and path.endswith("/"):
                scope = {**scope, "path": path[:-1]}
        await self._app(scope, receive, send)


def _extensions(restricted: Restricted) -> tuple[str, ...]:
    found: list[str] = []
    if restricted.repository != "off":
        found += ["model_repository", "model_repository(unload_dependents)"]
    if restricted.shared_memory != "off":
        found.append("system_shared_memory")
    if restricted.logging != "off":
        found.append("logging")
    return tuple(found)


def _infer_routes() -> list[Route]:
    """Here for the answer to a wrong verb: the wire takes POST before it comes to this application."""
    model = "/v2/models/{model}"
    return [
        Route(f"{model}/infer", _infer, methods=["POST"]),
        Route(f"{model}/versions/{{version}}/infer", _infer, methods=["POST"]),
    ]


async def _infer(request: Request) -> Response:
    raise Unsupported("inference is answered by the server's own HTTP protocol, which this request came around")
