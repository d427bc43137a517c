"""A worker's process: serves on a socket that it inherited, and follows its supervisor.

`python -m gateway.app.worker serving - CHANNEL[,QUOTAS] REST[,GRPC] …`: file descriptors, those that listen by slot.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway import pb
from gateway.app.engine import Engine, settle_memory
from gateway.app.loop import run_on_loop
from gateway.app.orders import Orders
from gateway.app.peers import SupervisedPeers
from gateway.app.run import OTHER_FILES, allow_files
from gateway.app.security import Security
from gateway.app.serving import Serving
from gateway.app.stop import Stop, end
from gateway.app.tracing import traced
from gateway.control.channel import Channel, Handler
from gateway.control.follower import Follower
from gateway.control.reporting import report_on
from gateway.control.spool import Spool
from gateway.control.start import Start
from gateway.core.errors import SluiceError
from gateway.models.served import ServedRepository
from gateway.protocols.http.listener import Listener
from gateway.security.cells import Cells
from gateway.settings import Settings
from gateway.telemetry import logs

logger = logging.getLogger("sluice")

#: the service of the gRPC port
SERVICE: Final = "inference.GRPCInferenceService"


class Worker:
    """What the supervisor calls it answers with the method of that name, once it is started with one of its `Orders`.
    `run` is its whole life."""

    def __init__(self, slots: Sequence[Sequence[socket.socket]], cells: Cells | None = None) -> None:
        self._slots = slots
        self._cells = cells
        self._own: Sequence[socket.socket] = ()
        self._stop = Stop()
        self._stack = AsyncExitStack()
        self._how = "stop"
        self._handlers = self._own_handlers()
        self._channel = Channel("the supervisor", self._handlers)
        #: slot → what accepts on its sockets
        self._adopted: dict[int, list[asyncio.Server]] = {}
        self._settings: Settings
        self._engine: Engine
        self._orders: Orders
        self._serving: Serving
        self._listener: Listener | None = None

    async def run(self, channel: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # the supervisor's to hear
        loop.add_signal_handler(signal.SIGTERM, self._terminated)
        await self._channel.start(channel)
        async with self._stack:
            orphaned = asyncio.create_task(self._orphaned())
            await self._stop.wait()
            orphaned.cancel()
            await self._end_ports()
            if not self._channel.closed.is_set() and self._listener:
                await _quietly(self._channel.call("goodbye", self._orders.made()))
        logger.info("stopped")

    @property
    def left_behind(self) -> bool:
        return self._listener is not None and self._engine.left_behind

    def _terminated(self) -> None:
        """Somebody wants this very process to end: another one is to take over first."""
        self._channel.tell("recycle")

    async def _orphaned(self) -> None:
        await self._channel.closed.wait()
        logger.error("the supervisor is gone: draining")
        # a new server cannot have the ports as long as anybody has them
        for sockets in self._slots:
            for each in sockets:
                if each.fileno() >= 0 and (self._listener is None or sockets is not self._own):
                    each.close()
        self._stop.set_ready(False)
        self._stop.ask()

    # ---- start

    def _own_handlers(self) -> dict[str, Handler]:
        names = ("ping", "warm", "start", "listen", "adopt", "release_slot", "unready", "stop", "retire")
        return {name: getattr(self, name) for name in names}

    async def warm(self, body: Any) -> None:
        """All that takes its time and needs no word on what to serve."""
        settings = self._settings = msgspec.convert(body, Settings)
        logs.configure(settings.log.format, settings.log.level, settings.access_log)
        allow_files(settings.limits.connections + OTHER_FILES)
        self._repository = ServedRepository(Path(settings.models), literally=settings.control_mode == "poll")
        self._engine = Engine(settings, self._repository)
        self._engine.enter(self._stack)
        if settings.grpc_port != "off":
            import gateway.protocols.grpc.port  # noqa: F401 - its libraries are loaded where the port is on

            pb.service(SERVICE)

    async def ping(self, body: Any) -> None:
        """It is there."""

    async def start(self, body: Any) -> None:
        """Returns when everything is loaded that can be. Raises SluiceError where it cannot start."""
        given = msgspec.convert(body, Start)
        settings = self._settings
        logs.mark({"worker": given.slot})
        self._spool = Spool(Path(given.spool))
        self._spool.settle(os.getpid())
        self._repository.join(given.served)
        peers = SupervisedPeers(self._channel, self._spool)
        tracer = await traced(settings, self._stack)
        security = Security(settings, given.token, self._cells)
        await security.enter(self._stack)
        manager = self._engine.manager
        follower = Follower(manager, self._engine.splits, settings, self._blob, security.guard.follow)
        self._own = self._slots[given.slot]
        grpc_socket = self._own[1] if len(self._own) > 1 else None
        self._serving = Serving(settings, self._engine, peers, self._stop, security, tracer, grpc_socket, peers)
        self._orders = Orders(manager, follower, self._serving, self._spool, self._repository.root)
        self._handlers.update(self._orders.handlers())
        reporting = asyncio.create_task(report_on(self._channel, self._orders.made))
        self._stack.callback(reporting.cancel)
        await follower.start(given.state)
        self._repository.join(None)

    async def listen(self, body: Any) -> None:
        self._listener = self._serving.listener(self._own[0])
        for port in (self._listener, *self._serving.others()):
            await port.start()
        settle_memory()
        self._stop.set_ready(True)

    async def adopt(self, slot: int) -> None:
        """Accepts on the sockets of a slot that nobody is in, too."""
        if self._listener is not None and slot not in self._adopted:
            ends = [each.dup() for each in self._slots[slot]]
            self._adopted[slot] = [await self._listener.also(ends[0])]
            if self._serving.grpc is not None:
                self._adopted[slot].append(await self._serving.grpc.also(ends[1]))

    async def release_slot(self, slot: int) -> None:
        for server in self._adopted.pop(slot, ()):
            server.close()

    async def _blob(self, digest: str) -> bytes:
        path: str = await self._channel.call("blob", digest)
        content = (await self._spool.get({digest: path}))[digest]
        await asyncio.to_thread(Path(path).unlink)
        return content

    # ---- end

    async def unready(self, body: Any) -> None:
        self._stop.set_ready(False)
        if self._listener:
            self._listener.drain()

    async def stop(self, body: Any) -> None:
        """Nobody is to connect any more."""
        self._stop.ask()

    async def retire(self, body: Any) -> None:
        """Another worker accepts on the same sockets already."""
        self._how = "retire"
        self._stop.ask()

    async def _end_ports(self) -> None:
        if not self._listener:
            return
        for slot in list(self._adopted):
            await self.release_slot(slot)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._end_rest(self._listener))
            for port in self._serving.others():
                group.create_task(port.stop())

    async def _end_rest(self, listener: Listener) -> None:
        if self._how == "retire":
            await listener.retire()
        await listener.stop()


async def _quietly(work: Awaitable[Any]) -> None:
    try:
        await work
    except SluiceError as error:
        logger.warning("%s", error.message)


def main() -> None:
    logs.configure()
    first, *groups = ([int(number) for number in text.split(",")] for text in sys.argv[3:])
    channel, quotas = first[0], first[1:]
    slots = [[socket.socket(fileno=number) for number in group] for group in groups]
    worker = Worker(slots, Cells.shared(quotas[0]) if quotas else None)
    run_on_loop(worker.run(socket.socket(fileno=channel)))
    if worker.left_behind:
        end(0)


if __name__ == "__main__":
    main()
