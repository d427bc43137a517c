"""What the manager knows of one model: its versions, their states, and what they were made of."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gateway.core.errors import NotFound, SluiceError, Unavailable
from gateway.core.observe import Statistics
from gateway.core.servable import ServableState
from gateway.models.config import ModelConfig
from gateway.models.handle import Handle
from gateway.models.policy import aspired
from gateway.models.repository import ModelFolder
from gateway.models.staging import Staged

UNLOADED: Final = "unloaded"
#: the label that answers where a request names no version
STABLE: Final = "stable"


class VersionStatus(NamedTuple):
    """One line of the index. `version` and `state` are empty for a model that nobody asked for yet;
    `reason` is empty where all is well."""

    name: str
    version: str
    state: str
    reason: str


class Made(NamedTuple):
    """What an instance is made of: equal ones need no new instance."""

    files: str
    config: ModelConfig
    beside: str


@dataclass(slots=True, eq=False)
class Version:
    """One version through all its loads. `statistics` go on counting over them.

    handle   what is published, if anything is; a new instance may be loading beside it
    made     what that handle was made of
    failed   what the last load that failed was made of: not tried again until it changes
    """

    statistics: Statistics = field(default_factory=Statistics)
    state: ServableState = ServableState.UNAVAILABLE
    reason: str = ""
    handle: Handle | None = None
    made: Made | None = None
    failed: Made | None = None


class Model:
    """One model, as far as it was ever asked for.

    turn        held by whoever changes it, from prepare to publish
    folder      what its versions are loaded from; None while it is unloaded
    config      in force, `override` what of it a load call brought, `staged` the files that came with it
    """

    def __init__(self, name: str) -> None:
        self.name: Final = name
        self.turn: Final = asyncio.Lock()
        self.folder: ModelFolder | None = None
        self.config = ModelConfig(name=name)
        self.override: ModelConfig | None = None
        self.staged: Staged | None = None
        #: what the last look at the repository made of it, so that the next one knows that nothing changed
        self.followed: tuple[ModelFolder, frozenset[str]] | None = None
        self.versions: dict[str, Version] = {}
        #: why nothing of it could be loaded, while there is no version to say so
        self.reason = ""

    def version(self, number: str) -> Version:
        found = self.versions.get(number)
        if found is None:
            found = self.versions[number] = Version()
        return found

    def table(self, labels: Mapping[str, str]) -> dict[str, Handle]:
        """What a request may name → who answers. "" is the default: the label `stable`, if there is one, else
        the newest that the policy holds."""
        found = {number: v.handle for number, v in self.versions.items() if v.handle is not None}
        late = self.folder.late if self.folder is not None else frozenset()
        held = aspired(found.keys() - late, self.config.policy, ())
        default = labels.get(STABLE) or (held[-1] if held else "")
        named = {label: found[number] for label, number in labels.items() if number in found}
        if default in found:
            named[""] = found[default]
        return {**found, **named}

    def refusal(self, version: str, labels: Mapping[str, str]) -> SluiceError:
        """Why the table has no such entry."""
        label = version or STABLE
        if label in labels:
            number = labels[label]
            return Unavailable(
                f"label '{label}' of model '{self.name}' names version {number}, which is {self._state(number)}",
                retry_after=1.0,
            )
        if not version:
            return Unavailable(f"Request for unknown model: '{self.name}' has no available versions", retry_after=1.0)
        if version in self.versions:
            return Unavailable(
                f"Request for unknown model: '{self.name}' version {version} is {self._state(version)}",
                retry_after=1.0,
            )
        return NotFound(f"Request for unknown model: '{self.name}' version {version[:80]} is not found")

    def _state(self, number: str) -> str:
        found = self.versions.get(number)
        return "not ready" if found is None else f"not ready ({found.state.value})"

    def fail(self, numbers: Collection[str], reason: str) -> None:
        """Nothing could be prepared. What is served stays as it is, and says why it is not newer."""
        affected = [*numbers, *(n for n, v in self.versions.items() if v.handle is not None)]
        for number in affected:
            found = self.version(number)
            found.reason = reason
            if found.handle is None:
                found.state = ServableState.UNAVAILABLE
        self.reason = "" if affected else reason

    def forget(self, there: Collection[str]) -> None:
        """Drops versions that failed to load and are not there any more. What ever served anything is kept: its
        counters must not vanish."""
        for number, found in list(self.versions.items()):
            if number in there or found.state is not ServableState.UNAVAILABLE or found.reason == UNLOADED:
                continue
            if found.statistics.success_count or found.statistics.fail_count:
                found.reason = UNLOADED
            else:
                del self.versions[number]

    def index(self) -> list[VersionStatus]:
        if self.versions:
            return [
                VersionStatus(self.name, number, found.state.value, found.reason)
                for number, found in sorted(self.versions.items(), key=lambda item: int(item[0]))
            ]
        state = ServableState.UNAVAILABLE.value if self.reason else ""
        return [VersionStatus(self.name, "", state, self.reason)]
