"""The process above the workers: it has the admin port, the store, the desired state and the sockets, and no models.

It imports neither onnxruntime nor grpc, so that it stays small, and starts at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec

from gateway.app import ports
from gateway.app.adminport import admin_port
from gateway.app.inventory import FleetInventory
from gateway.app.security import Security
from gateway.app.stop import Stop
from gateway.app.storage import storage
from gateway.app.streamworkers import StreamWorkers, with_streams
from gateway.control.fleet import Fleet
from gateway.control.member import Member
from gateway.control.plane import ControlPlane
from gateway.control.report import pack
from gateway.control.shared import Shared
from gateway.control.spawn import Role
from gateway.control.spool import Spool
from gateway.control.start import Start
from gateway.control.workers import Workers
from gateway.core.errors import SluiceError, Unavailable
from gateway.core.observe import Statistics
from gateway.core.servable import ServableId
from gateway.models.repository import Repository
from gateway.models.served import ServedFolder, served
from gateway.models.source import Source
from gateway.protocols.admin import admin_routes
from gateway.protocols.http.listener import bind, bind_all, turn_away
from gateway.protocols.oip.access import Gate
from gateway.protocols.oip.logsettings import Logging, LogSettings
from gateway.protocols.route import Call
from gateway.security.cells import create
from gateway.settings import Settings, admin_token
from gateway.store.contract import Store
from gateway.telemetry.metrics import CONTENT_TYPE
from gateway.telemetry.metrics.fleet import fleet_page
from gateway.telemetry.metrics.ports import write_denied

logger = logging.getLogger("sluice")


async def serve(settings: Settings) -> int:
    """Until a signal ends it. Returns the exit code."""
    began = time.perf_counter()
    stop = Stop()
    stop.listen()
    async with AsyncExitStack() as stack:
        supervisor = await Supervisor.open(settings, stack, stop)
        if await stop.unless(supervisor.start()):
            stop.set_ready(True)
            logger.info(
                "ready in %.2f s: %d workers, REST %s, gRPC %s, admin %s, models from %s",
                time.perf_counter() - began, settings.workers, *supervisor.addresses(), settings.models,
            )  # fmt: skip
            await stop.wait()
        await supervisor.drain()
    logger.info("stopped")
    return stop.code


class Supervisor:
    """The parts, joined."""

    def __init__(
        self,
        settings: Settings,
        stop: Stop,
        rest: list[socket.socket],
        grpc: list[socket.socket],
        store: Store,
        token: str,
        security: Security,
        memory: list[int],
    ) -> None:
        self._security = security
        self.settings = settings
        self._stop = stop
        self._rest, self._grpc = rest, grpc
        self._token = token
        self._store = store
        self._spool = Spool(Path(settings.state).resolve() / "spool")
        self.fleet = Fleet(settings, self._spool, security.guard.follow)
        self.plane = ControlPlane(store, self.fleet, settings)
        self.shared = Shared(self.plane.turns, self.fleet)
        self.workers = Workers(
            self.plane.turns,
            self.fleet,
            self.shared,
            [list(each) for each in (zip(rest, grpc, strict=True) if grpc else zip(rest, strict=True))],
            begin=self._begin,
            joined=self._joined,
            handlers=self._handlers,
            settings=settings,
            memory=memory,
        )
        self._streams = (
            StreamWorkers(settings, self.workers.reports.tally)
            if settings.streams and settings.stream_workers
            else None
        )
        self._source = Source(Repository(Path(settings.models)))
        self._folders: dict[str, ServedFolder] = {}
        self._logging = Logging(Gate("changing log settings", "restricted.logging", settings.restricted.logging))
        self._stack: AsyncExitStack
        self._admin_address: tuple[str, int] = ("", 0)

    @classmethod
    async def open(cls, settings: Settings, stack: AsyncExitStack, stop: Stop) -> Supervisor:
        """With its ports, of which the admin one answers already."""
        count = int(settings.workers)
        # sockets are bound before anything is loaded: a port that is taken is known at once
        rest = [stack.enter_context(each) for each in bind_all(settings.host, settings.http_port, count)]
        grpc: list[socket.socket] = []
        if settings.grpc_port != "off":
            grpc = [stack.enter_context(each) for each in bind_all(settings.host, settings.grpc_port, count)]
        admin_socket = stack.enter_context(bind(settings.admin_host, settings.admin_port))
        store = await stack.enter_async_context(storage(settings))
        token = admin_token(settings)
        security = Security(settings, token)
        await security.enter(stack)
        memory = [create()] if settings.auth.quotas else []
        for number in memory:
            stack.callback(os.close, number)
        self = cls(settings, stop, rest, grpc, store, token, security, memory)
        self._stack = stack
        stack.enter_context(self._spool)
        await ports.start(stack, admin_port(self._routes(), admin_socket, security, settings))
        self._admin_address = admin_socket.getsockname()[:2]
        stack.push_async_callback(self.plane.close)
        stack.push_async_callback(self.workers.close)
        stop.last.append(self.workers.crew.kill)
        if self._streams is not None:
            stack.push_async_callback(self._streams.close)
            stop.last.append(self._streams.crew.kill)
        return self

    def addresses(self) -> list[str]:
        places = [self._rest[0].getsockname(), self._grpc[0].getsockname() if self._grpc else (), self._admin_address]
        return [f"on {place[0]}:{place[1]}" if place else "off" for place in places]

    async def start(self) -> None:
        """Returns when every worker answers. Raises SluiceError where one says that it cannot start."""
        self._folders = served(await self._source.everything())
        await self.plane.start()
        await self.workers.start()
        if self._streams is not None:
            await self._streams.start()
        if self.settings.control_mode == "poll":
            polling = asyncio.create_task(self._poll())
            self._stack.callback(polling.cancel)

    async def drain(self) -> None:
        """Not ready, but still accepting for `drain_delay` seconds: load balancers need that long to notice."""
        delay = self.settings.drain_delay
        logger.info("stopping: not ready any more, accepting for another %g s", delay)
        self._stop.set_ready(False)
        await self.fleet.all("unready")
        await asyncio.sleep(delay)
        for listening in (*self._rest, *self._grpc):
            turn_away(listening)

    def _routes(self) -> list[Call]:
        return admin_routes(
            self.plane,
            FleetInventory(self.workers, self._counted),
            render=with_streams(self._page, self._streams),
            content_type=CONTENT_TYPE,
            ready=lambda: self._stop.ready and self.workers.ready() > 0,
            detail=self._detail,
            workers=self.workers,
            streams=self._streams.streams if self._streams else None,
            stream_workers=self._streams,
        )

    def _detail(self) -> dict[str, Any]:
        told: dict[str, Any] = {"workers": {"ready": self.workers.ready(), "wanted": len(self._rest)}}
        if troubles := [*self.workers.crew.troubles(), *(self._streams.crew.troubles() if self._streams else ())]:
            told["troubles"] = troubles
        return told

    async def _page(self) -> bytes:
        await self._collect()
        own = fleet_page(self.workers.crew.figures())
        write_denied(own, self._security.denials.counts)
        return self.workers.reports.tally.page(own).render()

    async def _poll(self) -> None:
        """Follows the repository, for all workers: what two looks agree on."""
        while True:
            await asyncio.sleep(self.settings.poll_interval)
            try:
                folders = served(await self._source.look())
            except SluiceError as error:
                logger.warning("%s", error.message)
                continue
            if folders != self._folders:
                await self.plane.turns.take(self._look(folders))

    async def _look(self, folders: dict[str, ServedFolder]) -> None:
        self._folders = folders
        await self.fleet.look(folders)

    async def _joined(self, member: Member) -> None:
        """In the plane's turn: nobody has looked meanwhile."""
        if self.settings.control_mode == "poll":
            await member.call("look", self._folders)
            await member.call("publish_look")

    # ---- what workers are told, and what they ask

    async def _begin(self, role: Role, slot: int) -> Start:
        folders = self._folders
        if self.fleet.members and self.settings.control_mode != "poll":
            # what was loaded since, too
            with suppress(Unavailable):
                folders = msgspec.convert(await self.fleet.any("folders"), dict[str, ServedFolder])
        return Start(role, slot, self._token, self.fleet.state, folders, str(self._spool.folder))

    def _handlers(self, member: Member) -> dict[str, Callable[[Any], Awaitable[Any]]]:
        return {
            "index": self._index,
            "statistics": self._statistics,
            "load_model": self._load_model,
            "unload_model": self._unload_model,
            "note": self._note,
            "blob": self._blob,
            "set_logging": self._set_logging,
            "set_sampling": self.shared.set_sampling,
            "register": self.shared.register,
            "unregister": self.shared.unregister,
        }

    async def _index(self, body: Any) -> Any:
        return await FleetInventory(self.workers, self._counted).index()

    async def _statistics(self, body: Any) -> Any:
        return [(*key, pack(counted)) for key, counted in (await self._counted()).items()]

    async def _counted(self) -> Mapping[ServableId, Statistics]:
        await self._collect()
        return self.workers.reports.tally.statistics()

    async def _collect(self) -> None:
        """The tally is as of now, of serving and of stream workers."""
        if self._streams is None:
            await self.workers.reports.collect()
        else:
            await asyncio.gather(self.workers.reports.collect(), self._streams.reports.collect())

    async def _set_logging(self, body: Any) -> None:
        await self.shared.set_logging(body)
        self._logging.apply(msgspec.convert(body, LogSettings))

    async def _load_model(self, body: Any) -> None:
        files = await self._spool.get(body["files"]) or None
        await self.plane.load_model(body["model"], body["override"], files, **body["by"])

    async def _note(self, body: Any) -> None:
        await self.plane.note(body["action"], body["target"], body["detail"], **body["by"])

    async def _unload_model(self, body: Any) -> None:
        await self.plane.unload_model(body["model"], **body["by"])

    async def _blob(self, digest: str) -> str:
        return await self._spool.keep(await self._store.blob(digest))
