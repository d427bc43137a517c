"""The streams of a process with all that they need: models that follow, leases, stations."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from gateway.app.engine import Engine
from gateway.app.scoring import Keys, Scoring
from gateway.app.storage import leases, view
from gateway.pipeline.lease import owner
from gateway.pipeline.spec import Stream
from gateway.pipeline.station import Station
from gateway.pipeline.streams import Streams
from gateway.settings import Settings

logger = logging.getLogger("sluice.streams")


class StreamSet:
    """`open` builds it, `start` loads its models, `run` ends after `streams.stop`, or when the inputs have ended."""

    def __init__(self, scoring: Scoring, streams: Streams) -> None:
        self._scoring = scoring
        self.engine: Final[Engine] = scoring.engine
        self.streams: Final = streams

    @classmethod
    async def open(
        cls,
        settings: Settings,
        streams: Sequence[Stream],
        stack: AsyncExitStack,
        keys: Callable[[Keys], None] = lambda keys: None,
    ) -> StreamSet:
        """`keys` takes up the API keys of the control state."""
        held = await stack.enter_async_context(leases(settings))
        state = await stack.enter_async_context(view(settings))
        scoring = Scoring(settings, {stream.model.name for stream in streams}, state, keys)
        scoring.engine.enter(stack)
        me, folder = owner(), Path(settings.state)
        stations = [Station(stream, scoring.engine.dataplane, folder, held, me) for stream in streams]
        return cls(scoring, Streams(stations))

    async def start(self, stack: AsyncExitStack) -> None:
        """Raises Unavailable where the models folder or the control state cannot be read."""
        await self._scoring.start()
        for work in (self._scoring.follow(), self.engine.manager.poll()):
            stack.callback(asyncio.create_task(work).cancel)

    async def run(self) -> None:
        for found in await self.streams.list():
            logger.info("stream %s: %s; order: %s", found["name"], found["guarantee"], found["order"])
        await self.streams.run()
