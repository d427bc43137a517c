"""The gRPC port out of the settings."""

from __future__ import annotations

import socket
import ssl

from gateway.codecs.sharedmemory import Regions
from gateway.core.errors import Unavailable
from gateway.dataplane import Dataplane
from gateway.protocols.grpc.entrance import Entrance
from gateway.protocols.grpc.infer import Inference, Limits
from gateway.protocols.grpc.server import GrpcServer, Options
from gateway.protocols.grpc.service import InferenceService
from gateway.protocols.http2.service import Limits as WireLimits
from gateway.protocols.oip.calls import Calls
from gateway.settings import Settings
from gateway.telemetry.tracing import Tracer


def grpc_port(
    settings: Settings,
    listening: socket.socket,
    dataplane: Dataplane,
    calls: Calls,
    regions: Regions | None,
    tracer: Tracer | None,
    entrance: Entrance,
) -> GrpcServer:
    """On a socket that is bound, but not started. Raises Unavailable where the TLS files cannot be used."""
    given = settings.limits
    limits = Limits(message_bytes=given.binary_body, typed_bytes=given.json_body, in_flight=given.pipelined)
    return GrpcServer(
        Inference(
            dataplane,
            regions=regions,
            limits=limits,
            tracer=tracer,
            access_log=settings.access_log,
            checkpoint=entrance.checkpoint,
        ),
        InferenceService(calls),
        calls.metadata.server_ready,
        entrance,
        _options(settings),
        listening,
        _tls(settings),
    )


def _options(settings: Settings) -> Options:
    limits, own = settings.limits, settings.grpc
    return Options(
        call_bytes=limits.json_body,
        load_bytes=settings.load_body,
        coding=b"" if own.compression == "none" else own.compression.encode(),
        min_compressed=settings.compression.min_size,
        drain_timeout=settings.drain_timeout,
        wire=WireLimits(
            header_bytes=limits.header_bytes,
            connections=limits.connections,
            handshake_timeout=limits.header_timeout,
            patience=limits.body_timeout,
            keepalive_time=own.keepalive_time,
            keepalive_timeout=own.keepalive_timeout,
            min_ping_interval=own.min_ping_interval,
            max_age=own.max_connection_age,
            max_age_grace=own.max_connection_age_grace,
        ),
    )


def _tls(settings: Settings) -> ssl.SSLContext | None:
    files = settings.tls
    if not files.cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    try:
        context.load_cert_chain(files.cert, files.key)
        if files.client_auth != "none":
            context.load_verify_locations(files.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED if files.client_auth == "required" else ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(f"the TLS files cannot be used: {error}") from error
    return context
