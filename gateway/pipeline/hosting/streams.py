"""The streams of one process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from gateway.core.errors import NotFound, Unavailable
from gateway.pipeline.declared.problem import nearest
from gateway.pipeline.hosting import metrics
from gateway.pipeline.hosting.station import Station
from gateway.telemetry.metrics import Page

logger = logging.getLogger("sluice.streams")


class Streams:
    """Belongs to the event loop. What an admin port asks for, and what it all begins and ends with.

    renew   reads the streams anew, and makes stations of those that are not as they were: see `swap`
    """

    def __init__(
        self, stations: Sequence[Station], renew: Callable[[], Awaitable[Sequence[Station]]] | None = None
    ) -> None:
        self._stations: Final = {station.name: station for station in stations}
        self._renew = renew
        self._tasks: Final[dict[str, asyncio.Task[None]]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._turn: Final = asyncio.Lock()

    async def run(self) -> None:
        """Returns when all have been stopped, or have come to the end of their inputs."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for station in self._stations.values():
                self._begin(station)
        self._group = None

    def _begin(self, station: Station) -> None:
        if self._group is not None:
            self._tasks[station.name] = self._group.create_task(station.run(), name=f"stream {station.name}")

    def stop(self) -> None:
        for station in self._stations.values():
            station.stop()

    async def reload(self) -> Mapping[str, Sequence[str]]:
        """Takes up what has changed in the streams' files: a stream that is another one is drained, then replaced.

        Returns the names of those that were added, changed and removed. Raises StreamError, and then nothing has
        changed.
        """
        if self._renew is None or self._group is None:
            raise Unavailable("the streams do not run")
        async with self._turn:
            stations = await self._renew()
            # within the group, which would end with the last stream that is stopped
            return await self._group.create_task(self._swap(stations))

    async def _swap(self, stations: Sequence[Station]) -> Mapping[str, Sequence[str]]:
        wanted = {station.name: station for station in stations}
        removed = [name for name in self._stations if name not in wanted]
        added = [name for name in wanted if name not in self._stations]
        changed = [
            name for name, station in wanted.items()
            if name in self._stations and not station.stream.same(self._stations[name].stream)
        ]  # fmt: skip
        for name in (*removed, *changed):
            self._stations[name].stop()
        await asyncio.gather(*(self._tasks[name] for name in (*removed, *changed)))
        for name in removed:
            del self._stations[name], self._tasks[name]
        for name in (*changed, *added):
            self._stations[name] = wanted[name]
            self._begin(wanted[name])
            logger.info("stream %s: %s; order: %s", name, wanted[name].guarantee, wanted[name].order)
        for name in removed:
            logger.info("stream %s is declared no more", name)
        return {"added": added, "changed": changed, "removed": removed}

    async def list(self) -> Sequence[Mapping[str, Any]]:
        return [station.view() for station in self._stations.values()]

    def here(self) -> Sequence[str]:
        """The names of those that this process runs; for others it stands by, or they wait."""
        return [name for name, station in self._stations.items() if station.here]

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
