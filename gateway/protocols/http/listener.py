"""A listening socket with uvicorn behind it, which starts and stops as a part of the application."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn

from gateway.core.errors import Unavailable
from gateway.protocols.http.service import Service
from gateway.protocols.http.wire import wire_for

BACKLOG = 2048
#: seconds in which the loop accepts what the kernel has already connected
ACCEPTING = 0.02
#: seconds in which a client that says nothing learns that its connection is to be its last
QUIET = 1.0
#: a classic BPF program (linux/filter.h) that drops TCP segments with SYN set: load byte 13, test 0x02, 0 or all of it
_NO_SYN = struct.pack("HBBI" * 4, 0x30, 0, 0, 13, 0x45, 0, 1, 2, 0x06, 0, 0, 0, 0x06, 0, 0, 0xFFFFFFFF)
_SO_ATTACH_FILTER = 26


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files. `client_ca` with `client_required` is mTLS."""

    cert: str
    key: str
    client_ca: str = ""
    client_required: bool = False


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """`shared`: more sockets may listen on the same address, and the kernel spreads connections over them.

    Raises Unavailable in one line where the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=shared)
    except (OSError, OverflowError) as error:
        # create_server adds the address once more to its text
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise Unavailable(f"cannot listen on {host}:{port}: {reason}") from error


def bind_all(host: str, port: int, count: int) -> list[socket.socket]:
    """Sockets that share one address, which was nobody's before: another server of the same user could share it, too,
    and neither would know. Raises Unavailable as `bind` does.
    """
    with bind(host, port) as first:
        port = first.getsockname()[1]
    return [bind(host, port, shared=True) for _ in range(count)]


def turn_away(listening: socket.socket) -> None:
    """Whoever connects from now on is not heard, and learns within a second that nobody listens.

    Closing a listening socket resets the connections that the kernel has made but nobody has accepted yet, and with
    them requests that were sent: a dozen, under load. Nothing joins those any more, so all of them can be accepted.
    """
    program = ctypes.create_string_buffer(_NO_SYN)
    with contextlib.suppress(OSError):  # not Linux, or not allowed: as it is without
        listening.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HxxxxxxP", 4, ctypes.addressof(program))
        )


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers (the application has its own), that tells when it has started, and looks up
    once a second instead of ten times: an idle server costs nothing."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()
        self._end = asyncio.Event()

    def end(self) -> None:
        self.should_exit = True
        self._end.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # 0: the Date header is made anew
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._end.wait()


class Listener:
    """Serves `service` on `listening`. `start` returns once connections are accepted."""

    def __init__(
        self, service: Service, listening: socket.socket, *, tls: TlsFiles | None = None, drain_timeout: float = 30.0
    ) -> None:
        self.service = service
        self._socket = listening
        self._drain_timeout = drain_timeout
        self._retired = False
        config = uvicorn.Config(
            service.app,
            http=wire_for(service),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=max(1, round(drain_timeout)),
            **(_tls(tls) if tls else {}),
        )
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            raise Unavailable(f"the TLS files cannot be used: {error}") from error
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    async def start(self) -> None:
        self._task = asyncio.create_task(self._server.serve([self._socket]))
        up = asyncio.create_task(self._server.is_up.wait())
        await asyncio.wait({self._task, up}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if self._task.done():
            self._task.result()

    async def also(self, listening: socket.socket) -> asyncio.Server:
        """Accepts on one more socket, until what is returned is closed; connections stay."""
        config, state = self._server.config, self._server.server_state
        make: Callable[[], Any] = config.http_protocol_class

        def connected() -> Any:
            return make(config=config, server_state=state, app_state={})  # type: ignore[call-arg]

        loop = asyncio.get_running_loop()
        return await loop.create_server(connected, sock=listening, ssl=config.ssl, backlog=BACKLOG)

    def drain(self) -> None:
        """From now on each connection is told to close with its next reply; new ones are still accepted."""
        self.service.draining = True

    async def retire(self) -> None:
        """Accepts no more on a socket on which others accept, and waits for its connections: each closes with its next
        reply, those of which nothing comes are closed. What is left then `stop` ends.
        """
        self.drain()
        for server in self._server.servers:
            server.close()
        loop = asyncio.get_running_loop()
        quiet, end = loop.time() + QUIET, loop.time() + self._drain_timeout
        while self.service.connections and loop.time() < end:
            await asyncio.sleep(ACCEPTING)
            if loop.time() > quiet:
                quiet = end
                for wire in list(self.service.connections):
                    wire.shutdown()
        self._retired = True

    async def stop(self) -> None:
        """Accepts no more, lets what is in flight end within the drain time-out, then cuts."""
        if self._task is not None:
            self.drain()
            if not self._retired:
                turn_away(self._socket)
                await asyncio.sleep(ACCEPTING)
            self._server.end()
            await self._task
            for wire in list(self.service.connections):
                wire.transport.abort()


def _tls(files: TlsFiles) -> dict[str, Any]:
    options: dict[str, Any] = {"ssl_certfile": files.cert, "ssl_keyfile": files.key}
    if files.client_ca:
        options["ssl_ca_certs"] = files.client_ca
        options["ssl_cert_reqs"] = ssl.CERT_REQUIRED if files.client_required else ssl.CERT_OPTIONAL
    return options
