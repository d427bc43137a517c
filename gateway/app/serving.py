"""The REST and the gRPC port over an engine, and what is counted of them."""

from __future__ import annotations

import platform
import socket
from typing import TYPE_CHECKING

from gateway import __version__
from gateway.app import ports
from gateway.app.engine import Engine
from gateway.app.ports import Port
from gateway.app.security import Security
from gateway.app.stop import Stop
from gateway.codecs.sharedmemory import Regions
from gateway.models.onnx import runtime_name
from gateway.protocols.http.listener import Listener
from gateway.protocols.http.service import Compression, Service
from gateway.protocols.oip.calls import Calls
from gateway.protocols.oip.peers import Peers
from gateway.protocols.oip.repository import Control
from gateway.protocols.oip.statistics import Counted
from gateway.protocols.rest.app import rest_app, rest_routes
from gateway.samples import arms, versions, wire
from gateway.settings import Settings
from gateway.telemetry.metrics import GrpcSample, Metrics
from gateway.telemetry.tracing import Tracer

if TYPE_CHECKING:
    from gateway.protocols.grpc.server import GrpcServer


class Serving:
    """Constructed on the event loop. `grpc_socket` is bound; None where gRPC is off, `peers` where this is all.
    `counted` is what all processes counted, where others than `peers` did."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        control: Control,
        stop: Stop,
        security: Security,
        tracer: Tracer | None,
        grpc_socket: socket.socket | None,
        peers: Peers | None = None,
        counted: Counted | None = None,
    ) -> None:
        self._security = security
        self._settings = settings
        self._engine = engine
        regions = None if settings.restricted.shared_memory == "off" else Regions()
        self.regions = regions
        self.calls = calls = Calls(
            engine.manager,
            control,
            ready=lambda: stop.ready,
            restricted=settings.restricted,
            regions=regions,
            tracer=tracer,
            peers=peers,
            counted=counted or (peers.statistics if peers is not None else None),
        )
        self.grpc: GrpcServer | None = None
        if grpc_socket is not None:
            # its libraries take memory and time: they are loaded where the port is on
            from gateway.protocols.grpc.entrance import Entrance
            from gateway.protocols.grpc.port import grpc_port

            entrance = Entrance(security.checkpoint("grpc"), security.origins)
            self.grpc = grpc_port(settings, grpc_socket, engine.dataplane, calls, regions, tracer, entrance)
            stop.watchers.append(self.grpc.health.changed)
        routes = rest_routes(calls, security.demand(), max_body=settings.limits.json_body, max_load=settings.load_body)
        doorman = security.rest(routes)
        self.rest = Service(
            rest_app(routes, doorman),
            dataplane=engine.dataplane,
            regions=regions,
            limits=ports.limits(settings),
            compression=Compression(min_bytes=settings.compression.min_size, level=settings.compression.level),
            tracer=tracer,
            access_log=settings.access_log,
            doorman=doorman,
        )

    def listener(self, listening: socket.socket) -> Listener:
        settings = self._settings
        return Listener(self.rest, listening, tls=ports.tls(settings), drain_timeout=settings.drain_timeout)

    def others(self) -> list[Port]:
        """The ports besides REST's."""
        return [self.grpc] if self.grpc else []

    def metrics(self) -> Metrics:
        engine, grpc = self._engine, self.grpc
        return Metrics(
            lambda: versions(engine.manager),
            loads=engine.loads,
            splits=lambda: arms(engine.splits),
            wire=lambda: wire(self.rest),
            denied=lambda: self._security.denials.counts,
            grpc=lambda: GrpcSample(grpc.inference.outcomes, grpc.inference.streams) if grpc else None,
            build={"version": __version__, "python": platform.python_version(), "runtime": runtime_name()},
        )
