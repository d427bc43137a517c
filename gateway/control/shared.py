"""What holds in every worker, is in no store, and is forgotten when the server ends: log and trace settings, regions of
shared memory."""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec

from gateway.control.fleet import Fleet
from gateway.control.member import Member
from gateway.control.start import Current, Extent
from gateway.control.turns import Turns
from gateway.core.errors import SluiceError

logger = logging.getLogger("sluice.control")


class Shared:
    """`current` is what a new worker begins with. Changes take turns with those of the control plane."""

    def __init__(self, turns: Turns, fleet: Fleet) -> None:
        self.current: Final = Current()
        self._turns: Final = turns
        self._fleet = fleet

    async def set_logging(self, body: dict[str, Any]) -> None:
        async def work() -> None:
            self.current.logging = body
            await self._everywhere("set_logging", body)

        await self._turns.take(work())

    async def set_sampling(self, body: Any) -> None:
        async def work() -> None:
            self.current.sampling = msgspec.convert(body, tuple[bool, float])
            await self._everywhere("set_sampling", body)

        await self._turns.take(work())

    async def register(self, body: Any) -> None:
        """In all or in none. Raises what the first worker that refuses it raises."""
        extent = msgspec.convert(body, Extent)

        async def work() -> None:
            answers = await self._fleet.all("register", extent)
            errors = [answer for answer in answers.values() if isinstance(answer, SluiceError)]
            if errors:
                for member, answer in answers.items():
                    if not isinstance(answer, SluiceError):
                        await _undo(member, extent.name)
                raise errors[0]
            self.current.regions.append(extent)

        await self._turns.take(work())

    async def unregister(self, name: str) -> None:
        """Empty for all."""

        async def work() -> None:
            self.current.regions[:] = [each for each in self.current.regions if name not in ("", each.name)]
            await self._everywhere("unregister", name)

        await self._turns.take(work())

    async def _everywhere(self, what: str, body: Any) -> None:
        for member, answer in (await self._fleet.all(what, body)).items():
            if isinstance(answer, SluiceError):
                logger.error("worker %d could not follow: %s", member.slot, answer.message)
                member.kill(f"could not follow '{what}'")


async def _undo(member: Member, name: str) -> None:
    try:
        await member.call("unregister", name)
    except SluiceError as error:
        logger.warning("worker %d: %s", member.slot, error.message)
