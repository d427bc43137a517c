"""Makes one process follow the desired state: which versions are loaded, what labels and splits are in force."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from gateway.control.desired import merge
from gateway.core.errors import NotFound, SluiceError, Unavailable
from gateway.models.manager import Manager, Prepared
from gateway.models.names import check_model, is_version
from gateway.models.repository import Repository
from gateway.routing.split import Split, Splits
from gateway.settings import Settings
from gateway.store.contract import ApiKey, DesiredModel, State

logger = logging.getLogger("sluice.control")


class Follower:
    """A `Following`. `publish` and `publish_model` do all they do before anybody else has the event loop.

    blob   reads a file that a load call brought, by its digest
    keys   takes up the API keys of each snapshot
    """

    def __init__(
        self,
        manager: Manager,
        splits: Splits,
        settings: Settings,
        blob: Callable[[str], Awaitable[bytes]],
        keys: Callable[[Mapping[str, ApiKey]], None] = lambda keys: None,
    ) -> None:
        self._take_keys = keys
        self._manager = manager
        self._splits = splits
        self._settings = settings
        self._blob = blob
        self._repository: Final = Repository(Path(settings.models))
        #: model → the generation that this process has made of it
        self._made: dict[str, int] = {}
        #: model → why it could not be loaded
        self._failed: dict[str, str] = {}
        self.state = State()
        self.desired = merge(settings, self.state)

    @property
    def explicit(self) -> bool:
        return self._settings.control_mode == "explicit"

    async def start(self, state: State) -> None:
        desired = merge(self._settings, state)
        for model in desired.models():
            # before the first look, so that what they name is loaded whatever the policy
            self._manager.set_pinned(model, desired.pinned(model))
            self._manager.set_labels(model, desired.labels.get(model, {}))
        await self._manager.reconcile()
        if self.explicit:
            known = {status.name for status in self._manager.index()}
            first = known if "*" in self._settings.load else {*self._settings.load}
            await asyncio.gather(*(self._load(model, DesiredModel(True)) for model in sorted(first - {*state.models})))
        await self.follow(state)
        for reason in self.troubles().values():
            logger.warning("%s", reason)

    async def follow(self, state: State) -> None:
        # who lost a key has lost it, however long models take to load
        self._take_keys(state.keys)
        old, new = self.desired, merge(self._settings, state)
        models = {*old.models(), *new.models()}
        for model in models:
            self._manager.set_pinned(model, {*old.pinned(model), *new.pinned(model)})
        if self.explicit:
            await asyncio.gather(
                *(
                    self._load(model, wanted)
                    for model, wanted in state.models.items()
                    if self._made.get(model) != wanted.generation
                )
            )
        await self._manager.reconcile()
        self._publish(state)
        for model in models:
            self._manager.set_pinned(model, new.pinned(model))
        await self._manager.reconcile()

    def troubles(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for model in self.desired.models():
            present = self._manager.present(model)
            if self.explicit and not present:
                continue  # its versions come when it is loaded
            split = self.desired.splits.get(model)
            if absent := [name for name, _ in split.arms if name not in present] if split else []:
                names = ", ".join(absent)
                found[model] = f"the split of '{model}' names {names}, which is not ready: others answer in its place"
            if absent := [label for label in self.desired.labels.get(model, {}) if label not in present]:
                found[model] = f"of '{model}' the label {', '.join(absent)} names a version that is not ready"
        return found | self._failed

    async def must_exist(self, model: str, names: Iterable[str], what: str) -> None:
        versions = await self._versions(check_model(model))
        # a model's own config may give labels too, which are known once it is loaded
        labels = {*self.desired.labels.get(model, {}), *self._manager.present(model)} - versions - {""}
        for name in names:
            if name not in versions and name not in labels:
                there = ", ".join([*sorted(versions, key=int), *sorted(labels)]) or "none"
                raise NotFound(
                    f"{what}: no {'version' if is_version(name) else 'label'} '{name[:80]}', there are: {there}"
                )

    async def must_be_known(self, model: str) -> None:
        if not self.explicit:
            await self._manager.unload(model)  # raises, and says why
        if all(status.name != check_model(model) for status in self._manager.index()):
            await self._manager.refresh()
        if all(status.name != model for status in self._manager.index()):
            raise NotFound(f"failed to unload '{model}': there is no such model")

    async def hold(self, model: str, state: State) -> None:
        needed = merge(self._settings, state).pinned(model)
        self._manager.set_pinned(model, {*self.desired.pinned(model), *needed})
        await self._manager.reconcile(model)
        present = self._manager.present(model)
        if self.explicit and not present:
            return
        for version in needed:
            if version not in present:
                reasons = {s.version: s.reason for s in self._manager.index() if s.name == model}
                reason = reasons.get(version) or "it was not yet seen to be complete, try again later"
                raise Unavailable(f"version {version} of '{model}' is there, but not ready: {reason}", retry_after=5)

    async def publish(self, state: State) -> None:
        self._publish(state)

    def _publish(self, state: State) -> None:
        old, new = self.desired, merge(self._settings, state)
        self.state, self.desired = state, new
        self._take_keys(state.keys)
        for model in {*old.models(), *new.models()}:
            if new.labels.get(model) != old.labels.get(model):
                self._manager.set_labels(model, new.labels.get(model, {}))
            split = new.splits.get(model)
            if split != old.splits.get(model) or (split is not None and model not in self._splits):
                self._splits.replace(model, Split(split.salt, split.arms) if split else None)

    async def prepare(self, model: str, override: str | None, files: Mapping[str, bytes] | None) -> Prepared:
        return await self._manager.prepare(model, override, files)

    async def discard(self, prepared: Prepared) -> None:
        self._manager.discard(prepared)

    async def publish_model(self, prepared: Prepared, state: State) -> None:
        self._manager.publish(prepared)
        self._made[prepared.model.name] = state.models[prepared.model.name].generation
        self._failed.pop(prepared.model.name, None)
        self._publish(state)

    async def release(self, model: str) -> None:
        self._manager.set_pinned(model, self.desired.pinned(model))
        try:
            await self._manager.reconcile(model)
        except SluiceError as error:
            logger.warning("what '%s' does not need any more stays loaded: %s", model, error.message)

    async def _versions(self, model: str) -> set[str]:
        """Those in the repository, and those that are ready. Raises NotFound for an unknown model."""
        ready = {handle.id.version for handle in self._manager.present(model).values()}
        try:
            return {*(await asyncio.to_thread(self._repository.model, model)).versions, *ready}
        except NotFound:
            if ready:  # its files came with the load call
                return ready
            raise NotFound(f"Request for unknown model: '{model}' is not found") from None

    async def _load(self, model: str, wanted: DesiredModel) -> None:
        try:
            if wanted.loaded:
                files = {path: await self._blob(digest) for path, digest in wanted.files.items()}
                await self._manager.load(model, wanted.config or None, files or None, strict=False)
            elif self._manager.present(model):
                await self._manager.unload(model)
            self._failed.pop(model, None)
        except SluiceError as error:
            logger.error("%s", error.message)
            self._failed[model] = error.message
        self._made[model] = wanted.generation
