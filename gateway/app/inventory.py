"""What models there are, over all workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from gateway.control.workers import Workers
from gateway.core.errors import SluiceError, Unavailable
from gateway.core.observe import Statistics
from gateway.core.servable import ServableId, ServableState
from gateway.models.manager import VersionStatus
from gateway.protocols.oip.statistics import Counted
from gateway.protocols.views import Inventory, View

#: what several workers' states are together: the first of these that one of them is in
ORDER: Final = tuple(
    state.value
    for state in (
        ServableState.UNLOADING,
        ServableState.LOADING,
        ServableState.UNAVAILABLE,
        ServableState.READY,
    )
)


class CountedInventory:
    """An `Inventory`, with the figures of `statistics` in the place of its own."""

    def __init__(self, inventory: Inventory, statistics: Counted) -> None:
        self._inventory = inventory
        self._statistics = statistics

    async def models(self) -> list[View]:
        views = await self._inventory.models()
        count(views, await self._statistics())
        return views

    async def model(self, name: str) -> View:
        view = await self._inventory.model(name)
        count([view], await self._statistics())
        return view


class FleetInventory:
    """An `Inventory`. A version is ready when it is in every worker."""

    def __init__(self, workers: Workers, statistics: Counted) -> None:
        self._workers = workers
        self._statistics = statistics

    async def index(self) -> list[VersionStatus]:
        """Raises Unavailable where no worker is up, or the repository cannot be read."""
        found: dict[tuple[str, str], VersionStatus] = {}
        for lines in _answers(await self._workers.fleet.all("index")):
            for line in msgspec.convert(lines, list[VersionStatus]):
                key = line.name, line.version
                found[key] = _together(found[key], line) if key in found else line
        return sorted(found.values(), key=lambda line: (line.name, int(line.version or 0)))

    async def models(self) -> list[View]:
        found: dict[str, View] = {}
        for views in _answers(await self._workers.fleet.all("models")):
            for view in views:
                found[view["name"]] = _joined(found[view["name"]], view) if view["name"] in found else view
        count(found.values(), await self._statistics())
        return list(found.values())

    async def model(self, name: str) -> View:
        view, *others = _answers(await self._workers.fleet.all("model", name))
        for other in others:
            view = _joined(view, other)
        count([view], await self._statistics())
        return dict(view)


def count(views: Iterable[View], counted: Mapping[ServableId, Statistics]) -> None:
    """What all processes counted, those that are dead among them."""
    for view in views:
        for version in view["versions"]:
            statistics = counted.get(ServableId(view["name"], version["version"]))
            if statistics is not None and "succeeded" in version:
                version["succeeded"] = statistics.success_count
                version["failed"] = statistics.fail_count


def _answers(answers: dict[Any, Any]) -> list[Any]:
    """Raises the first error, Unavailable where nobody answered."""
    for answer in answers.values():
        if isinstance(answer, SluiceError):
            raise answer
    if not answers:
        raise Unavailable("no worker is up, try again", retry_after=1.0)
    return list(answers.values())


def _rank(state: str) -> int:
    return ORDER.index(state) if state in ORDER else len(ORDER)


def _together(one: VersionStatus, other: VersionStatus) -> VersionStatus:
    return min(one, other, key=lambda line: _rank(line.state))


def _joined(one: View, other: View) -> View:
    """The same model as two workers have it."""
    versions = {view["version"]: view for view in one["versions"]}
    for view in other["versions"]:
        known = versions.get(view["version"])
        if known is None:
            versions[view["version"]] = view
            continue
        first = min(known, view, key=lambda each: _rank(each["state"]))
        pending = known.get("pending", 0) + view.get("pending", 0)
        versions[view["version"]] = {**first, "pending": pending} if "pending" in first else first
    return {**one, "versions": [versions[number] for number in sorted(versions, key=int)]}
