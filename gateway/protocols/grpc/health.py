"""The standard health service, which probes and load balancers ask.

https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from gateway import pb
from gateway.core.errors import NotFound

PACKAGE: Final = "grpc.health.v1"
SERVICE: Final = f"{PACKAGE}.Health"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


class Health:
    """`ready` says whether the server takes traffic; who changes that calls `changed`."""

    def __init__(self, ready: Callable[[], bool], services: tuple[str, ...]) -> None:
        self._ready = ready
        self._services = ("", *services)
        self._news: asyncio.Future[None] | None = None
        self._closed = False

    def check(self, body: bytes) -> bytes:
        """Raises NotFound for a service that is not served."""
        status = self._status(_service(body))
        if status == SERVICE_UNKNOWN:
            raise NotFound(f"unknown service, the server has {', '.join(self._services[1:])}")
        return _reply(status)

    async def watch(self, body: bytes) -> AsyncIterator[bytes]:
        """The state now, and then whenever it changes."""
        service = _service(body)
        told = -1
        while not self._closed:
            status = self._status(service)
            if status != told:
                told = status
                yield _reply(status)
                continue  # it may have changed again while that was written
            if self._news is None:
                self._news = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._news)

    def changed(self) -> None:
        if self._news is not None:
            self._news.set_result(None)
            self._news = None

    def close(self) -> None:
        """Ends every watch."""
        self._closed = True
        self.changed()

    def _status(self, service: str) -> int:
        if service not in self._services:
            return SERVICE_UNKNOWN
        return SERVING if self._ready() else NOT_SERVING


def _service(body: bytes) -> str:
    service: str = pb.message("HealthCheckRequest", PACKAGE).FromString(body).service
    return service


def _reply(status: int) -> bytes:
    reply: bytes = pb.message("HealthCheckResponse", PACKAGE)(status=status).SerializeToString()
    return reply
