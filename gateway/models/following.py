"""What of the repository is to be served, and what is done to get there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

from gateway.core.errors import SluiceError
from gateway.models.loader import Loader, read
from gateway.models.preparation import Prepared, prepare
from gateway.models.published import Published
from gateway.models.record import Model
from gateway.models.repository import ModelFolder
from gateway.models.source import Source

logger = logging.getLogger("sluice.models")

Mode = Literal["none", "poll", "explicit"]

#: what a model is to be loaded from, and the versions that are kept under any policy
Target = tuple[ModelFolder, frozenset[str]]
#: what is loaded of it, and the target that is reached once it is published
Followed = tuple[Prepared, Target]


class Following:
    """found   the repository as far as it is taken notice of

    What fails is in the index, and stops nothing else. Raises Unavailable if the repository cannot be read.
    """

    def __init__(self, mode: Mode, source: Source, loader: Loader, published: Published) -> None:
        self.found: dict[str, ModelFolder] = {}
        self._mode = mode
        self._source = source
        self._loader = loader
        self._published = published
        self._models = published.models
        self._looked = False

    async def reconcile(self, name: str) -> None:
        """Of one model or, "", of all. The first call takes all that there is; a later one what was pinned since."""
        if not self._looked:
            self.found = dict(await self._source.everything())
            self._looked = True
        elif self._mode != "poll":
            for model in list(self._models.values()):
                if name in ("", model.name) and self._missing(model):
                    try:
                        self.found[model.name] = await self._source.model(model.name)
                    except SluiceError:  # it is loaded, and no longer there
                        self.found.pop(model.name, None)
        await self._follow_all(name)

    async def look(self) -> None:
        """Does what two looks in a row agree on."""
        self.found = dict(await self._source.look())
        self._looked = True
        await self._follow_all("")

    async def prepare(self, found: Mapping[str, ModelFolder]) -> list[Followed]:
        """Loads what is to be where this is what there is. Holds the turns of the models that it returns."""
        self.found = dict(found)
        models = [self._published.model(name) for name in {*self.found, *self._models}]
        followed = await asyncio.gather(*(self._prepare_followed(model) for model in models))
        return [each for each in followed if each is not None]

    def publish(self, followed: Iterable[Followed]) -> None:
        """Cannot fail."""
        for plan, reached in followed:
            self._published.apply(plan)
            plan.model.followed = reached
            plan.model.turn.release()

    async def _follow_all(self, only: str) -> None:
        async with asyncio.TaskGroup() as group:
            for name in {*self.found, *self._models}:
                if only in ("", name) and (name in self._models or self._mode != "explicit"):
                    group.create_task(self._follow(self._published.model(name)))

    async def _follow(self, model: Model) -> None:
        followed = await self._prepare_followed(model)
        if followed is not None:
            self.publish([followed])

    async def _prepare_followed(self, model: Model) -> Followed | None:
        """Loads what the target says, and holds the model's turn then. What fails is in the index."""
        if self._target(model) is None:
            return None
        await model.turn.acquire()
        try:
            target = self._target(model)  # it may have changed, or been reached, while others had their turn
            followed = None if target is None else await self._load_followed(model, target)
        except BaseException:
            model.turn.release()
            raise
        if followed is None:
            model.turn.release()
        return followed

    async def _load_followed(self, model: Model, target: Target) -> Followed | None:
        folder = target[0]
        config = model.config
        try:
            if model.folder is None or model.folder.fingerprint != folder.fingerprint:
                config = await asyncio.to_thread(read, folder, model.override)
        except SluiceError as error:
            logger.warning("%s failed to load: %s", model.name, error.message)
            model.fail(sorted(folder.versions, key=int)[-1:], error.message)
            model.followed = target
            return None
        pinned = self._published.pinned_of(model, config)
        plan = Prepared(model, folder, config, model.override, model.staged)
        return await prepare(self._loader, plan, pinned, "as before"), (folder, pinned)

    def _missing(self, model: Model) -> frozenset[str]:
        """What is pinned, and was not in the repository when the model was loaded."""
        if model.folder is None or model.staged is not None:
            return frozenset()
        return self._published.pinned_of(model) - model.folder.versions.keys()

    def _target(self, model: Model) -> Target | None:
        """What it should be loaded from. None where that was done already, or it should not be loaded at all."""
        folder = model.folder
        found = self.found.get(model.name)
        if self._mode == "poll" or (self._mode == "none" and folder is None):
            gone = folder and replace(folder, versions={}, fingerprint="")
            folder = found or gone
        elif folder is not None and found is not None:
            news = {n: found.versions[n] for n in self._missing(model) if n in found.versions}
            if news:
                versions = {**folder.versions, **news}
                folder = replace(folder, versions=versions, late=folder.late | news.keys())
        if folder is None or model.followed == (folder, self._published.pinned_of(model)):
            return None
        return folder, self._published.pinned_of(model)
