"""The streams of one process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.core.errors import NotFound
from gateway.pipeline import metrics
from gateway.pipeline.problem import nearest
from gateway.pipeline.station import Station
from gateway.telemetry.exposition import Page


class Streams:
    """Belongs to the event loop. What an admin port asks for, and what it all begins and ends with."""

    def __init__(self, stations: Sequence[Station]) -> None:
        self._stations: Final = {station.name: station for station in stations}

    async def run(self) -> None:
        """Returns when all have been stopped, or have come to the end of their inputs."""
        async with asyncio.TaskGroup() as tasks:
            for name, station in self._stations.items():
                tasks.create_task(station.run(), name=f"stream {name}")

    def stop(self) -> None:
        for station in self._stations.values():
            station.stop()

    async def list(self) -> Sequence[Mapping[str, Any]]:
        return [station.view() for station in self._stations.values()]

    async def show(self, name: str) -> Mapping[str, Any]:
        return self._station(name).view()

    async def pause(self, name: str, reason: str) -> None:
        self._station(name).pause(reason)

    async def resume(self, name: str) -> None:
        self._station(name).resume()

    async def redrive(self, name: str, limit: int | None) -> Mapping[str, Any]:
        return await self._station(name).redrive(limit)

    def samples(self) -> Sequence[Mapping[str, Any]]:
        """For `metrics.write`."""
        return [station.sample() for station in self._stations.values()]

    def write_metrics(self, page: Page) -> None:
        metrics.write(page, self.samples())

    def _station(self, name: str) -> Station:
        if name not in self._stations:
            raise NotFound(f"there is no stream '{name[:100]}'{nearest(name, self._stations)}")
        return self._stations[name]
