"""A worker's process that runs streams: no port, told by its supervisor what to do, and asked what it does.

`python -m gateway.app.streamworker ROLE SLOT CHANNEL`: the channel is a file descriptor.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import msgspec

from gateway.app.engine import settle_memory
from gateway.app.loop import run_on_loop
from gateway.app.run import OTHER_FILES, allow_files
from gateway.app.stop import Stop, end
from gateway.app.storage import view
from gateway.app.streamset import StreamSet, valid
from gateway.control.channel import Channel
from gateway.control.report import Report, pack
from gateway.control.reporting import report_on
from gateway.core.errors import SluiceError
from gateway.settings import Settings
from gateway.telemetry import logs

logger = logging.getLogger("sluice.streams")


class Begin(msgspec.Struct):
    """What it is told first."""

    settings: Settings


class StreamWorker:
    """What the supervisor calls it answers with the method of that name. `run` is its whole life."""

    def __init__(self, slot: int) -> None:
        self._slot = slot
        self._stop = Stop()
        self._channel = Channel("the supervisor", self._handlers())
        self._stack = AsyncExitStack()
        self._set: StreamSet | None = None
        self._running: asyncio.Task[None] | None = None

    async def run(self, channel: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # the supervisor's to hear
        loop.add_signal_handler(signal.SIGTERM, self._stop.ask)
        await self._channel.start(channel)
        async with self._stack:
            orphaned = asyncio.create_task(self._orphaned())
            await self._stop.wait()
            orphaned.cancel()
            if self._set is not None and self._running is not None:
                self._set.streams.stop()
                await self._running
                with suppress(SluiceError):
                    await self._channel.call("report", self._report())
        logger.info("stopped")

    @property
    def left_behind(self) -> bool:
        return self._set is not None and self._set.engine.left_behind

    async def _orphaned(self) -> None:
        await self._channel.closed.wait()
        logger.error("the supervisor is gone: draining")
        self._stop.ask()

    def _handlers(self) -> dict[str, Callable[[Any], Awaitable[Any]]]:
        names = ("start", "stop", "list", "show", "pause", "resume", "redrive", "reload", "samples", "report")
        return {name: getattr(self, name) for name in names}

    async def start(self, body: Any) -> None:
        """Returns when its models are loaded. Raises SluiceError where it cannot start: a stream is wrong, say."""
        settings = msgspec.convert(body, Begin).settings
        reporting = asyncio.create_task(report_on(self._channel, self._report))
        self._stack.callback(reporting.cancel)
        logs.configure(settings.log.format, settings.log.level)
        logs.mark({"worker": f"stream-{self._slot}"})
        allow_files(OTHER_FILES)
        async with view(settings) as decided:
            streams = await valid(settings, settings.streams, decided)
        self._set = await StreamSet.open(settings, settings.streams, streams, self._stack)
        await self._set.start(self._stack)
        settle_memory()
        self._running = asyncio.create_task(self._set.run())

    async def report(self, body: Any) -> Report:
        return self._report()

    def _report(self) -> Report:
        """Before the models are there: that it is alive."""
        if self._set is None:
            return Report(0, 0, [], [], {})
        engine = self._set.engine
        counted = [(*key, pack(statistics)) for key, statistics in engine.manager.statistics()]
        families = self._set.metrics().collect().families
        return Report(0, 0, counted, families, {}, self._set.streams.here())

    async def stop(self, body: Any) -> None:
        self._stop.ask()

    @property
    def _streams(self) -> Any:
        if self._set is None:
            raise AssertionError("it was not started")
        return self._set.streams

    async def list(self, body: Any) -> Any:
        return await self._streams.list()

    async def show(self, body: Any) -> Any:
        return await self._streams.show(body["name"])

    async def reload(self, body: Any) -> Any:
        return await self._streams.reload()

    async def pause(self, body: Any) -> None:
        await self._streams.pause(body["name"], body["reason"])

    async def resume(self, body: Any) -> None:
        await self._streams.resume(body["name"])

    async def redrive(self, body: Any) -> Any:
        return await self._streams.redrive(body["name"], body["limit"])

    async def samples(self, body: Any) -> Any:
        return self._streams.samples()


def main() -> None:
    logs.configure()
    _role, slot, channel = sys.argv[1:]
    worker = StreamWorker(int(slot))
    run_on_loop(worker.run(socket.socket(fileno=int(channel))))
    if worker.left_behind:
        end(0)


if __name__ == "__main__":
    main()
