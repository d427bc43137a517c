"""Models for streams: those that are needed, following what is decided elsewhere, without a port."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Final

import msgspec

from gateway.app.engine import Engine
from gateway.control.follower import Follower
from gateway.core.errors import NotFound, SluiceError
from gateway.pipeline.declared.spec import Stream
from gateway.settings import Settings
from gateway.store.contract import ApiKey, State
from gateway.store.view import View

logger = logging.getLogger("sluice.streams")

Keys = Mapping[str, ApiKey]

#: seconds between two looks at the control state
LOOK: Final = 1.0


class Undecided:
    """No control state: the settings alone count."""

    async def read(self) -> State:
        return State()

    async def blob(self, digest: str) -> bytes:
        raise NotFound(f"no blob {digest}: there is no control state")


class Scoring:
    """An engine with the models of some streams. `follow` keeps it at what is desired."""

    def __init__(
        self, settings: Settings, models: Collection[str], view: View, keys: Callable[[Keys], None] = lambda keys: None
    ) -> None:
        """`keys` takes up the API keys of each state."""
        self._models = frozenset(models)
        self._view = view
        # what else is in the folder would only take memory; in mode poll the manager takes all of it
        if settings.control_mode != "poll":
            settings = msgspec.structs.replace(settings, control_mode="explicit", load=tuple(sorted(self._models)))
        self.engine: Final = Engine(settings)
        self._follower: Final = Follower(self.engine.manager, self.engine.splits, settings, view.blob, keys)

    async def start(self) -> None:
        await self._follower.start(self._own(await self._view.read()))

    async def need(self, models: Collection[str]) -> None:
        """Loads what of them is not loaded yet; one that fails is in the log, and waited for."""
        fresh = frozenset(models) - self._models
        self._models |= fresh
        for model in sorted(fresh if self.engine.manager.mode == "explicit" else ()):
            try:
                await self.engine.manager.load(model, strict=False)
            except SluiceError as error:
                logger.error("%s", error.message)
        await self._follower.follow(self._own(await self._view.read()))

    async def follow(self) -> None:
        """For ever."""
        failing = False
        while True:
            await asyncio.sleep(LOOK)
            try:
                state = await self._view.read()
                if state.revision != self._follower.state.revision:
                    await self._follower.follow(self._own(state))
                    logger.info("revision %d of the control state is in force", state.revision)
                failing = False
            except SluiceError as error:
                if not failing:
                    logger.warning("the control state is not followed: %s", error.message)
                failing = True

    def _own(self, state: State) -> State:
        return replace(
            state,
            models={name: model for name, model in state.models.items() if name in self._models},
            splits={name: split for name, split in state.splits.items() if name in self._models},
            labels={name: labels for name, labels in state.labels.items() if name in self._models},
        )


@asynccontextmanager
async def scoring(settings: Settings, streams: Iterable[Stream], view: View | None = None) -> AsyncIterator[Engine]:
    """Models loaded, for a command that ends by itself; nothing is followed."""
    async with AsyncExitStack() as stack:
        found = Scoring(settings, {stream.model.name for stream in streams}, view or Undecided())
        found.engine.enter(stack)
        await found.start()
        yield found.engine
