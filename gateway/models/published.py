"""What is published: who answers for each model, and what becomes of what no longer does."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from gateway.core.background import Background
from gateway.core.servable import ServableState
from gateway.models.config import ModelConfig
from gateway.models.handle import Handle
from gateway.models.loader import Loader
from gateway.models.preparation import Prepared, replaced
from gateway.models.record import UNLOADED, Model, Version
from gateway.models.staging import Staged


class Published:
    """Decided at once on the event loop's thread; what is replaced is freed in the background.

    table    model → version or label → who answers; replaced whole, never changed
    models   every model that was ever asked for
    """

    def __init__(self, loader: Loader, background: Background) -> None:
        self.table: dict[str, dict[str, Handle]] = {}
        self.models: dict[str, Model] = {}
        self._loader = loader
        self._background = background
        self._labels: dict[str, Mapping[str, str]] = {}
        self._pinned: dict[str, frozenset[str]] = {}

    def model(self, name: str) -> Model:
        """The one of that name; it counts as asked for from now on."""
        return self.models.setdefault(name, Model(name))

    def set_labels(self, model: str, labels: Mapping[str, str]) -> None:
        self._labels[model] = dict(labels)
        if model in self.models:
            self._swap(self.models[model])

    def set_pinned(self, model: str, versions: Collection[str]) -> None:
        self._pinned[model] = frozenset(versions)

    def labels_of(self, model: Model, config: ModelConfig | None = None) -> Mapping[str, str]:
        return {**(config or model.config).labels, **self._labels.get(model.name, {})}

    def pinned_of(self, model: Model, config: ModelConfig | None = None) -> frozenset[str]:
        """The versions that are kept loaded under any policy; also names of labels, which are no versions."""
        return self._pinned.get(model.name, frozenset()) | {*self.labels_of(model, config).values()}

    def apply(self, prepared: Prepared) -> None:
        """Its model's turn is the caller's."""
        model, folder, config = prepared.model, prepared.folder, prepared.config
        for number, (handle, made) in prepared.fresh.items():
            version = model.version(number)
            if version.handle is not None:
                self.retire(version.handle)
            version.handle, version.made, version.failed = handle, made, None
            version.state, version.reason = ServableState.READY, ""
        keep = {*prepared.wanted, *self.pinned_of(model, config)}
        for number, version in model.versions.items():
            if version.handle is None:
                continue
            if replaced(prepared.failures, folder, keep, number):
                self._take_down(version)
                continue
            version.handle.config = config
            if number not in prepared.failures:
                version.reason = ""
        model.forget(folder.versions)
        self.remove(model.staged, unless=prepared.staged)
        model.folder, model.config, model.reason = folder, config, ""
        model.override, model.staged, model.followed = prepared.override, prepared.staged, None
        self._swap(model)

    def _swap(self, model: Model) -> None:
        entries = model.table(self.labels_of(model))
        rest = {name: other for name, other in self.table.items() if name != model.name}
        self.table = {**rest, model.name: entries} if entries else rest

    def _take_down(self, version: Version) -> None:
        handle, version.handle, version.made = version.handle, None, None
        if handle is None:
            return
        if handle.pins:
            version.state, version.reason = ServableState.UNLOADING, ""
        else:
            version.state, version.reason = ServableState.UNAVAILABLE, UNLOADED
        self.retire(handle, version)

    def retire(self, handle: Handle, version: Version | None = None) -> None:
        self._background.start(self._free(handle, version))

    async def _free(self, handle: Handle, version: Version | None) -> None:
        await self._loader.free(handle)
        if version is not None and version.state is ServableState.UNLOADING:
            version.state, version.reason = ServableState.UNAVAILABLE, UNLOADED

    def remove(self, staged: Staged | None, unless: Staged | None = None) -> None:
        if staged is not None and staged is not unless:
            self._background.start(asyncio.to_thread(staged.remove))

    def drop(self, model: Model) -> None:
        """Nothing of it answers from now on."""
        for version in model.versions.values():
            self._take_down(version)
        self.remove(model.staged)
        model.folder = model.override = model.staged = model.followed = None
        self._swap(model)
