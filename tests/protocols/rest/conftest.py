from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.core.errors import SluiceError
from gateway.protocols.checkpoint import Checkpoint
from gateway.protocols.doorman import Doorman, Guarded
from gateway.protocols.errors import on_error
from gateway.security.guard import Guard

TOKEN = "t"
Serve = Callable[[list[Route]], httpx.Client]


class Stage:
    """What a real server in a thread serves at the moment: starting one for each test takes longer than the test."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def stage() -> Iterator[tuple[Stage, httpx.Client]]:
    stage = Stage()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(stage, ws="none", lifespan="off", log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            yield stage, client
        server.should_exit = True
        thread.join()


@pytest.fixture
def serve(stage: tuple[Stage, httpx.Client]) -> Serve:
    """A client of a server that has only the routes given, and `TOKEN` for the admin token. The last call in a test
    counts."""
    current, client = stage

    def serve(routes: list[Route]) -> httpx.Client:
        handlers = dict.fromkeys((SluiceError, HTTPException, Exception), on_error)
        doorman = Doorman(Checkpoint(Guard(TOKEN), "rest"), routes)
        guarded = [Middleware(Guarded, doorman=doorman)]
        current.app = Starlette(routes=routes, exception_handlers=handlers, middleware=guarded)
        client.headers.pop("Authorization", None)
        return client

    return serve
