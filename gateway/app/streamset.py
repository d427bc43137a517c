"""The streams of a process with all that they need: models that follow, leases, stations."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from gateway import __version__
from gateway.app.engine import Engine
from gateway.app.scoring import Keys, Scoring
from gateway.app.storage import leases, view
from gateway.control.beside import Beside
from gateway.models.onnx import runtime_name
from gateway.pipeline.declared.reading import read_all
from gateway.pipeline.declared.spec import Stream
from gateway.pipeline.declared.validation import signatures, validate
from gateway.pipeline.hosting.lease import owner
from gateway.pipeline.hosting.station import Station
from gateway.pipeline.hosting.streams import Streams
from gateway.samples import arms, versions
from gateway.settings import Settings
from gateway.store.leases import Leases
from gateway.store.view import Notebook, View
from gateway.telemetry.metrics import Metrics

logger = logging.getLogger("sluice.streams")


class StreamSet:
    """`open` builds it, `start` loads its models, `run` ends after `streams.stop`, or when the inputs have ended."""

    def __init__(self, settings: Settings, references: Sequence[str], scoring: Scoring, view: Notebook) -> None:
        self._settings = settings
        self._references = references
        self._scoring = scoring
        self._view = view
        self.note: Final = Beside(view)
        self._leases: Leases
        self._owner: Final = owner()
        self.engine: Final[Engine] = scoring.engine
        self.streams: Streams

    @classmethod
    async def open(
        cls,
        settings: Settings,
        references: Sequence[str],
        streams: Sequence[Stream],
        stack: AsyncExitStack,
        keys: Callable[[Keys], None] = lambda keys: None,
    ) -> StreamSet:
        """`streams` are what `references` name, and valid. `keys` takes up the API keys of the control state."""
        held = await stack.enter_async_context(leases(settings))
        decided = await stack.enter_async_context(view(settings))
        scoring = Scoring(settings, {stream.model.name for stream in streams}, decided, keys)
        scoring.engine.enter(stack)
        self = cls(settings, references, scoring, decided)
        self._leases = held
        self.streams = Streams([self._station(stream) for stream in streams], self._renew)
        return self

    async def start(self, stack: AsyncExitStack) -> None:
        """Raises Unavailable where the models folder or the control state cannot be read."""
        await self._scoring.start()
        for work in (self._scoring.follow(), self.engine.manager.poll()):
            stack.callback(asyncio.create_task(work).cancel)

    def metrics(self) -> Metrics:
        """Of its models; those of the streams are `Streams.write_metrics`."""
        engine = self.engine
        return Metrics(
            lambda: versions(engine.manager),
            loads=engine.loads,
            splits=lambda: arms(engine.splits),
            build={"version": __version__, "python": platform.python_version(), "runtime": runtime_name()},
        )

    async def run(self) -> None:
        for found in await self.streams.list():
            logger.info("stream %s: %s; order: %s", found["name"], found["guarantee"], found["order"])
        await self.streams.run()

    def _station(self, stream: Stream) -> Station:
        folder = Path(self._settings.state)
        return Station(stream, self.engine.dataplane, folder, self._leases, self._owner, self._settings.streams_lease)

    async def _renew(self) -> list[Station]:
        """Reads and checks the streams anew, and loads what they need. Raises StreamError."""
        streams = await valid(self._settings, self._references, self._view)
        await self._scoring.need({stream.model.name for stream in streams})
        return [self._station(stream) for stream in streams]


async def valid(settings: Settings, references: Sequence[str], view: View) -> list[Stream]:
    """Raises StreamError with all that is wrong."""
    streams = await asyncio.to_thread(read_all, references, os.environ)
    known = signatures(settings, await view.read())
    await asyncio.to_thread(validate, streams, known, Path(settings.state))
    return streams
