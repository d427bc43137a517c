"""Loading versions of one model beside what is served: the first half of every change."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from gateway.core.errors import InvalidArgument, SluiceError
from gateway.core.servable import ServableState
from gateway.models.config import ModelConfig
from gateway.models.handle import Handle
from gateway.models.loader import Loader, essence, has_files
from gateway.models.policy import aspired
from gateway.models.record import Made, Model, Version
from gateway.models.repository import ModelFolder
from gateway.models.staging import Staged

logger = logging.getLogger("sluice.models")

#: what to do about versions that fail: refuse the whole change, serve the others, or that without another try of
#: what has failed before and did not change since
Failing = Literal["refuse", "serve others", "as before"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Versions that are loaded and warm, and that no request sees yet. Its model's turn is held until it is
    published or discarded.

    wanted     the versions that should be served
    fresh      new instances of some of them
    failures   version → why it could not be loaded
    """

    model: Model
    folder: ModelFolder
    config: ModelConfig
    override: ModelConfig | None
    staged: Staged | None
    wanted: tuple[str, ...] = ()
    fresh: dict[str, tuple[Handle, Made]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def failed(self) -> InvalidArgument:
        reasons = ", ".join(f"version {number}: {reason}" for number, reason in self.failures.items())
        return InvalidArgument(f"failed to load '{self.model.name}', {reasons}")

    def forget(self) -> list[Handle]:
        """It is not going to be published. Returns what is to be freed."""
        for number in self.fresh:
            version = self.model.version(number)
            if version.handle is None:
                version.state, version.reason = ServableState.UNAVAILABLE, "not published"
        return [handle for handle, _ in self.fresh.values()]


async def prepare(loader: Loader, plan: Prepared, pinned: Collection[str], failing: Failing) -> Prepared:
    """Loads what the plan's folder and config ask for and is not served as it should be.

    Does not raise for versions that fail, they are in the result. Raises InvalidArgument where there is no version at
    all, unless what is there is to be served.
    """
    model, folder, config = plan.model, plan.folder, plan.config
    held = aspired(folder.versions.keys() - folder.late, config.policy, pinned)
    wanted = tuple(sorted({*held, *(folder.late & {*pinned})}, key=int))
    if not wanted and failing == "refuse":
        raise InvalidArgument(
            f"failed to load '{model.name}': no version is available, expected a folder such as"
            f" '{model.name}/1' that the version policy takes"
        )
    plan = replace(plan, wanted=wanted)
    beside = folder.fingerprint if has_files(config) else ""
    for number in wanted:
        version = model.version(number)
        made = Made(folder.versions[number], essence(config), beside)
        if version.handle is not None and version.made == made:
            continue
        if failing == "as before" and version.failed == made:
            plan.failures[number] = version.reason
            continue
        await _load(loader, plan, number, version, made)
        if plan.failures and failing == "refuse":
            break
    return plan


async def _load(loader: Loader, plan: Prepared, number: str, version: Version, made: Made) -> None:
    if version.handle is None:
        version.state, version.reason = ServableState.LOADING, ""
    try:
        handle = await loader.load(plan.folder, number, plan.config, version.statistics)
    except SluiceError as error:
        logger.warning("%s/%s failed to load: %s", plan.model.name, number, error.message)
        version.failed, version.reason = made, error.message
        if version.handle is None:
            version.state = ServableState.UNAVAILABLE
        plan.failures[number] = error.message
    else:
        plan.fresh[number] = handle, made


def replaced(failures: Mapping[str, str], folder: ModelFolder, keep: Collection[str], number: str) -> bool:
    """Whether a served version may go: not while what should take its place failed to come."""
    return number not in keep and not (failures and number in folder.versions)
