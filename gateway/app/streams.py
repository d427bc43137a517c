"""The process of streams: models, pipelines, and an admin port of its own; no port for requests."""

from __future__ import annotations

import asyncio
import logging
import platform
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from gateway import __version__
from gateway.app import ports
from gateway.app.engine import settle_memory
from gateway.app.run import OTHER_FILES, allow_files
from gateway.app.scoring import Scoring
from gateway.app.stop import Stop, end
from gateway.models.onnx import runtime_name
from gateway.pipeline.lease import owner
from gateway.pipeline.spec import Stream
from gateway.pipeline.station import Station
from gateway.pipeline.streams import Streams
from gateway.protocols.http.listener import Listener, bind
from gateway.protocols.http.service import Service
from gateway.protocols.streams import streams_app
from gateway.samples import arms, versions
from gateway.settings import Settings, admin_token
from gateway.store.leases import SqliteLeases
from gateway.store.view import SqliteView
from gateway.telemetry import logs
from gateway.telemetry.exposition import CONTENT_TYPE, Page
from gateway.telemetry.metrics import Metrics

logger = logging.getLogger("sluice.streams")


def run(settings: Settings, streams: Sequence[Stream]) -> int:
    """Until a signal ends it, or the inputs have ended. Returns the exit code. Raises SluiceError."""
    logs.configure(settings.log.format, settings.log.level, settings.access_log)
    allow_files(OTHER_FILES)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(settings, streams))


async def serve(settings: Settings, streams: Sequence[Stream]) -> int:
    began = time.perf_counter()
    stop = Stop()
    stop.listen()
    state = Path(settings.state)
    async with AsyncExitStack() as stack:
        # bound before anything is loaded: a port that is taken is known at once
        socket = stack.enter_context(bind(settings.admin_host, settings.streams_port))
        leases = await stack.enter_async_context(SqliteLeases(state))
        token = admin_token(settings)
        scoring = Scoring(settings, {stream.model.name for stream in streams}, SqliteView(state))
        engine = scoring.engine
        engine.enter(stack)
        name = owner()
        found = Streams([Station(stream, engine.dataplane, state, leases, name) for stream in streams])
        metrics = Metrics(
            lambda: versions(engine.manager),
            loads=engine.loads,
            splits=lambda: arms(engine.splits),
            build={"version": __version__, "python": platform.python_version(), "runtime": runtime_name()},
        )

        async def render() -> bytes:
            page = Page()
            found.write_metrics(page)
            return metrics.render() + page.render()

        app = streams_app(found, token=token, render=render, content_type=CONTENT_TYPE, ready=lambda: stop.ready)
        tls = ports.tls(settings) if settings.tls.admin else None
        service = Service(app, limits=ports.limits(settings))
        await ports.start(stack, Listener(service, socket, tls=tls, drain_timeout=1.0))
        await scoring.start()
        following = [asyncio.create_task(scoring.follow()), asyncio.create_task(engine.manager.poll())]
        for task in following:
            stack.callback(task.cancel)
        settle_memory()
        stop.set_ready(True)
        logger.info(
            "ready in %.2f s: %d streams, admin on %s:%d",
            time.perf_counter() - began, len(streams), *socket.getsockname()[:2],
        )  # fmt: skip
        await _run(found, stop)
    logger.info("stopped")
    if engine.left_behind:
        end(stop.code)
    return stop.code


async def _run(streams: Streams, stop: Stop) -> None:
    for view in await streams.list():
        logger.info("stream %s: %s; order: %s", view["name"], view["guarantee"], view["order"])
    running = asyncio.create_task(streams.run())
    asked = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
        stop.set_ready(False)
        if not running.done():
            logger.info("stopping: nothing more is read, what is in flight is finished")
            streams.stop()
        await running
    finally:
        asked.cancel()
