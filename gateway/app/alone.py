"""The whole server in one process."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from functools import partial

from gateway.app import ports
from gateway.app.engine import Engine, settle_memory
from gateway.app.figures import Figures
from gateway.app.inventory import CountedInventory
from gateway.app.security import Security
from gateway.app.serving import Serving
from gateway.app.stop import Stop, end
from gateway.app.storage import storage
from gateway.app.streamworkers import StreamWorkers, with_streams
from gateway.control.follower import Follower
from gateway.control.plane import ControlPlane
from gateway.control.report import Tally
from gateway.protocols.admin import admin_app, admin_routes
from gateway.protocols.http.listener import Listener, bind
from gateway.protocols.http.service import Service
from gateway.protocols.views import LocalInventory
from gateway.settings import Settings, admin_token
from gateway.telemetry.metrics import CONTENT_TYPE
from gateway.telemetry.tracing import Tracer

logger = logging.getLogger("sluice")


async def serve(settings: Settings) -> int:
    """Until a signal ends it. Returns the exit code."""
    began = time.perf_counter()
    stop = Stop()
    stop.listen()
    async with AsyncExitStack() as stack:
        tracer = await traced(settings, stack)
        # sockets are bound before anything is loaded: a port that is taken is known at once
        rest_socket = stack.enter_context(bind(settings.host, settings.http_port))
        admin_socket = stack.enter_context(bind(settings.admin_host, settings.admin_port))
        grpc_socket = None
        if settings.grpc_port != "off":
            grpc_socket = stack.enter_context(bind(settings.host, settings.grpc_port))

        store = await stack.enter_async_context(storage(settings))
        security = Security(settings, admin_token(settings))
        await security.enter(stack)

        engine = Engine(settings)
        engine.enter(stack)
        follower = Follower(engine.manager, engine.splits, settings, store.blob, security.guard.follow)
        plane = ControlPlane(store, follower, settings)
        stack.push_async_callback(plane.close)
        streams = StreamWorkers(settings, Tally()) if settings.streams and settings.stream_workers else None
        figures = Figures(engine.manager, streams)
        serving = Serving(settings, engine, plane, stop, security, tracer, grpc_socket, counted=figures.statistics)
        routes = admin_routes(
            plane,
            CountedInventory(LocalInventory(engine.manager, lambda: plane.desired), figures.statistics),
            render=with_streams(partial(figures.page, serving.metrics()), streams),
            content_type=CONTENT_TYPE,
            ready=lambda: stop.ready,
            detail=streams.detail if streams else dict,
            streams=streams.streams if streams else None,
            stream_workers=streams,
        )
        doorman = security.admin(routes)
        admin = Service(admin_app(routes, doorman), limits=ports.limits(settings), doorman=doorman)
        tls = ports.tls(settings) if settings.tls.admin else None
        # probes answer, and say "not ready", while models load; stopped last, so that metrics last longest
        await ports.start(stack, Listener(admin, admin_socket, tls=tls, drain_timeout=1.0))
        listener = serving.listener(rest_socket)
        if await stop.unless(plane.start()):
            await ports.start(stack, listener, *serving.others())
            if streams is not None:
                stack.push_async_callback(streams.close)
                stop.last.append(streams.crew.kill)
                await stop.unless(streams.start())
            settle_memory()
            stop.set_ready(True)
            logger.info(
                "ready in %.2f s: REST on %s:%d, gRPC %s, admin on %s:%d, models from %s",
                time.perf_counter() - began,
                *rest_socket.getsockname()[:2],
                f"on {settings.host}:{serving.grpc.port}" if serving.grpc else "off",
                *admin_socket.getsockname()[:2],
                settings.models,
            )
            polling = asyncio.create_task(engine.manager.poll())
            stack.callback(polling.cancel)
            await stop.wait()
            await _drain(stop, listener, settings.drain_delay)
    logger.info("stopped")
    if engine.left_behind:
        end(stop.code)
    return stop.code


async def traced(settings: Settings, stack: AsyncExitStack) -> Tracer | None:
    given = settings.tracing
    if not given.endpoint:
        return None
    tracer = Tracer(given.endpoint, ratio=given.sample_ratio, service_name=given.service_name)
    return await stack.enter_async_context(tracer)


async def _drain(stop: Stop, listener: Listener, delay: float) -> None:
    """Not ready, but still accepting for `delay` seconds: load balancers need that long to notice."""
    logger.info("stopping: not ready any more, accepting for another %g s", delay)
    stop.set_ready(False)
    listener.drain()
    await asyncio.sleep(delay)
