"""The process of streams: models, pipelines, and an admin port of its own; no port for requests."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from gateway.app import ports
from gateway.app.adminport import admin_port
from gateway.app.engine import settle_memory
from gateway.app.loop import run_on_loop
from gateway.app.run import OTHER_FILES, allow_files, tidy
from gateway.app.security import Security
from gateway.app.stop import Stop, end
from gateway.app.streamset import StreamSet
from gateway.core.errors import SluiceError, Unavailable
from gateway.pipeline.declared.spec import Stream
from gateway.protocols.admin import streams_routes
from gateway.protocols.http.listener import bind
from gateway.settings import Settings, admin_token
from gateway.telemetry import logs
from gateway.telemetry.metrics import CONTENT_TYPE, Page

logger = logging.getLogger("sluice.streams")


def run(settings: Settings, references: Sequence[str], streams: Sequence[Stream]) -> int:
    """Until a signal ends it, or the inputs have ended; `streams` are what `references` name, and valid.

    Returns the exit code. Raises SluiceError.
    """
    logs.configure(settings.log.format, settings.log.level, settings.access_log)
    allow_files(OTHER_FILES)
    tidy()
    return run_on_loop(serve(settings, references, streams))


def _bound(settings: Settings) -> socket.socket:
    try:
        return bind(settings.admin_host, settings.streams_port)
    except Unavailable as error:
        port = settings.streams_port
        raise Unavailable(f"{error.message}; another one may be set: --set streams_port={port + 1}") from error


async def serve(settings: Settings, references: Sequence[str], streams: Sequence[Stream]) -> int:
    began = time.perf_counter()
    stop = Stop()
    stop.listen()
    async with AsyncExitStack() as stack:
        # bound before anything is loaded: a port that is taken is known at once
        listening = stack.enter_context(_bound(settings))
        await asyncio.to_thread(_own, Path(settings.state))
        security = Security(settings, admin_token(settings))
        await security.enter(stack)
        found = await StreamSet.open(settings, references, streams, stack, security.guard.follow)
        routes = streams_routes(
            found.streams, found.note, render=_pages(found), content_type=CONTENT_TYPE, ready=lambda: stop.ready
        )
        await ports.start(stack, admin_port(routes, listening, security, settings))
        if await stop.unless(found.start(stack)):
            settle_memory()
            stop.set_ready(True)
            logger.info(
                "ready in %.2f s: %d streams, admin on %s:%d",
                time.perf_counter() - began, len(streams), *listening.getsockname()[:2],
            )  # fmt: skip
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reload_soon, found, stack)
            await _run(found, stop)
    logger.info("stopped")
    if found.engine.left_behind:
        end(stop.code)
    return stop.code


def _own(state: Path) -> None:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)


def _pages(found: StreamSet) -> Callable[[], Awaitable[bytes]]:
    metrics = found.metrics()

    async def render() -> bytes:
        page = Page()
        found.streams.write_metrics(page)
        return metrics.render() + page.render()

    return render


def _reload_soon(found: StreamSet, stack: AsyncExitStack) -> None:
    stack.callback(asyncio.create_task(_reload(found)).cancel)


async def _reload(found: StreamSet) -> None:
    try:
        done = await found.streams.reload()
    except SluiceError as error:
        for line in error.message.split("\n"):
            logger.error("not reloaded: %s", line)
    else:
        await found.note("stream.reload", "*", done, actor="signal", origin="SIGHUP")
        logger.info("reloaded: %s", ", ".join(f"{len(names)} {what}" for what, names in done.items()))


async def _run(found: StreamSet, stop: Stop) -> None:
    running = asyncio.create_task(found.run())
    asked = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
        stop.set_ready(False)
        if not running.done():
            logger.info("stopping: nothing more is read, what is in flight is finished")
            found.streams.stop()
        await running
    finally:
        asked.cancel()
