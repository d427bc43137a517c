"""A worker's way to all others: through its supervisor, who asks or tells each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import msgspec

from gateway.control.caller import Caller
from gateway.control.channel import Channel
from gateway.control.report import add
from gateway.control.spool import Spool
from gateway.core.observe import Statistics
from gateway.core.servable import ServableId
from gateway.models.manager import VersionStatus
from gateway.protocols.oip.logsettings import LogSettings
from gateway.protocols.oip.trace import Sampling


class SupervisedPeers:
    """`Peers`, and the `Control` of the repository calls. All raise Unavailable where the supervisor is gone."""

    def __init__(self, channel: Channel, spool: Spool) -> None:
        self._channel = channel
        self._spool = spool

    async def index(self) -> list[VersionStatus]:
        return msgspec.convert(await self._channel.call("index"), list[VersionStatus])

    async def statistics(self) -> Mapping[ServableId, Statistics]:
        found = {}
        for model, version, packed in await self._channel.call("statistics"):
            statistics = found[ServableId(model, version)] = Statistics()
            add(statistics, packed)
        return found

    async def set_logging(self, settings: LogSettings) -> None:
        await self._channel.call("set_logging", settings)

    async def set_sampling(self, sampling: Sampling) -> None:
        await self._channel.call("set_sampling", sampling)

    async def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        await self._channel.call("register", (name, key, offset, byte_size))

    async def unregister(self, name: str) -> None:
        await self._channel.call("unregister", name)

    async def load_model(
        self,
        model: str,
        override: str | None = None,
        files: Mapping[str, bytes] | None = None,
        **by: Unpack[Caller],
    ) -> None:
        async with self._spool.put(files or {}) as paths:
            body: dict[str, Any] = {"model": model, "override": override, "files": paths, "by": by}
            await self._channel.call("load_model", body)

    async def note(
        self, action: str, target: str, detail: Mapping[str, object] | None = None, **by: Unpack[Caller]
    ) -> None:
        await self._channel.call("note", {"action": action, "target": target, "detail": detail, "by": by})

    async def unload_model(self, model: str, **by: Unpack[Caller]) -> None:
        await self._channel.call("unload_model", {"model": model, "by": by})
