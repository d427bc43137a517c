"""A listening socket whose connections speak HTTP/2: how it starts, drains and ends."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gateway.protocols.http2.connection import Connection
from gateway.protocols.http2.service import Service

BACKLOG = 2048


class Port:
    """`start`, then `leave` once nobody is to begin anything new, then `close`."""

    def __init__(self, service: Service[Any], listening: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        self._service = service
        self._socket = listening
        self._tls = tls
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await self.also(self._socket)

    async def also(self, listening: socket.socket) -> asyncio.Server:
        """Accepts on one more socket, until what is returned is closed; connections stay."""
        loop = asyncio.get_running_loop()
        make: Callable[[], Connection] = lambda: Connection(self._service)  # noqa: E731
        timeout = self._service.limits.handshake_timeout if self._tls else None
        return await loop.create_server(
            make, sock=listening, ssl=self._tls, backlog=BACKLOG, ssl_handshake_timeout=timeout
        )

    def stop_accepting(self) -> None:
        if self._server is not None:
            self._server.close()

    async def close(self, patience: float) -> None:
        """Tells all clients to go, waits for what they have begun, and cuts what is left after `patience` seconds."""
        self.stop_accepting()
        connections = self._service.connections
        for connection in list(connections):
            connection.leave(0.0)
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._service.empty.wait()
        for connection in list(connections):
            connection.transport.abort()
