"""What a server of one process counts, and its stream workers with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.app.streamworkers import StreamWorkers
from gateway.control.report import add, pack
from gateway.core.observe import Statistics
from gateway.core.servable import ServableId
from gateway.models.manager import Manager
from gateway.telemetry.metrics import Metrics

#: the value of the label by which metrics tell processes apart
NAME: Final = "server"


class Figures:
    def __init__(self, manager: Manager, streams: StreamWorkers | None) -> None:
        self._manager = manager
        self._streams = streams

    async def statistics(self) -> Mapping[ServableId, Statistics]:
        """Of every version that was ever loaded; they never decrease."""
        own = dict(self._manager.statistics())
        if self._streams is None:
            return own
        await self._streams.reports.collect()
        found = self._streams.reports.tally.statistics()
        for key, counted in own.items():
            add(found.setdefault(key, Statistics()), pack(counted))
        return found

    async def page(self, metrics: Metrics) -> bytes:
        if self._streams is None:
            return metrics.render()
        await self._streams.reports.collect()
        return self._streams.reports.tally.page(metrics.collect(), NAME).render()
