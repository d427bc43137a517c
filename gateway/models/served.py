"""The repository as far as others serve it already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.models.repository import ModelFolder, Repository


@dataclass(frozen=True, slots=True)
class ServedFolder:
    """A `ModelFolder` without its place, which every process knows."""

    versions: Mapping[str, str]
    fingerprint: str
    error: str
    late: frozenset[str]

    def at(self, root: Path, name: str) -> ModelFolder:
        return ModelFolder(name, root / name, self.versions, self.fingerprint, root, self.error, self.late)


def served(folders: Mapping[str, ModelFolder]) -> dict[str, ServedFolder]:
    return {name: ServedFolder(f.versions, f.fingerprint, f.error, f.late) for name, f in folders.items()}


class ServedRepository(Repository):
    """What a process sees that joins others who serve: not what was put there since, which nobody has asked for.

    `join` says what the others have, and with None, when this one has it too, that all may be seen.

    literally   what they have is told even where it lies there no more, as to those who follow the repository
    """

    def __init__(self, root: Path, *, literally: bool) -> None:
        super().__init__(root)
        self._literally = literally
        self._served: Mapping[str, ServedFolder] | None = None

    def join(self, served: Mapping[str, ServedFolder] | None) -> None:
        self._served = served

    def scan(self) -> dict[str, ModelFolder]:
        if self._served is not None and self._literally:
            return {name: folder.at(self.root, name) for name, folder in self._served.items()}
        found = super().scan()
        if self._served is None:
            return found
        return {name: self._as_served(folder) for name, folder in found.items() if name in self._served}

    def model(self, name: str) -> ModelFolder:
        return self._as_served(super().model(name))

    def _as_served(self, folder: ModelFolder) -> ModelFolder:
        served = self._served.get(folder.name) if self._served is not None else None
        if served is None:
            return folder
        versions = {number: stamp for number, stamp in folder.versions.items() if number in served.versions}
        return replace(folder, versions=versions, late=served.late)
