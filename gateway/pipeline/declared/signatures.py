"""What the models of a folder take and give, read without serving them: for checks before anything starts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from gateway.core.errors import NotFound
from gateway.core.signature import Signature
from gateway.models.loader import read
from gateway.models.names import is_version
from gateway.models.onnx import Runtime
from gateway.models.policy import aspired
from gateway.models.repository import Repository

Labels = Mapping[str, Mapping[str, str]]


class Signatures:
    """Loads each version once, and keeps what it read. Blocks."""

    def __init__(self, models: Path, labels: Labels, pinned: Mapping[str, Collection[str]], threads: int = 1) -> None:
        """`labels` and `pinned`, versions that splits name, are by model: what settings and control state say.

        threads  of the runtime's pool, which is the process's one and only
        """
        self._repository: Final = Repository(models)
        self._labels = labels
        self._pinned = pinned
        self._threads = threads
        self._runtime: Runtime | None = None
        self._known: dict[tuple[str, str], Signature] = {}

    def of(self, model: str, version: str) -> dict[str, Signature]:
        """By number, every version that may answer: one for a number or a label, else all that are served.

        Raises NotFound that names what there is, InvalidArgument for a model that cannot be loaded.
        """
        names = sorted(self._repository.names())
        if model not in names:
            raise NotFound(f"there is no model '{model}' in '{self._repository.root}', which has {_listed(names)}")
        folder = self._repository.model(model)
        config = read(folder, None)
        labels = {**config.labels, **self._labels.get(model, {})}
        pinned = {*labels.values(), *self._pinned.get(model, ())}
        served = aspired(folder.versions.keys(), config.policy, pinned)
        if version:
            number = version if is_version(version) else labels.get(version, "")
            if number not in folder.versions:
                raise NotFound(
                    f"model '{model}' has no {'version' if is_version(version) else 'label'} '{version}',"
                    f" there are {_listed([*served, *labels])}"
                )
            served = (number,)
        if not served:
            raise NotFound(f"model '{model}' has no version that its policy serves")
        if not version:
            served = served if self._pinned.get(model) else (labels.get("stable", served[-1]),)
        for number in served:
            if (model, number) not in self._known:
                if self._runtime is None:
                    self._runtime = Runtime(self._threads)
                loaded = self._runtime.load(folder.model_file(number, config.filename), config)
                self._known[model, number] = loaded.signature
                loaded.close()
        return {number: self._known[model, number] for number in served}


def _listed(names: Collection[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
