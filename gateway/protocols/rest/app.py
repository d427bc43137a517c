"""The application of the REST port, put together out of its nouns."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.core.errors import SluiceError, Unsupported
from gateway.protocols.doorman import Doorman, Guarded, normal
from gateway.protocols.errors import body_of, on_error
from gateway.protocols.oip.access import INFER
from gateway.protocols.oip.calls import Calls
from gateway.protocols.rest.config import Config
from gateway.protocols.rest.logging import LoggingRoutes
from gateway.protocols.rest.metadata import MetadataRoutes
from gateway.protocols.rest.openapi.demand import Demand
from gateway.protocols.rest.openapi.document import OpenApi
from gateway.protocols.rest.repository import RepositoryRoutes
from gateway.protocols.rest.sharedmemory import SystemSharedMemoryRoutes, cuda_routes
from gateway.protocols.rest.statistics import StatisticsRoutes
from gateway.protocols.rest.trace import TraceRoutes
from gateway.protocols.route import Call

MIB = 1024 * 1024


def rest_routes(calls: Calls, demand: Demand, *, max_body: int = 8 * MIB, max_load: int = 8 * MIB) -> list[Call]:
    """Every route of port 8000, of which the wire answers inference itself.

    demand     what the OpenAPI document says of credentials
    max_body   bytes of a body
    max_load   bytes of the body of a load call, which may bring files
    """
    routes = [
        *StatisticsRoutes(calls.statistics).routes(),
        *MetadataRoutes(calls.metadata).routes(),
        *Config(calls.manager).routes(),
        *RepositoryRoutes(calls.repository, max_body=max_body, max_load=max_load).routes(),
        *SystemSharedMemoryRoutes(calls.memory, max_body).routes(),
        *cuda_routes(),
        *LoggingRoutes(calls.logging, max_body).routes(),
        *TraceRoutes(calls.trace, max_body).routes(),
        *_infer_routes(),
    ]
    return [*routes, *OpenApi(calls.manager, demand, routes).routes()]


def rest_app(routes: Sequence[Call], doorman: Doorman) -> Starlette:
    """The application of these routes, behind the doorman of the port."""
    handlers = dict.fromkeys((SluiceError, HTTPException, Exception), on_error)
    middleware = [Middleware(Guarded, doorman=doorman), Middleware(Paths)]
    app = Starlette(routes=routes, exception_handlers=handlers, middleware=middleware)
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
            scope = normal(scope)
        await self._app(scope, receive, send)


def _infer_routes() -> list[Call]:
    """Here for the answer to a wrong verb: the wire takes POST before it comes to this application."""
    model = "/v2/models/{model}"
    return [
        Call(f"{model}/infer", _infer, INFER, methods=["POST"]),
        Call(f"{model}/versions/{{version}}/infer", _infer, INFER, methods=["POST"]),
    ]


async def _infer(request: Request) -> Response:
    raise Unsupported("inference is answered by the server's own HTTP protocol, which this request came around")
