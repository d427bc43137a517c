"""What workers report, as it comes, and as of now when somebody reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

import msgspec

from gateway.control.member import Member
from gateway.control.report import Report, Tally
from gateway.core.errors import SluiceError

#: seconds that a reader waits for a worker's numbers before the ones of its last report count
PATIENCE: Final = 1.0


class Reports:
    """tally    adds up what workers count, and keeps that of those that ended
    name     of the processes, as metrics tell them apart: their slot follows
    members  those that are asked
    """

    def __init__(self, tally: Tally, name: str, members: Callable[[], Iterable[Member]]) -> None:
        self.tally: Final = tally
        self._name = name
        self._members = members
        self._collecting: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    def heard(self, member: Member, body: Any) -> None:
        report = msgspec.convert(body, Report)
        member.report, member.spoke = report, True
        member.troubles = report.troubles
        member.revision = report.revision
        if member.slot is not None and member.state != "ended":
            self.tally.heard(member, f"{self._name}-{member.slot}", report)

    async def collect(self) -> None:
        """The tally is as of now, or later. Readers who come while one asks share the next answer."""
        if self._next is None:
            self._next = asyncio.create_task(self._collect_next(self._collecting))
        await asyncio.shield(self._next)

    async def _collect_next(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        self._collecting, self._next = self._next, None
        await asyncio.gather(*(self._ask(member) for member in self._members()))

    async def _ask(self, member: Member) -> None:
        with suppress(SluiceError, TimeoutError):  # its last report counts
            async with asyncio.timeout(PATIENCE):
                self.heard(member, await member.call("report"))
