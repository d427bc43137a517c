"""What a supervisor tells a worker that serves, and what it asks of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.app.serving import Serving
from gateway.control.channel import Handler
from gateway.control.follower import Follower
from gateway.control.report import Report, pack
from gateway.control.spool import Spool
from gateway.control.start import Current
from gateway.core.errors import SluiceError
from gateway.models.following import Followed
from gateway.models.manager import Manager
from gateway.models.preparation import Prepared
from gateway.models.served import ServedFolder, served
from gateway.protocols.oip.logsettings import LogSettings
from gateway.protocols.oip.trace import Sampling
from gateway.protocols.views import model_view, models_view
from gateway.store.contract import State

logger = logging.getLogger("sluice")


class Orders:
    """`handlers` answer the supervisor's calls of their names."""

    def __init__(self, manager: Manager, follower: Follower, serving: Serving, spool: Spool, root: Path) -> None:
        self._manager: Final = manager
        self._follower: Final = follower
        self._serving: Final = serving
        self._spool: Final = spool
        self._root: Final = root
        self._metrics: Final = serving.metrics()
        self._prepared: dict[int, Prepared] = {}
        self._followed: list[Followed] = []

    def handlers(self) -> Mapping[str, Handler]:
        names = (
            "current", "follow", "must_exist", "must_be_known", "hold", "publish", "release",
            "prepare", "discard", "publish_model", "look", "publish_look",
            "set_logging", "set_sampling", "register", "unregister",
            "report", "index", "models", "model", "folders",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    async def current(self, body: Any) -> None:
        given = msgspec.convert(body, Current)
        if given.logging is not None:
            await self.set_logging(given.logging)
        if given.sampling is not None:
            await self.set_sampling(given.sampling)
        for extent in given.regions:
            try:
                await self.register(extent)
            except SluiceError as error:
                logger.warning("%s", error.message)

    async def follow(self, body: Any) -> Mapping[str, str]:
        await self._follower.follow(_state(body))
        return self._follower.troubles()

    async def must_exist(self, body: Any) -> None:
        await self._follower.must_exist(**body)

    async def must_be_known(self, body: Any) -> None:
        await self._follower.must_be_known(**body)

    async def hold(self, body: Any) -> None:
        await self._follower.hold(body["model"], _state(body))

    async def publish(self, body: Any) -> Mapping[str, str]:
        await self._follower.publish(_state(body))
        return self._follower.troubles()

    async def release(self, body: Any) -> None:
        await self._follower.release(**body)

    async def prepare(self, body: Any) -> None:
        files = await self._spool.get(body["files"]) or None
        self._prepared[body["number"]] = await self._follower.prepare(body["model"], body["override"], files)

    async def discard(self, body: Any) -> None:
        if (prepared := self._prepared.pop(body["number"], None)) is not None:
            await self._follower.discard(prepared)

    async def publish_model(self, body: Any) -> Mapping[str, str]:
        await self._follower.publish_model(self._prepared.pop(body["number"]), _state(body))
        return self._follower.troubles()

    async def look(self, body: Any) -> None:
        """The repository as the supervisor sees it."""
        found = msgspec.convert(body, dict[str, ServedFolder])
        folders = {name: folder.at(self._root, name) for name, folder in found.items()}
        self._followed = await self._manager.prepare_found(folders)

    async def publish_look(self, body: Any) -> None:
        followed, self._followed = self._followed, []
        self._manager.publish_found(followed)

    async def set_logging(self, body: Any) -> None:
        self._serving.calls.logging.apply(msgspec.convert(body, LogSettings))

    async def set_sampling(self, body: Any) -> None:
        self._serving.calls.trace.apply(Sampling(*body))

    async def register(self, body: Any) -> None:
        if self._serving.regions is not None:
            self._serving.regions.register(*msgspec.structs.astuple(body) if isinstance(body, msgspec.Struct) else body)

    async def unregister(self, body: Any) -> None:
        if (regions := self._serving.regions) is not None:
            regions.unregister(body) if body else regions.unregister_all()

    async def report(self, body: Any) -> Report:
        return self.made()

    async def index(self, body: Any) -> Any:
        await self._manager.refresh()
        return self._manager.index()

    async def models(self, body: Any) -> Any:
        try:
            await self._manager.refresh()
        except SluiceError as error:
            logger.warning("%s", error.message)
        return models_view(self._manager, self._follower.desired)

    async def model(self, body: Any) -> Any:
        return model_view(self._manager, self._follower.desired, body)

    async def folders(self, body: Any) -> Any:
        return served(self._manager.folders())

    def made(self) -> Report:
        """As of now."""
        statistics = [(*key, pack(counted)) for key, counted in self._manager.statistics()]
        page = self._metrics.collect()
        grpc = self._serving.grpc
        requests = sum(self._serving.rest.statuses.values())
        if grpc is not None:
            requests += sum(grpc.inference.outcomes.values())
        revision, troubles = self._follower.state.revision, dict(self._follower.troubles())
        return Report(revision, requests, statistics, page.families, troubles)


def _state(body: Any) -> State:
    return msgspec.convert(body["state"], State)
