"""Which versions are loaded, and who answers a request. TensorFlow Serving's Manager.

A version is loaded and warm before any request sees it, takes over by one swap of a pointer, and what it replaces is
freed when its last request is done. Whoever changes a model holds its turn from `prepare` to `publish`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from gateway.core.background import Background
from gateway.core.errors import InvalidArgument, NotFound, SluiceError, Unavailable
from gateway.core.observe import Statistics
from gateway.core.servable import ServableId
from gateway.models.config import ModelConfig
from gateway.models.config.pbtxt import parse_override
from gateway.models.following import Followed, Following, Mode
from gateway.models.handle import Handle
from gateway.models.loader import Engine, Loader, read
from gateway.models.names import check_model
from gateway.models.preparation import Failing, Prepared, prepare
from gateway.models.published import Published
from gateway.models.record import Model, VersionStatus
from gateway.models.repository import ModelFolder, Repository
from gateway.models.source import Source
from gateway.models.staging import Staged

__all__ = ["Engine", "Handle", "Manager", "Mode", "Prepared", "VersionStatus"]

logger = logging.getLogger("sluice.models")

Override = str | ModelConfig | None
Files = Mapping[str, bytes] | None

_NOTHING: Final[Mapping[str, Handle]] = {}


class Manager:
    """Belongs to the event loop's thread; what blocks is done in others.

    mode   none: what the repository has at the start is served, and stays as it is
           poll: the repository is looked at every `poll_interval` seconds, and followed
           explicit: what `load` was called for is served

    A change is done to its end, even if its caller goes away. A load that fails leaves what is served as it is, and
    the index has its reason.
    """

    def __init__(
        self,
        repository: Repository,
        engine: Engine,
        *,
        mode: Mode = "none",
        poll_interval: float = 15.0,
        load_threads: int = 2,
    ) -> None:
        self.mode: Final = mode
        self._source = Source(repository)
        self._loader = Loader(engine, load_threads)
        self._background = Background(logger)
        self._poll_interval = poll_interval
        self._published = Published(self._loader, self._background)
        self._models: Final = self._published.models
        self._following = Following(mode, self._source, self._loader, self._published)
        self._closing = False

    # ---- who answers

    def acquire(self, model: str, version: str) -> Handle:
        """Pins a version: a number, a label, or "" for the label `stable`, else the newest that the policy holds.

        Raises NotFound, or Unavailable where the version is known but not ready.
        """
        try:
            handle = self._published.table[model][version]
        except KeyError:
            raise self._refusal(model, version) from None
        handle.pins += 1
        return handle

    def present(self, model: str) -> Mapping[str, Handle]:
        """What is ready of a model: numbers and labels, and "" for the default. It is replaced, never changed."""
        return self._published.table.get(model, _NOTHING)

    def _refusal(self, name: str, version: str) -> SluiceError:
        model = self._models.get(name)
        if model is None or not (model.versions or model.reason):
            return NotFound(f"Request for unknown model: '{name[:255]}' is not found")
        return model.refusal(version, self._published.labels_of(model))

    def index(self) -> list[VersionStatus]:
        """Every model of the repository as of the last look, and every version that was ever asked for."""
        lines = []
        for name in sorted({*self._source.names, *self._models}):
            model = self._models.get(name)
            lines += [VersionStatus(name, "", "", "")] if model is None else model.index()
        return lines

    async def refresh(self) -> None:
        """Takes models that are new in the repository into the index. Raises Unavailable if it cannot be read."""
        await self._source.refresh()

    def folders(self) -> dict[str, ModelFolder]:
        """What lies in the repository, as far as it is served or was tried to be."""
        loaded = {m.name: m.folder for m in self._models.values() if m.folder is not None and m.staged is None}
        return {**self._following.found, **loaded}

    def statistics(self) -> Iterator[tuple[ServableId, Statistics]]:
        """Of every version that was ever loaded. They survive reloads, so that no counter decreases."""
        for model in self._models.values():
            for number, version in model.versions.items():
                yield ServableId(model.name, number), version.statistics

    # ---- what is desired

    def set_labels(self, model: str, labels: Mapping[str, str]) -> None:
        """In force at once, above those of the model's own config. `reconcile` loads what they name; requests for a
        label whose version is not loaded are refused, so a new one is better pinned and reconciled before."""
        self._published.set_labels(model, labels)

    def set_pinned(self, model: str, versions: Collection[str]) -> None:
        """Versions to keep loaded under any policy; `reconcile` loads what of them is not."""
        self._published.set_pinned(model, versions)

    # ---- load and unload

    async def load(self, model: str, override: Override = None, files: Files = None, *, strict: bool = True) -> None:
        """Loads what the model's policy asks for or what of it changed, and unloads the rest.

        override   takes the place of config.pbtxt: the message as JSON, or parsed
        files      path, as `1/model.onnx` → content: take the place of the model's folder; need an override
        strict     all or nothing; else the versions that do load are served before it raises

        Raises InvalidArgument that contains "failed to load", NotFound, Unavailable outside explicit mode.
        """
        self._check_explicit()
        await self._background.whole(self._load(model, override, files, strict))

    async def _load(self, name: str, override: Override, files: Files, strict: bool) -> None:
        prepared = await self._prepare(name, override, files, "refuse" if strict else "serve others")
        self.publish(prepared)
        if prepared.failures:
            raise prepared.failed()

    async def prepare(self, model: str, override: Override = None, files: Files = None) -> Prepared:
        """The first half of a strict `load`. The model's turn is held until `publish` or `discard` is called."""
        self._check_explicit()
        return await self._background.whole(self._prepare(model, override, files, "refuse"), self.discard)

    async def _prepare(self, name: str, override: Override, files: Files, failing: Failing) -> Prepared:
        check_model(name)
        if isinstance(override, str):
            override = await asyncio.to_thread(parse_override, override, name)
        if files and override is None:
            raise InvalidArgument(f"failed to load '{name}': files need a config beside them")
        if not files and name not in self._models:
            await self._source.model(name)  # one that is unknown leaves no trace
        model = self._published.model(name)
        await model.turn.acquire()
        staged: Staged | None = None
        try:
            staged = await self._stage(model, files)
            plan = await self._plan(model, override, staged)
            plan = await prepare(self._loader, plan, self._published.pinned_of(model, plan.config), failing)
            if plan.failures and failing == "refuse":
                for handle in plan.forget():
                    self._published.retire(handle)
                raise plan.failed()
        except BaseException:
            self._published.remove(staged, unless=model.staged)
            model.turn.release()
            raise
        return plan

    async def _stage(self, model: Model, files: Files) -> Staged | None:
        if not files:
            return None
        staged = await asyncio.to_thread(Staged, model.name, files)
        if model.staged is None or staged.digest != model.staged.digest:
            return staged
        self._published.remove(staged)
        return model.staged

    async def _plan(self, model: Model, override: ModelConfig | None, staged: Staged | None) -> Prepared:
        numbers: Collection[str] = ()
        try:
            folder = staged.folder if staged is not None else await self._source.model(model.name)
            numbers = folder.versions
            config = await asyncio.to_thread(read, folder, override)
        except SluiceError as error:
            model.fail(numbers, error.message)
            raise
        return Prepared(model, folder, config, override, staged)

    def publish(self, prepared: Prepared) -> None:
        """The second half: cannot fail, and the next request sees it."""
        self._published.apply(prepared)
        prepared.model.turn.release()

    def discard(self, prepared: Prepared) -> None:
        """Undoes `prepare`: what is served stays as it is."""
        for handle in prepared.forget():
            self._published.retire(handle)
        self._published.remove(prepared.staged, unless=prepared.model.staged)
        prepared.model.turn.release()

    async def unload(self, model: str) -> None:
        """No request gets it from now on; it is freed when the last one that has it is done.

        Raises NotFound for a model that neither is loaded nor in the repository, Unavailable outside explicit mode.
        """
        self._check_explicit()
        known = self._models.get(check_model(model))
        if known is not None:
            await self._background.whole(self._unload(known))
            return
        await self.refresh()
        if model not in self._source.names:
            raise NotFound(f"failed to unload '{model}': there is no such model")

    async def _unload(self, model: Model) -> None:
        async with model.turn:
            self._published.drop(model)
            logger.info("%s is unloaded", model.name)

    def _check_explicit(self) -> None:
        if self._closing:
            raise Unavailable("the server is shutting down")
        if self.mode != "explicit":
            because = " if polling is enabled" if self.mode == "poll" else f" in control mode {self.mode}"
            raise Unavailable(f"explicit model load / unload is not allowed{because}")

    # ---- following the repository

    async def reconcile(self, model: str = "") -> None:
        """Makes what is served what is desired, of one model or of all.

        The first call looks at the repository, and loads all of it unless the mode is explicit. A later one loads
        what has been pinned since; it takes up no other change of the repository. What fails is in the index, and
        stops nothing else. Raises Unavailable if the repository cannot be read.
        """
        await self._background.whole(self._following.reconcile(model))

    async def poll(self) -> None:
        """Follows the repository until it is cancelled. Returns at once unless the mode is poll."""
        while self.mode == "poll":
            await asyncio.sleep(self._poll_interval)
            try:
                await self.look()
            except SluiceError as error:
                logger.warning("%s", error.message)

    async def look(self) -> None:
        """One look of poll mode: does what two looks in a row agree on, so that nothing half-copied is loaded.

        Raises Unavailable if the repository cannot be read; what is served stays as it is then.
        """
        await self._background.whole(self._following.look())

    async def prepare_found(self, found: Mapping[str, ModelFolder]) -> list[Followed]:
        """The first half of a look of poll mode that somebody else has made: loads what is to be, and nobody sees it.
        The models' turns are held until `publish_found`, which is to come."""
        return await self._background.whole(self._following.prepare(found), self.publish_found)

    def publish_found(self, followed: Iterable[Followed]) -> None:
        """The second half: cannot fail."""
        self._following.publish(followed)

    async def close(self) -> None:
        """Waits for changes that are under way, then for requests, then frees every version."""
        self._closing = True
        try:
            await self._background.finished()
            for model in self._models.values():
                self._published.drop(model)
            await self._background.finished()
        finally:
            self._loader.close()
