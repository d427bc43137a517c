"""What came in over REST and gRPC, and what of it was turned away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from gateway.telemetry.metrics.exposition import Family, Page, labelled

#: keys of the wire's counters → metrics; keys that begin with ``rejected_`` are values of the label `reason`
_WIRE: Final = {
    "connections_open": Family("sluice_http_connections_open", "gauge", "Connections that are open."),
    "connections": Family("sluice_http_connections_total", "counter", "Connections accepted."),
    "requests": Family("sluice_http_requests_total", "counter", "HTTP requests read, of every route."),
    "received_bytes": Family("sluice_http_received_bytes_total", "counter", "Bytes of request bodies."),
    "sent_bytes": Family("sluice_http_sent_bytes_total", "counter", "Bytes of response bodies."),
}
_REJECTED: Final = "rejected_"

_GRPC = Family(
    "sluice_grpc_requests_total", "counter", "Infer requests over gRPC, in streams and alone, by outcome.", ("code",)
)
_STREAMS = Family("sluice_grpc_streams_open", "gauge", "gRPC streams that are open.")
_LIMITS = Family("sluice_http_rejected_total", "counter", "Connections and requests cut off, by reason.", ("reason",))
_DENIED = Family(
    "sluice_auth_denied_total",
    "counter",
    "Requests denied for who sent them, by port and reason: missing, wrong, expired, revoked, unknown_key, forbidden,"
    " quota.",
    ("port", "reason"),
)

FAMILIES: Final = (*_WIRE.values(), _LIMITS, _GRPC, _STREAMS, _DENIED)


class GrpcSample(NamedTuple):
    """Infer requests by their outcome, "OK" or an error's neutral code, and the streams that are open."""

    outcomes: Mapping[str, int]
    streams: int


def write_wire(page: Page, counters: Mapping[str, int]) -> None:
    """`counters` by the names in `_WIRE`, and ``rejected_<limit>``."""
    for key, family in _WIRE.items():
        page.family(family)
        page.sample(family.name, "", counters.get(key, 0))
    page.family(_LIMITS)
    for key, count in counters.items():
        if key.startswith(_REJECTED):
            page.sample(_LIMITS.name, labelled(_LIMITS.labels, (key.removeprefix(_REJECTED),)), count)


def write_grpc(page: Page, sample: GrpcSample | None) -> None:
    page.family(_GRPC)
    for code, count in sorted(sample.outcomes.items()) if sample else ():
        page.sample(_GRPC.name, labelled(_GRPC.labels, (code,)), count)
    page.family(_STREAMS)
    if sample:
        page.sample(_STREAMS.name, "", sample.streams)


def write_denied(page: Page, counts: Mapping[tuple[str, str], int]) -> None:
    """(port, reason) → requests."""
    page.family(_DENIED)
    for labels, count in sorted(counts.items()):
        page.sample(_DENIED.name, labelled(_DENIED.labels, labels), count)
