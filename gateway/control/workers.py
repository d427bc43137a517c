"""The supervisor's part of the control plane: its slots, the fleet in them, and what they report."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from gateway.control.channel import Handler
from gateway.control.crew import Crew
from gateway.control.fleet import Fleet
from gateway.control.member import Member
from gateway.control.report import Tally
from gateway.control.reports import PATIENCE, Reports
from gateway.control.shared import Shared
from gateway.control.slot import Slot, Stillborn, birth
from gateway.control.spawn import Role
from gateway.control.start import Start
from gateway.control.turns import Turns
from gateway.control.vacancies import Vacancies
from gateway.core.background import Background
from gateway.core.errors import NotFound, SluiceError
from gateway.settings import Settings

logger = logging.getLogger("sluice.control")

#: seconds beyond the drain time-out that a worker has to end in
LAST_WORDS: Final = 10.0
#: seconds after which a spare worker that died is made again
SPARE_AGAIN: Final = 2.0


class Workers:
    """`listening` has the sockets of each slot of a serving worker: REST's, and gRPC's where that is on. All who come
    to be in it inherit them.

    begin      what a new worker is told
    joined     called with each that has the state that all have, before it is one of them
    handlers   what workers may call
    memory     file descriptors of memory that they share
    """

    def __init__(
        self,
        turns: Turns,
        fleet: Fleet,
        shared: Shared,
        listening: Sequence[Sequence[socket.socket]],
        *,
        begin: Callable[[Role, int], Awaitable[Start]],
        joined: Callable[[Member], Awaitable[None]],
        handlers: Callable[[Member], Mapping[str, Handler]],
        settings: Settings,
        memory: Sequence[int] = (),
    ) -> None:
        self.fleet: Final = fleet
        self.crew: Final = Crew("serving", settings.worker_timeout, self._forget)
        self.reports: Final = Reports(Tally(), "worker", lambda: list(fleet.members))
        self.changed: Callable[[], None] = lambda: None
        self._turns: Final = turns
        self._shared = shared
        self._listening = listening
        self._begin = begin
        self._joined = joined
        self._handlers = handlers
        self._settings = settings
        self._memory = memory
        self._spare: Member | None = None
        self._launched: Final = asyncio.Event()
        self._vacancies: Final = Vacancies(lambda: fleet.members)
        self._sparing: asyncio.Task[None] | None = None
        self._aside: Final = Background(logger)
        self._stopping = False
        self._recycling: Final = asyncio.Lock()

    # ---- life

    async def start(self) -> None:
        """Returns when every slot has a worker that answers. Raises Unavailable where one says that it cannot start;
        one that crashes is tried again."""
        if self._settings.spare_worker:
            self._sparing = asyncio.create_task(self._keep_spare())
        await self.crew.start(
            [
                Slot("serving", number, self._launch, self._retire, self._vacancies.begin)
                for number in range(len(self._listening))
            ]
        )

    async def close(self) -> None:
        """Whoever still lives is asked to end, and killed where that takes too long."""
        self._stopping = True
        if self._sparing is not None:
            self._sparing.cancel()
            await asyncio.gather(self._sparing, return_exceptions=True)
        await self.crew.close(lambda member: self._end(member, "stop"))
        await self._aside.finished()

    async def _launch(self, slot: Slot) -> Member:
        member, self._spare = self._spare, None
        if member is None or not await self._is_well(member):
            member = await self._make()
        member.slot, member.state = slot.number, "starting"
        member.channel.name = f"worker {slot.number}"
        member.channel.heard = asyncio.get_running_loop().time()
        async with birth(member):
            await self._introduce(member, slot)
        return member

    async def _is_well(self, spare: Member) -> bool:
        """Nobody has heard of it since it was made."""
        try:
            async with asyncio.timeout(PATIENCE):
                await spare.call("ping")
        except (SluiceError, TimeoutError):
            spare.kill("did not answer")
            return False
        return True

    async def _make(self) -> Member:
        """A process that knows its settings, and has done what takes its time before it is told what to serve. Raises
        Stillborn."""
        member = await self.crew.hire(None, "a spare worker", self._called_by, self._listening, self._memory)
        async with birth(member):
            await member.call("warm", self._settings)
        member.state = "spare"
        return member

    async def _keep_spare(self) -> None:
        """Makes the next spare one when all slots have theirs, so that it takes nobody's time."""
        while True:
            await self._launched.wait()
            self._launched.clear()
            if self._spare is None and all(slot.current for slot in self.crew.slots):
                try:
                    self._spare = await self._make()
                except Stillborn as failure:
                    logger.warning("a spare worker could not be made: %s", failure.cause)

    async def _introduce(self, member: Member, slot: Slot) -> None:
        start = await self._begin(slot.role, slot.number)
        await member.call("start", start)
        member.revision = start.state.revision
        while not await self._turns.take(self._join(member)):
            state = self.fleet.state
            await member.call("follow", {"state": state})
            member.revision = state.revision
        await member.call("listen")
        await self._vacancies.end(slot)
        member.state, member.serving = "ready", time.monotonic()
        logger.info("worker %d (process %d) is ready at revision %d", slot.number, member.pid, member.revision)
        self.changed()
        asyncio.get_running_loop().call_soon(self._launched.set)

    async def _join(self, member: Member) -> bool:
        """In the plane's turn, so that nothing changes meanwhile. Whether it is as far as everybody else."""
        if member.revision != self.fleet.state.revision:
            return False
        await member.call("current", self._shared.current)
        await self._joined(member)
        self.fleet.members.append(member)
        return True

    def _forget(self, member: Member) -> None:
        self.reports.tally.ended(member)
        self._aside.start(self.fleet.spool.sweep(member.pid))
        if self._spare is member:
            self._spare = None
            asyncio.get_running_loop().call_later(SPARE_AGAIN, self._launched.set)
        if member in self.fleet.members:
            self.fleet.members.remove(member)
        for number in self._vacancies.forget(member):
            if not self._stopping:
                self._aside.start(self._vacancies.begin(self.crew.slots[number]))
        self.changed()

    async def _retire(self, member: Member) -> None:
        member.state = "draining"
        await self._end(member, "retire")

    async def _end(self, member: Member, how: str) -> None:
        await member.dismiss(how, self._settings.drain_timeout + LAST_WORDS)

    # ---- what operators do

    async def views(self) -> list[dict[str, Any]]:
        """Every process, and the slots that have none."""
        await self.reports.collect()
        return self.crew.views()

    async def recycle(self, number: int | None = None) -> None:
        """One slot, or all of them one after the other. Raises NotFound, Unavailable."""
        chosen = [slot for slot in self.crew.slots if number in (None, slot.number)]
        if not chosen:
            raise NotFound(f"slot: expected one from 0 to {len(self.crew.slots) - 1}, found {number}")
        async with self._recycling:
            for slot in chosen:
                await slot.recycle()

    def recycle_soon(self, member: Member) -> None:
        """It was told to end by somebody else."""
        for slot in self.crew.slots:
            if slot.current is member and not self._stopping:
                self._aside.start(_quietly(self.recycle(slot.number)))

    def ready(self) -> int:
        return sum(1 for member in self.fleet.members if member.state == "ready")

    def _called_by(self, member: Member) -> dict[str, Handler]:
        async def report(body: Any) -> None:
            self.reports.heard(member, body)

        async def recycle(body: Any) -> None:
            self.recycle_soon(member)

        async def goodbye(body: Any) -> None:
            """Its last words: it answers nobody any more, so that no change needs it."""
            self.reports.heard(member, body)
            if member in self.fleet.members:
                self.fleet.members.remove(member)

        return {**self._handlers(member), "report": report, "goodbye": goodbye, "recycle": recycle}


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except SluiceError as error:
        logger.warning("%s", error.message)
