"""A loaded model version, pinned by the requests that use it. TensorFlow Serving's ServableHandle."""

from __future__ import annotations

import asyncio

from gateway.core.observe import Statistics
from gateway.core.servable import Servable, ServableId
from gateway.models.config import ModelConfig


class Handle:
    """Belongs to the event loop's thread, as does every method here.

    Who took it from `Manager.acquire` calls `release` once. The version stays loaded until then, also if another
    instance of it has been published, or it was unloaded, meanwhile.
    """

    __slots__ = ("_drained", "config", "id", "pins", "servable", "statistics")

    def __init__(self, id: ServableId, servable: Servable, statistics: Statistics, config: ModelConfig) -> None:
        self.id = id
        self.servable = servable
        self.statistics = statistics
        self.config = config
        self.pins = 0
        self._drained: asyncio.Future[None] | None = None

    def release(self) -> None:
        pins = self.pins - 1
        self.pins = pins
        if not pins and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    async def drained(self) -> None:
        """Waits for the last pin to go. For one that nobody can acquire any more, and one caller."""
        if self.pins:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def __repr__(self) -> str:
        return f"<Handle {self.id.model}/{self.id.version} pins={self.pins}>"
