"""The other processes of a server of several workers, as the protocol's calls need them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gateway.core.observe import Statistics
from gateway.core.servable import ServableId
from gateway.models.manager import VersionStatus
from gateway.protocols.oip.logsettings import LogSettings
from gateway.protocols.oip.trace import Sampling


class Peers(Protocol):
    """What one of them tells must be true of all, and what it is told must hold in all: every change returns once each
    process that answers requests, this one among them, has it. All raise Unavailable where they cannot be asked.
    """

    async def index(self) -> list[VersionStatus]: ...

    async def statistics(self) -> Mapping[ServableId, Statistics]:
        """Of every version that was ever loaded; they never decrease."""
        ...

    async def set_logging(self, settings: LogSettings) -> None: ...

    async def set_sampling(self, sampling: Sampling) -> None: ...

    async def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """System shared memory. Raises as `Regions.register` does, and is registered nowhere then."""
        ...

    async def unregister(self, name: str) -> None:
        """Empty for all regions."""
        ...
