"""The whole server in one process."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from gateway.app import ports
from gateway.app.adminport import admin_port
from gateway.app.engine import Engine, settle_memory
from gateway.app.figures import Figures
from gateway.app.inventory import CountedInventory
from gateway.app.security import Security
from gateway.app.serving import Serving
from gateway.app.stop import Stop, end
from gateway.app.storage import storage
from gateway.app.streamworkers import StreamWorkers, with_streams
from gateway.app.tracing import traced
from gateway.control.follower import Follower
from gateway.control.plane import ControlPlane
from gateway.control.report import Tally
from gateway.protocols.admin import admin_routes
from gateway.protocols.http.listener import bind
from gateway.protocols.route import Call
from gateway.protocols.views import LocalInventory
from gateway.settings import Settings, admin_token
from gateway.store.contract import Store
from gateway.telemetry.metrics import CONTENT_TYPE
from gateway.telemetry.tracing import Tracer

logger = logging.getLogger("sluice")


async def serve(settings: Settings) -> int:
    """Until a signal ends it. Returns the exit code."""
    began = time.perf_counter()
    stop = Stop()
    stop.listen()
    async with AsyncExitStack() as stack:
        server = await Server.open(settings, stack, stop)
        if await stop.unless(server.plane.start()):
            await server.start(stack)
            settle_memory()
            stop.set_ready(True)
            logger.info(
                "ready in %.2f s: REST on %s, gRPC %s, admin on %s, models from %s",
                time.perf_counter() - began, *server.addresses(), settings.models,
            )  # fmt: skip
            await stop.wait()
            await server.drain()
    logger.info("stopped")
    if server.engine.left_behind:
        end(stop.code)
    return stop.code


class Server:
    """The parts, joined. `grpc` is None where that port is off."""

    def __init__(
        self,
        settings: Settings,
        stop: Stop,
        rest: socket.socket,
        grpc: socket.socket | None,
        admin: socket.socket,
        store: Store,
        security: Security,
        tracer: Tracer | None,
    ) -> None:
        self._settings: Final = settings
        self._stop: Final = stop
        self._rest: Final = rest
        self._admin: Final = admin
        self.engine: Final = Engine(settings)
        follower = Follower(self.engine.manager, self.engine.splits, settings, store.blob, security.guard.follow)
        self.plane: Final = ControlPlane(store, follower, settings)
        hosts_streams = settings.streams and settings.stream_workers
        self._streams: Final = StreamWorkers(settings, Tally()) if hosts_streams else None
        self._figures: Final = Figures(self.engine.manager, self._streams)
        self._serving: Final = Serving(
            settings, self.engine, self.plane, stop, security, tracer, grpc, counted=self._figures.statistics
        )
        self._listener: Final = self._serving.listener(rest)

    @classmethod
    async def open(cls, settings: Settings, stack: AsyncExitStack, stop: Stop) -> Server:
        """With its ports, of which the admin one answers already. That is stopped last: metrics last longest."""
        tracer = await traced(settings, stack)
        # sockets are bound before anything is loaded: a port that is taken is known at once
        rest = stack.enter_context(bind(settings.host, settings.http_port))
        admin = stack.enter_context(bind(settings.admin_host, settings.admin_port))
        grpc = None
        if settings.grpc_port != "off":
            grpc = stack.enter_context(bind(settings.host, settings.grpc_port))
        store = await stack.enter_async_context(storage(settings))
        security = Security(settings, admin_token(settings))
        await security.enter(stack)
        self = cls(settings, stop, rest, grpc, admin, store, security, tracer)
        self.engine.enter(stack)
        stack.push_async_callback(self.plane.close)
        await ports.start(stack, admin_port(self._routes(), admin, security, settings))
        return self

    async def start(self, stack: AsyncExitStack) -> None:
        """Once the models are there."""
        await ports.start(stack, self._listener, *self._serving.others())
        if self._streams is not None:
            stack.push_async_callback(self._streams.close)
            self._stop.last.append(self._streams.crew.kill)
            await self._stop.unless(self._streams.start())
        polling = asyncio.create_task(self.engine.manager.poll())
        stack.callback(polling.cancel)

    def addresses(self) -> list[str]:
        """Of REST, of gRPC, and of the admin port."""
        (rest, admin) = (f"{place[0]}:{place[1]}" for place in (self._rest.getsockname(), self._admin.getsockname()))
        grpc = self._serving.grpc
        return [rest, f"on {self._settings.host}:{grpc.port}" if grpc else "off", admin]

    async def drain(self) -> None:
        """Not ready, but still accepting for `drain_delay` seconds: load balancers need that long to notice."""
        delay = self._settings.drain_delay
        logger.info("stopping: not ready any more, accepting for another %g s", delay)
        self._stop.set_ready(False)
        self._listener.drain()
        await asyncio.sleep(delay)

    def _routes(self) -> list[Call]:
        streams = self._streams
        return admin_routes(
            self.plane,
            CountedInventory(LocalInventory(self.engine.manager, lambda: self.plane.desired), self._figures.statistics),
            render=with_streams(partial(self._figures.page, self._serving.metrics()), streams),
            content_type=CONTENT_TYPE,
            ready=lambda: self._stop.ready,
            detail=streams.detail if streams else dict,
            streams=streams.streams if streams else None,
            stream_workers=streams,
        )
