"""The gRPC port out of the settings."""

from __future__ import annotations

import logging
from pathlib import Path

from gateway.codecs.sharedmemory import Regions
from gateway.core.errors import Unavailable
from gateway.dataplane import Dataplane
from gateway.protocols.grpc.infer import Inference, Limits
from gateway.protocols.grpc.server import GrpcServer, Identity, Options
from gateway.protocols.grpc.service import InferenceService
from gateway.protocols.oip.calls import Calls
from gateway.settings import Settings
from gateway.telemetry.tracing import Tracer

logger = logging.getLogger("sluice.protocols")

#: bytes of a load call that brings its files
LOAD_FILES_BYTES = 512 << 20


def grpc_port(
    settings: Settings, dataplane: Dataplane, calls: Calls, regions: Regions | None, tracer: Tracer | None
) -> GrpcServer:
    """Bound, but not started. Raises Unavailable where the port or the TLS files cannot be had."""
    given = settings.limits
    limits = Limits(message_bytes=given.binary_body, typed_bytes=given.json_body, in_flight=given.pipelined)
    server = GrpcServer(
        Inference(dataplane, regions=regions, limits=limits, tracer=tracer, access_log=settings.access_log),
        InferenceService(calls),
        calls.metadata.server_ready,
        _options(settings),
        _identity(settings),
        drain_timeout=settings.drain_timeout,
    )
    server.bind(settings.host, int(settings.grpc_port))
    return server


def _options(settings: Settings) -> Options:
    limits, own = settings.limits, settings.grpc
    return Options(
        message_bytes=limits.binary_body,
        call_bytes=limits.json_body,
        load_bytes=LOAD_FILES_BYTES if settings.restricted.load_files else limits.json_body,
        header_bytes=limits.header_bytes,
        handshake_timeout=limits.header_timeout,
        connections=limits.connections,
        keepalive_time=own.keepalive_time,
        keepalive_timeout=own.keepalive_timeout,
        min_ping_interval=own.min_ping_interval,
        max_connection_age=own.max_connection_age,
        max_connection_age_grace=own.max_connection_age_grace,
        compression=own.compression,
        min_compressed=settings.compression.min_size,
    )


def _identity(settings: Settings) -> Identity | None:
    files = settings.tls
    if not files.cert:
        return None
    if files.client_auth == "optional":
        logger.warning("tls.client_auth is 'optional': gRPC clients are not asked for a certificate")
    try:
        return Identity(
            key=Path(files.key).read_bytes(),
            cert=Path(files.cert).read_bytes(),
            client_ca=Path(files.client_ca).read_bytes() if files.client_auth == "required" else None,
        )
    except OSError as error:
        raise Unavailable(f"the TLS files cannot be used: {error}") from error
