"""What a scrape is made of: reads versions, splits and the wire when it is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.models.manager import Manager
from gateway.protocols.http.service import Service
from gateway.routing.split import Splits
from gateway.telemetry.metrics import SplitSample, VersionSample


def versions(manager: Manager) -> Iterator[VersionSample]:
    for model, statistics in manager.statistics():
        handle = manager.present(model.model).get(model.version)
        pending = handle.servable.pending() if handle else 0
        yield VersionSample(model.model, model.version, statistics, pending, handle is not None)


def arms(splits: Splits) -> Iterator[SplitSample]:
    for (model, arm), (picks, absent) in splits.counts().items():
        yield SplitSample(model, arm, picks, absent)


def wire(service: Service) -> Mapping[str, int]:
    counters = service.counters
    return {
        "connections_open": len(service.connections),
        "connections": counters["connections"],
        "requests": sum(service.statuses.values()),
        "received_bytes": service.received_bytes,
        "sent_bytes": service.sent_bytes,
        **{f"rejected_{name}": counters[name] for name in ("timeouts", "oversized", "malformed", "refused")},
    }
