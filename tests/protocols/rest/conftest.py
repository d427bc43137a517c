from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway.core.errors import SluiceError
from gateway.protocols.errors import on_error

Serve = Callable[[list[Route]], httpx.Client]


@contextmanager
def listening(app: ASGIApp) -> Iterator[str]:
    """The address of a real server of `app`, in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, ws="none", log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A client of a server that has only the routes given."""
    with ExitStack() as stack:

        def serve(routes: list[Route]) -> httpx.Client:
            handlers = dict.fromkeys((SluiceError, HTTPException, Exception), on_error)
            app = Starlette(routes=routes, exception_handlers=handlers)
            address = stack.enter_context(listening(app))
            return stack.enter_context(httpx.Client(base_url=f"http://{address}"))

        yield serve
